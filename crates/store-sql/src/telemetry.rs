//! The metrics of the stores: they are the same for every database.

use std::time::Duration;
use tithe_engine::declare_metrics;
use tithe_engine::telemetry::Metric;

declare_metrics! {
    TRANSACTIONS: counter "tithe_store_transactions_total"
        {transaction, outcome} "Transactions by name and outcome: done, or how they failed in the end.";
    TRANSACTION_SECONDS: seconds "tithe_store_transaction_seconds"
        {transaction} "How long a transaction took until it was done, with its retries and with waiting for a connection.";
    RETRIES: counter "tithe_store_retries_total"
        {transaction, cause} "Retries of transactions (PostgreSQL).";
}

/// Describes the stores' metrics to the recorder.
pub fn describe() {
    METRICS.iter().for_each(Metric::describe);
}

/// A transaction was done, after this time.
pub fn transaction_done(name: &'static str, took: Duration) {
    metrics::counter!(TRANSACTIONS, "transaction" => name, "outcome" => "done").increment(1);
    metrics::histogram!(TRANSACTION_SECONDS, "transaction" => name).record(took);
}

/// A transaction has failed in the end.
pub fn transaction_failed(name: &'static str, outcome: &'static str) {
    metrics::counter!(TRANSACTIONS, "transaction" => name, "outcome" => outcome).increment(1);
}

/// A transaction is tried again.
pub fn transaction_retried(name: &'static str, cause: &'static str) {
    metrics::counter!(RETRIES, "transaction" => name, "cause" => cause).increment(1);
}
