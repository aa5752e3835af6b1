//! What is measured: what is in progress, and what transfers have moved.

use crate::payouts::{IN_FLIGHT, PAYABLE};
use crate::rows::Reader;
use crate::waiting_jobs::{HELD, RUNNABLE};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text};
use std::sync::LazyLock;
use tithe_engine::store::{Measured, Measurements, StoreError, Tally, TransferSum};
use tithe_ledger::AccountKind;
use tithe_lightning::Purpose;

/// What is in progress, at the time `$1`. Each part reads one partial index that holds nothing which has ended, one row by its key, or
/// the end of the transfers; the conditions are written out, so that both databases see that. Amounts are texts: the sums may be larger
/// than a column.
pub static IN_PROGRESS: LazyLock<String> = LazyLock::new(|| {
    let sum = |column: &str| format!("CAST(COALESCE(SUM({column}), 0) AS TEXT)");
    let leases = |owner: &str| {
        format!(
            "COUNT(CASE WHEN {owner}lease_until > $1 THEN 1 END), COUNT(CASE WHEN {owner}lease_until <= $1 THEN 1 END)"
        )
    };
    // The columns: what, which, items, leased, expired, msats, oldest.
    let held = |what: &str, from: &str, amount: &str| {
        let leases = leases("");
        format!("SELECT '{what}', '', COUNT(*), {leases}, {amount}, MIN(created_at) FROM {from}")
    };
    // SQLite would take the larger index of all that is due, without a bound for the column of this one.
    let payable = format!("obligations WHERE {PAYABLE} AND next_try_at > {}", i64::MIN + 1);
    let (job_leases, none) = (leases("lease_owner IS NOT NULL AND "), "CAST(NULL AS BIGINT)");
    [
        format!(
            "SELECT 'job' AS what, state AS which, COUNT(*) AS items, {}, '0' AS msats, MIN(created_at) AS oldest FROM jobs \
             WHERE {RUNNABLE} GROUP BY state",
            job_leases.replacen("END),", "END) AS leased,", 1) + " AS expired",
        ),
        format!("SELECT 'job', 'held', COUNT(*), {job_leases}, '0', MIN(created_at) FROM jobs WHERE {HELD}"),
        held("hold", "holds WHERE state = 'held'", &sum("amount_msats")),
        held("reservation", "free_tier_reservations WHERE lease_until IS NOT NULL", &sum("amount_msats")),
        held("credit", "credits WHERE state = 'held'", "'0'"),
        format!(
            "SELECT 'invoice', purpose, COUNT(*), 0, 0, {}, MIN(created_at) FROM invoices WHERE state = 'pending' GROUP BY purpose",
            sum("amount_msats"),
        ),
        format!(
            "SELECT 'payout', '', COUNT(*), 0, 0, {}, MIN(created_at) FROM payouts WHERE {IN_FLIGHT}",
            sum("amount_msats + fee_limit_msats"),
        ),
        format!(
            "SELECT 'refund', '', COUNT(*), 0, 0, {}, MIN(next_try_at) FROM {payable}",
            sum("due_msats"),
        ),
        format!("SELECT 'failing', '', COUNT(*), 0, 0, '0', {none} FROM {payable} AND failures > 0"),
        "SELECT 'bootstrap', state, COUNT(*), 0, 0, '0', MIN(COALESCE(paid_at, begun_at)) FROM bootstrap_jobs \
         WHERE state = 'provisioning' OR (state = 'failed' AND begun_at IS NOT NULL) GROUP BY state"
            .to_owned(),
        format!("SELECT 'pool', 'balance', 0, 0, 0, CAST(balance_msats AS TEXT), {none} FROM accounts WHERE id = 'pool'"),
        format!("SELECT 'pool', 'held', 0, 0, 0, CAST(held_msats AS TEXT), {none} FROM accounts WHERE id = 'pool'"),
        format!("SELECT 'transfer', 'last', COALESCE(MAX(seq), 0), 0, 0, '0', {none} FROM transfers"),
    ]
    .join(" UNION ALL ")
});

/// What the transfers after number `$1` up to number `$2` have moved.
pub static MOVED: LazyLock<String> = LazyLock::new(|| moved_where("seq > $1 AND seq <= $2"));

/// What the transfers from time `$1` on and before time `$2` have moved.
pub static MOVED_IN: LazyLock<String> = LazyLock::new(|| moved_where("created_at >= $1 AND created_at < $2"));

fn moved_where(condition: &str) -> String {
    let kind = |account: &str| {
        format!(
            "CASE WHEN {account} LIKE 'job:%' THEN 'job' WHEN {account} LIKE 'session:%' THEN 'session' \
             WHEN {account} LIKE 'bootstrap:%' THEN 'bootstrap' WHEN {account} IN ('wallet', 'revenue', 'refunds_due', \
             'routing_fees', 'rounding', 'operator', 'pool') THEN {account} ELSE '' END"
        )
    };
    format!(
        "SELECT kind, {} AS debited, {} AS credited, COUNT(*) AS items, CAST(SUM(amount_msats) AS TEXT) AS msats \
         FROM transfers WHERE {condition} GROUP BY 1, 2, 3",
        kind("debit"),
        kind("credit"),
    )
}

/// A row of [`IN_PROGRESS`].
#[derive(Debug, QueryableByName)]
pub struct InProgressRow {
    #[diesel(sql_type = Text)]
    what: String,
    #[diesel(sql_type = Text)]
    which: String,
    #[diesel(sql_type = BigInt)]
    items: i64,
    #[diesel(sql_type = BigInt)]
    leased: i64,
    #[diesel(sql_type = BigInt)]
    expired: i64,
    #[diesel(sql_type = Text)]
    msats: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    oldest: Option<i64>,
}

/// A row of [`MOVED`].
#[derive(Debug, QueryableByName)]
pub struct MovedRow {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    debited: String,
    #[diesel(sql_type = Text)]
    credited: String,
    #[diesel(sql_type = BigInt)]
    items: i64,
    #[diesel(sql_type = Text)]
    msats: String,
}

/// The measurements from the rows of [`IN_PROGRESS`].
///
/// # Errors
/// [`StoreError::Corrupt`] when a row cannot be read.
pub fn measurements(rows: Vec<InProgressRow>) -> Result<Measurements, StoreError> {
    let mut found = Measurements::default();
    for row in rows {
        let read = Reader::new("measurements", &row.what);
        let msats: u128 = read.column("msats", row.msats.parse())?;
        let measured = match (row.what.as_str(), row.which.as_str()) {
            ("job", "evaluating") => Measured::JobsEvaluating,
            ("job", "accepted") => Measured::JobsAccepted,
            ("job", _) => Measured::JobsExecuting,
            ("hold", _) => Measured::Holds,
            ("reservation", _) => Measured::Reservations,
            ("credit", _) => Measured::Credits,
            ("invoice", purpose) => Measured::Invoices(read.column("purpose", purpose.parse::<Purpose>())?),
            ("payout", _) => Measured::PayoutsInFlight,
            ("refund", _) => Measured::RefundsPayable,
            ("failing", _) => Measured::RefundsFailing,
            ("bootstrap", "provisioning") => Measured::BootstrapsProvisioning,
            ("bootstrap", _) => Measured::BootstrapsDestroying,
            ("pool", which) => {
                let amount = read.msats(which, read.column(which, i64::try_from(msats))?)?;
                let part = if which == "held" { &mut found.pool_held } else { &mut found.pool_balance };
                *part = amount;
                continue;
            }
            (_, _) => {
                found.last_transfer = read.count("seq", row.items)?;
                continue;
            }
        };
        let tally = Tally {
            count: read.count("items", row.items)?,
            leased: read.count("leased", row.leased)?,
            expired: read.count("expired", row.expired)?,
            msats,
            oldest: row.oldest.map(|oldest| read.time("oldest", oldest)).transpose()?,
        };
        if tally.count > 0 {
            found.tallies.entry(measured).and_modify(|it| it.merge(&tally)).or_insert(tally);
        }
    }
    Ok(found)
}

/// The sums from the rows of [`MOVED`].
///
/// # Errors
/// [`StoreError::Corrupt`] when a row cannot be read.
pub fn moved(rows: Vec<MovedRow>) -> Result<Vec<TransferSum>, StoreError> {
    let sum = |row: MovedRow| {
        let read = Reader::new("transfers", &row.kind);
        Ok(TransferSum {
            kind: read.column("kind", row.kind.parse())?,
            debit: account_kind(&row.debited),
            credit: account_kind(&row.credited),
            transfers: read.count("items", row.items)?,
            msats: read.column("msats", row.msats.parse())?,
        })
    };
    rows.into_iter().map(sum).collect()
}

fn account_kind(name: &str) -> Option<AccountKind> {
    Some(match name {
        "wallet" => AccountKind::Wallet,
        "revenue" => AccountKind::Revenue,
        "refunds_due" => AccountKind::RefundsDue,
        "routing_fees" => AccountKind::RoutingFees,
        "rounding" => AccountKind::Rounding,
        "operator" => AccountKind::Operator,
        "pool" => AccountKind::Pool,
        "job" => AccountKind::Job,
        "session" => AccountKind::Session,
        "bootstrap" => AccountKind::Bootstrap,
        _ => return None,
    })
}
