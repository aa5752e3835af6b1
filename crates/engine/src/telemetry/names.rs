//! The engine's metrics.

use crate::declare_metrics;

/// The states that customers see a job in.
const JOB_STATES: &[&str] = &[
    "awaiting_eval_payment",
    "evaluating",
    "awaiting_work_payment",
    "executing",
    "rejected",
    "complete",
    "failed",
    "expired",
];

/// The states of jobs that a worker must do something for.
pub(crate) const RUNNABLE: &[&str] = &["evaluating", "accepted", "executing"];

/// What invoices are for.
pub(crate) const PURPOSES: &[&str] = &[
    "job_eval",
    "job_work",
    "session_deposit",
    "session_top_up",
    "session_top_up_offer",
    "bootstrap",
    "other",
];

/// The calls to a wallet.
const WALLET_OPERATIONS: &[&str] = &[
    "invoice_create",
    "invoice_status",
    "payments_received",
    "payment_send",
    "payment_status",
    "balance",
    "payments_settled",
];

/// How a call to a wallet can end. `abandoned`: the server did not wait any longer.
const WALLET_OUTCOMES: &[&str] = &["done", "unavailable", "refused", "unknown", "nonsense", "abandoned"];

/// What is set aside: in a customer's account, of the pool, or of an install's plan.
pub(crate) const HELD: &[&str] = &["account", "pool", "credit"];

/// The background rounds.
const ROUNDS: &[&str] = &["poll", "poll_late", "sweep", "warn", "reconcile", "measure", "audit"];

/// The parts of readiness.
const CHECKS: &[&str] = &["database", "writes", "wallet", "backend", "price"];

/// The kinds of accounts. `other`: those of another service on the same database.
pub(crate) const ACCOUNTS: &[&str] = &[
    "wallet",
    "jobs",
    "sessions",
    "bootstraps",
    "pool",
    "refunds_due",
    "routing_fees",
    "revenue",
    "rounding",
    "operator",
    "other",
];

declare_metrics! {
    BUILD_INFO: gauge "tithe_build_info"
        {version} "1, with the version of the program.";
    COMMANDS: counter "tithe_commands_total"
        {command, outcome} "Commands by outcome: done, refused, busy (not tried), failed, or unknown.";
    COMMIT_BATCH: counts "tithe_commit_batch_commands"
        {} "The commands of a batch.";
    COMMIT_SECONDS: seconds "tithe_commit_seconds"
        {} "How long a batch took to commit, with retries.";
    COMMIT_QUEUE: gauge "tithe_commit_queue_commands"
        {} "Commands that wait for the next batch.";
    COMMIT_QUEUE_LIMIT: gauge "tithe_commit_queue_limit_commands"
        {} "How many commands may wait; more are refused with 503.";
    COMMIT_QUEUE_FULL: counter "tithe_commit_queue_full_total"
        {} "Commands that found the queue full.";
    COMMIT_SPLITS: counter "tithe_commit_splits_total"
        {} "Batches that could not be written and were tried again in two halves.";
    JOB_STEPS: counter "tithe_job_steps_total"
        {state = JOB_STATES} "Steps of jobs that this server has committed, by the state after the step.";

    JOBS: gauge "tithe_jobs"
        {state = RUNNABLE} "Jobs that a worker must do something for. Jobs that wait for a payment are pending invoices.";
    JOBS_OLDEST: gauge "tithe_jobs_oldest_seconds"
        {state = RUNNABLE} "The age of the oldest such job.";
    JOBS_LEASED: gauge "tithe_jobs_leased"
        {lease = &["live", "expired"]} "Such jobs with a lease. The server of an expired lease is gone or stuck.";
    HOLDS: gauge "tithe_holds"
        {of = HELD} "What is set aside for work that runs: in customers' accounts, of the pool, of install credits.";
    HOLDS_EXPIRED: gauge "tithe_holds_expired"
        {of = HELD} "Those whose lease has expired, and which the next sweep ends.";
    HOLDS_SATS: gauge "tithe_holds_sats"
        {of = &["account", "pool"]} "What is set aside, in sats.";
    INVOICES_PENDING: gauge "tithe_invoices_pending"
        {purpose = PURPOSES} "Invoices that can be paid.";
    INVOICES_PENDING_OLDEST: gauge "tithe_invoices_pending_oldest_seconds"
        {purpose = PURPOSES} "The age of the oldest such invoice.";
    PAYOUTS_IN_FLIGHT: gauge "tithe_payouts_in_flight"
        {} "Payouts whose outcome is not known yet.";
    PAYOUTS_IN_FLIGHT_SATS: gauge "tithe_payouts_in_flight_sats"
        {} "What is in flight, in sats, with the most that the fees may be.";
    PAYOUTS_IN_FLIGHT_OLDEST: gauge "tithe_payouts_in_flight_oldest_seconds"
        {} "For how long the oldest payout has been in flight.";
    REFUNDS_PAYABLE: gauge "tithe_refunds_payable"
        {} "Refunds that are due, have a destination and are not in flight.";
    REFUNDS_PAYABLE_SATS: gauge "tithe_refunds_payable_sats"
        {} "What these are, in sats.";
    REFUNDS_FAILING: gauge "tithe_refunds_failing"
        {} "Those of them of which a payout has failed.";
    REFUNDS_LATE: gauge "tithe_refunds_payable_late_seconds"
        {} "For how long the one has been waiting that is to be paid next; 0 if its time has not come.";
    BOOTSTRAPS_OPEN: gauge "tithe_bootstraps_open"
        {state = &["provisioning", "destroying"]} "Nodes that are being made, or destroyed after a failure.";
    BOOTSTRAPS_OLDEST: gauge "tithe_bootstraps_open_oldest_seconds"
        {state = &["provisioning", "destroying"]} "How long ago the oldest of them was paid for, or begun.";

    POOL_BALANCE: gauge "tithe_pool_balance_sats"
        {} "What is in the pool, in sats.";
    POOL_HELD: gauge "tithe_pool_held_sats"
        {} "What of that is set aside for work and offers, in sats.";
    LEDGER_BALANCE: gauge "tithe_ledger_balance_sats"
        {account = ACCOUNTS} "Credits less debits of all accounts of a kind, in sats. The sum over all kinds is 0.";
    LEDGER_TRANSFERRED: gauge "tithe_ledger_transferred_sats"
        {kind} "What transfers of a kind have moved since the database was made, in sats.";
    LEDGER_TRANSFERS: gauge "tithe_ledger_transfers"
        {} "The transfers in these sums.";
    READING_SECONDS: gauge "tithe_reading_seconds"
        {} "How long the last reading of the database for these gauges took.";
    READING_AT: gauge "tithe_reading_timestamp_seconds"
        {} "When the database was last read for these gauges. They are from then.";
    LEDGER_READING_AT: gauge "tithe_ledger_reading_timestamp_seconds"
        {} "When the sums of the ledger were last complete. They are from then.";

    PAYMENTS_CREDITED: counter "tithe_payments_credited_total"
        {purpose = PURPOSES} "Payments that this server has credited.";
    PAYMENTS_CREDITED_SATS: counter "tithe_payments_credited_sats_total"
        {purpose = PURPOSES} "What these were, in sats.";
    SETTLEMENT_LAG: long_seconds "tithe_payment_settlement_lag_seconds"
        {} "How long after its arrival at the wallet a payment was credited.";
    PAYOUTS_FINISHED: counter "tithe_payouts_finished_total"
        {outcome = &["paid", "failed"]} "Attempts at payouts whose outcome this server has committed.";
    SWEPT: counter "tithe_swept_total"
        {command} "Expired items that this server has ended.";
    ROUND_SECONDS: seconds "tithe_round_seconds"
        {round} "How long a background round took.";
    ROUNDS_FAILED: counter "tithe_rounds_failed_total"
        {round = ROUNDS} "Background rounds that did not finish.";

    WALLET_CALLS: counter "tithe_wallet_calls_total"
        {operation = WALLET_OPERATIONS, outcome = WALLET_OUTCOMES} "Calls to the wallet.";
    WALLET_CALL_SECONDS: seconds "tithe_wallet_call_seconds"
        {operation} "How long a call to the wallet took, however it ended.";
    WALLET_EXPECTED: gauge "tithe_wallet_expected_sats"
        {} "What the wallet is to hold, by the ledger, in sats.";
    WALLET_HELD: gauge "tithe_wallet_held_sats"
        {} "What the wallet said that it holds, in sats.";
    WALLET_SHORTFALL: gauge "tithe_wallet_shortfall_sats"
        {} "What is missing in the wallet for certain, in sats.";
    WALLET_SURPLUS: gauge "tithe_wallet_surplus_sats"
        {} "What the wallet holds besides, in sats.";
    WALLET_COMPARED_AT: gauge "tithe_wallet_compared_timestamp_seconds"
        {} "When the wallet was last compared with the ledger. These gauges are from then.";

    MODEL_RUNS: counter "tithe_model_runs_total"
        {model, outcome} "Runs of a model: done, abandoned (nobody waited any longer), or why it failed.";
    BACKEND_RUNS: counter "tithe_backend_runs_total"
        {backend, outcome} "Runs by the backend that was asked: done, or why it failed. A run that fails may be followed by another backend's.";
    MODEL_RUN_SECONDS: long_seconds "tithe_model_run_seconds"
        {model} "How long a run took, however it ended.";
    MODEL_FIRST_TEXT_SECONDS: seconds "tithe_model_first_text_seconds"
        {model} "How long a streamed run took until the first text.";
    MODEL_TOKENS: counter "tithe_model_tokens_total"
        {model, bucket} "Tokens that runs have used: `input`, `cached_input`, `output`.";
    MODEL_UNREPORTED: counter "tithe_model_unreported_total"
        {model} "Runs whose backend has reported no usage; their tokens were counted here.";
    PRICE: gauge "tithe_price_usd"
        {} "The price of one bitcoin, in US dollars.";
    PRICE_AT: gauge "tithe_price_timestamp_seconds"
        {} "When that price was valid.";
    PRICE_KNOWN: gauge "tithe_price_known"
        {} "1 if there is a current price; otherwise nothing is sold.";
    READY: gauge "tithe_ready"
        {check = CHECKS} "1 if this part passed when /readyz was last answered with a new check.";

    AUDIT_SOUND: gauge "tithe_audit_sound"
        {} "1 if the last audit of this server (`TITHE_AUDIT_SECONDS`) found nothing.";
    AUDIT_FINDINGS: gauge "tithe_audit_findings"
        {} "What the last audit found.";
    AUDIT_SECONDS: gauge "tithe_audit_seconds"
        {} "How long the last audit took.";
    AUDIT_AT: gauge "tithe_audit_timestamp_seconds"
        {} "When the last audit ended.";
}
