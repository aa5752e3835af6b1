//! Which obligations and payouts are looked for, and what the ledger holds altogether. The conditions are written out in the statements,
//! so that both stores use the partial indexes that the migrations make for them.

use crate::rows::Reader;
use tithe_engine::store::{LedgerTotals, StoreError};

/// Obligations that can be paid.
pub const PAYABLE: &str = "due_msats > 0 AND destination IS NOT NULL AND in_flight IS NULL";

/// Obligations of which something is due.
pub const DUE: &str = "due_msats > 0";

/// Payouts in flight.
pub const IN_FLIGHT: &str = "state = 'paying'";

/// Transfers that debit or credit the wallet.
pub const OF_WALLET: &str = "(debit = 'wallet' OR credit = 'wallet')";

/// The totals of the ledger, as texts: the sums may be larger than a column. Each is the sum of a kind of account.
pub const TOTALS: &str = "\
    SELECT 'wallet' AS kind, CAST(COALESCE(SUM(CASE WHEN debit = 'wallet' THEN amount_msats ELSE -amount_msats END), 0) AS TEXT) \
    AS total FROM transfers WHERE (debit = 'wallet' OR credit = 'wallet') \
    UNION ALL SELECT CASE WHEN id = 'pool' THEN 'pool' WHEN id LIKE 'job:%' THEN 'job' WHEN id LIKE 'session:%' THEN 'session' \
    WHEN id LIKE 'bootstrap:%' THEN 'bootstrap' ELSE 'other' END, CAST(SUM(balance_msats) AS TEXT) FROM accounts \
    WHERE balance_msats > 0 GROUP BY 1 \
    UNION ALL SELECT 'refunds', CAST(COALESCE(SUM(due_msats), 0) AS TEXT) FROM obligations WHERE due_msats > 0 \
    UNION ALL SELECT 'in_flight', CAST(COALESCE(SUM(amount_msats + fee_limit_msats), 0) AS TEXT) FROM payouts \
    WHERE state = 'paying'";

/// The totals from the rows of [`TOTALS`].
///
/// # Errors
/// [`StoreError::Corrupt`] when a total is out of range.
pub fn totals(rows: impl IntoIterator<Item = (String, String)>) -> Result<LedgerTotals, StoreError> {
    let read = Reader::new("totals", "ledger");
    let mut totals = LedgerTotals::default();
    for (kind, total) in rows {
        if kind == "wallet" {
            totals.wallet = read.column(&kind, total.parse())?;
            continue;
        }
        let amount = read.msats(&kind, read.column(&kind, total.parse())?)?;
        match kind.as_str() {
            "job" => totals.jobs = amount,
            "session" => totals.sessions = amount,
            "bootstrap" => totals.bootstraps = amount,
            "pool" => totals.pool = amount,
            "refunds" => totals.refunds = amount,
            "in_flight" => totals.in_flight = amount,
            // Accounts of another service on the same database.
            _ => {}
        }
    }
    Ok(totals)
}
