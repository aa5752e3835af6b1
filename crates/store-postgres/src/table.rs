//! The statements of batches: they lock, insert and update sets of rows by key.
//!
//! One statement serves any number of rows: their columns are passed as arrays (`unnest`).

use std::fmt::Write as _;
use tithe_store_sql::rows::{
    AccountRow, AuthNonceRow, BootstrapRow, CreditRow, HoldRow, IdempotencyRow, IdentityRow,
    InstallOriginRow, InstallRow, InvoiceRow, JobRow, KeptRequestRow, ObligationRow, PayoutRow,
    PoolCountersRow, ReservationRow, RevocationRow, SessionKeyRow, SessionRequestRow, SessionRow,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

/// A column of many rows, as a parameter.
pub(crate) type Column = Box<dyn ToSql + Sync + Send>;

/// A column's name and type.
type Named = (&'static str, &'static str);

/// A table whose rows batches lock, insert and update.
pub(crate) trait Table: Sized {
    const NAME: &'static str;
    /// The columns of the primary key.
    const KEY: &'static [Named];
    /// The columns that never change.
    const FIXED: &'static [Named];
    /// The columns that change.
    const CHANGING: &'static [Named];
    /// Of those, long ones that most updates leave as they are: the stored value is kept where it is, and not written again.
    const LONG: &'static [&'static str];
    /// The order in which rows are locked: any, as long as every server has the same.
    const LOCK_ORDER: &'static str;

    fn read(row: &Row) -> Result<Self, Error>;
    /// Key, fixed and changing columns.
    fn all_columns(rows: Vec<Self>) -> Vec<Column>;
    /// Key and changing columns.
    fn changing_columns(rows: Vec<Self>) -> Vec<Column>;
}

/// Prepares the statement that locks and loads rows of a table.
pub(crate) async fn prepare_lock<T: Table>(client: &Client) -> Result<Statement, Error> {
    client.prepare(&lock_sql::<T>()).await
}

fn columns<T: Table>() -> impl Iterator<Item = &'static Named> {
    T::KEY.iter().chain(T::FIXED).chain(T::CHANGING)
}

/// `a, b, c`, each as `each` writes it.
fn list<'a>(columns: impl Iterator<Item = &'a Named>, each: impl Fn(usize, &Named) -> String) -> String {
    columns.enumerate().map(|(n, column)| each(n + 1, column)).collect::<Vec<_>>().join(", ")
}

fn names<'a>(columns: impl Iterator<Item = &'a Named>) -> String {
    list(columns, |_, (name, _)| (*name).to_owned())
}

/// `unnest($1::text[], $2::bigint[]) AS given (id, amount)`, with parameters from number `first` on.
fn given<'a>(first: usize, columns: impl Iterator<Item = &'a Named> + Clone) -> String {
    let arrays = list(columns.clone(), |n, (_, kind)| format!("${}::{kind}[]", first + n - 1));
    format!("unnest({arrays}) AS given ({})", names(columns))
}

fn lock_sql<T: Table>() -> String {
    let (table, wanted) = (T::NAME, given(1, T::KEY.iter()));
    let (keys, loaded, order) = (names(T::KEY.iter()), names(columns::<T>()), T::LOCK_ORDER);
    format!(
        "SELECT {loaded} FROM {wanted} JOIN {table} USING ({keys}) ORDER BY {order} FOR UPDATE OF {table}"
    )
}

/// The statement that inserts rows, with parameters from number `first` on.
pub(crate) fn insert_sql<T: Table>(first: usize) -> String {
    let all: Vec<Named> = columns::<T>().copied().collect();
    format!("INSERT INTO {} ({}) SELECT * FROM {}", T::NAME, names(all.iter()), given(first, all.iter()))
}

/// The statement that updates rows, with parameters from number `first` on.
pub(crate) fn update_sql<T: Table>(first: usize) -> String {
    let table = T::NAME;
    let set = list(T::CHANGING.iter(), |_, (name, _)| {
        if T::LONG.contains(name) {
            let (stored, given) = (format!("{table}.{name}"), format!("given.{name}"));
            return format!("{name} = CASE WHEN {stored} = {given} THEN {stored} ELSE {given} END");
        }
        format!("{name} = given.{name}")
    });
    let mut sql = format!("UPDATE {table} SET {set} FROM {}", given(first, T::KEY.iter().chain(T::CHANGING)));
    for (n, (name, _)) in T::KEY.iter().enumerate() {
        let _infallible =
            write!(sql, " {} {table}.{name} = given.{name}", if n == 0 { "WHERE" } else { "AND" });
    }
    sql
}

macro_rules! table {
    (
        $row:ident in $name:literal, locked by $order:literal;
        key { $($key:ident: $key_type:ident),* }
        fixed { $($fixed:ident: $fixed_type:ident),* }
        changing { $($changing:ident: $changing_type:ident),* }
        $(long { $($long:ident),* })?
    ) => {
        impl Table for $row {
            const NAME: &'static str = $name;
            const KEY: &'static [Named] = &[$((stringify!($key), stringify!($key_type))),*];
            const FIXED: &'static [Named] = &[$((stringify!($fixed), stringify!($fixed_type))),*];
            const CHANGING: &'static [Named] = &[$((stringify!($changing), stringify!($changing_type))),*];
            const LONG: &'static [&'static str] = &[$($(stringify!($long)),*)?];
            const LOCK_ORDER: &'static str = $order;

            fn read(row: &Row) -> Result<Self, Error> {
                let mut column = 0..;
                let mut next = || column.next().unwrap_or_default();
                Ok(Self {
                    $($key: row.try_get::<usize, _>(next())?,)*
                    $($fixed: row.try_get::<usize, _>(next())?,)*
                    $($changing: row.try_get::<usize, _>(next())?,)*
                })
            }

            fn all_columns(rows: Vec<Self>) -> Vec<Column> {
                $(let mut $key = Vec::with_capacity(rows.len());)*
                $(let mut $fixed = Vec::with_capacity(rows.len());)*
                $(let mut $changing = Vec::with_capacity(rows.len());)*
                for row in rows {
                    $($key.push(row.$key);)*
                    $($fixed.push(row.$fixed);)*
                    $($changing.push(row.$changing);)*
                }
                vec![$(Box::new($key),)* $(Box::new($fixed),)* $(Box::new($changing),)*]
            }

            fn changing_columns(rows: Vec<Self>) -> Vec<Column> {
                $(let mut $key = Vec::with_capacity(rows.len());)*
                $(let mut $changing = Vec::with_capacity(rows.len());)*
                for row in rows {
                    $($key.push(row.$key);)*
                    $($changing.push(row.$changing);)*
                }
                vec![$(Box::new($key),)* $(Box::new($changing),)*]
            }
        }
    };
}

table! {
    AccountRow in "accounts", locked by "accounts.id = 'pool', accounts.id";
    key { id: text }
    fixed {}
    changing { balance_msats: bigint, held_msats: bigint }
}

table! {
    HoldRow in "holds", locked by "holds.id";
    key { id: text }
    fixed { account: text, created_at: bigint }
    changing { amount_msats: bigint, state: text, lease_until: bigint, charged_msats: bigint, updated_at: bigint }
}

table! {
    // The request may be long, and never changes.
    JobRow in "jobs", locked by "jobs.id";
    key { id: text }
    fixed {
        request: text, model: text, max_output_tokens: bigint, eval_quote: text, eval_amount_msats: bigint,
        created_at: bigint, nostr_pubkey: text
    }
    changing {
        state: text, eval_invoice: text, work_terms: text, work_invoice: text, rejection_reason: text,
        error_message: text, result: text, actual_input_tokens: bigint, actual_cached_input_tokens: bigint,
        actual_output_tokens: bigint, actual_buckets: text, finish_reason: text, settlement: text, refund_state: text, refund_amount_msats: bigint,
        revision: bigint, lease_owner: text, lease_until: bigint, attempts: bigint, claims: bigint,
        updated_at: bigint, usage_estimated: boolean, text_deleted_at: bigint, held_payment: text
    }
    long { work_terms, settlement, result }
}

table! {
    SessionRow in "sessions", locked by "sessions.id";
    key { id: text }
    fixed {
        nostr_pubkey: text, deposit_msats: bigint, webhook_url: text, created_at: bigint, request_digest: text, request_terms: text
    }
    changing {
        kind: text, state: text, deposit_invoice: text, top_up_invoice: text, top_ups: bigint, paid_in_msats: bigint,
        topped_up_to_msats: bigint, refund_amount_msats: bigint, rounding_msats: bigint, warned_percent: bigint, notified_percent: bigint,
        last_used_at: bigint, return_to: text, return_invoice: text, topped_up: text, updated_at: bigint
    }
}

table! {
    BootstrapRow in "bootstrap_jobs", locked by "bootstrap_jobs.id";
    key { id: text }
    fixed { nostr_pubkey: text, plan: text, amount_msats: bigint, ssh_public_key: text, created_at: bigint }
    changing {
        state: text, invoice: text, paid_at: bigint, begun_at: bigint, host: text, sealed: text,
        delivered_at: bigint, error_message: text, refund_amount_msats: bigint, rounding_msats: bigint,
        claim_owner: text, claims: bigint, claimable_at: bigint, updated_at: bigint
    }
}

table! {
    ObligationRow in "obligations", locked by "obligations.account";
    key { account: text }
    fixed { created_at: bigint }
    changing {
        accrued_msats: bigint, due_msats: bigint, destination: text, in_flight: text, last_paid: text,
        failures: bigint, next_try_at: bigint, problem: text, updated_at: bigint
    }
}

table! {
    // An invoice that has failed may be paid again.
    PayoutRow in "payouts", locked by "payouts.payment_hash";
    key { payment_hash: text }
    fixed { account: text, bolt11: text, created_at: bigint }
    changing {
        id: text, amount_msats: bigint, fee_limit_msats: bigint, state: text, paying_since: bigint,
        preimage: text, fee_msats: bigint, error_message: text, attempts: bigint, looks: bigint,
        next_look_at: bigint, updated_at: bigint
    }
}

table! {
    KeptRequestRow in "kept_requests", locked by "kept_requests.session_id";
    key { session_id: text }
    fixed { request_id: text, nostr_pubkey: text, invoice: text, created_at: bigint, expires_at: bigint }
    changing {
        state: text, work_until: bigint, request: text, bytes: bigint, answer: text, lease_owner: text, lease_until: bigint,
        claims: bigint, updated_at: bigint
    }
    long { request, answer }
}

table! {
    SessionKeyRow in "session_keys", locked by "session_keys.session_id, session_keys.key_id";
    key { session_id: text, key_id: text }
    fixed { parent_key_id: text, caveats: text, first_used_at: bigint }
    changing {
        spent_msats: bigint, requests: bigint, counted_at: bigint, hour_spent_msats: bigint,
        day_spent_msats: bigint, month_spent_msats: bigint, reserved_msats: bigint, running: bigint,
        warned_percent: bigint, notified_percent: bigint, revoked_at: bigint, last_used_at: bigint
    }
}

table! {
    SessionRequestRow in "session_requests", locked by "session_requests.id";
    key { id: text }
    fixed { session_id: text, model: text, key_ids: text, created_at: bigint }
    changing {
        limit_msats: bigint, state: text, cost_msats: bigint, charged_msats: bigint, absorbed_msats: bigint,
        actual_input_tokens: bigint, actual_cached_input_tokens: bigint, actual_output_tokens: bigint, actual_buckets: text, backend: text,
        request_hash: text, btc_price_usd_micros: bigint,
        usage_estimated: boolean, finish_reason: text, reason: text, updated_at: bigint, result: text,
        text_deleted_at: bigint
    }
}

table! {
    InvoiceRow in "invoices", locked by "invoices.payment_hash";
    key { payment_hash: text }
    fixed {
        purpose: text, owner: text, bolt11: text, amount_msats: bigint, created_at: bigint, expires_at: bigint
    }
    changing { state: text, received_msats: bigint, paid_at: bigint, preimage: text }
}

table! {
    // An expired key may be used for another request: everything changes.
    IdempotencyRow in "idempotency_keys", locked by "idempotency_keys.scope, idempotency_keys.key";
    key { scope: text, key: text }
    fixed {}
    changing {
        fingerprint: text, subject: text, lease_until: bigint, answer_status: integer, answer_body: text,
        created_at: bigint, expires_at: bigint
    }
}

table! {
    IdentityRow in "nostr_identities", locked by "nostr_identities.pubkey";
    key { pubkey: text }
    fixed { created_at: bigint }
    changing {
        trust_score_millis: bigint, gained_today_millis: bigint, gains_reset_at: bigint, away_since: bigint,
        interaction_count: bigint, absorbed_today_msats: bigint, absorbed_reset_at: bigint,
        reserved_msats: bigint, open_offer: text, last_seen: bigint, updated_at: bigint
    }
}

table! {
    // A consumed nonce never changes.
    AuthNonceRow in "auth_challenges", locked by "auth_challenges.id";
    key { id: text }
    fixed { kind: text, pubkey: text, used_at: bigint }
    changing { expires_at: bigint }
}

table! {
    ReservationRow in "free_tier_reservations", locked by "free_tier_reservations.id";
    key { id: text }
    fixed {
        pubkey: text, amount_msats: bigint, budget_msats: bigint, used_after_msats: bigint, created_at: bigint
    }
    changing { state: text, lease_until: bigint, absorbed_msats: bigint, updated_at: bigint }
}

table! {
    PoolCountersRow in "free_tier_pool", locked by "free_tier_pool.id";
    key { id: text }
    fixed {}
    changing { offered_msats: bigint, day: bigint, granted_msats: bigint }
}

table! {
    // An origin begins another window when one is over.
    InstallOriginRow in "install_origins", locked by "install_origins.name";
    key { name: text }
    fixed {}
    changing { since: bigint, installs: bigint }
}

table! {
    InstallRow in "install_credits", locked by "install_credits.install_id";
    key { install_id: text }
    fixed { created_at: bigint }
    changing {
        plan: text, anchor_day: bigint, period_start: bigint, lifetime_consumed: bigint, lifetime_cloud_consumed: bigint,
        lifetime_reserved: bigint, lifetime_cloud_reserved: bigint, monthly_consumed: bigint, monthly_cloud_consumed: bigint,
        monthly_reserved: bigint, monthly_cloud_reserved: bigint, last_active_at: bigint
    }
}

table! {
    CreditRow in "credits", locked by "credits.id";
    key { id: text }
    fixed {
        install_id: text, plan: text, backend: text, counted: text, quota_requests: bigint, quota_cloud: bigint,
        period_start: bigint, used_after: bigint, cloud_used_after: bigint, created_at: bigint
    }
    changing { state: text, lease_until: bigint, late: boolean, updated_at: bigint }
}

table! {
    // A revocation never changes.
    RevocationRow in "revoked_licences", locked by "revoked_licences.licence_id";
    key { licence_id: text }
    fixed { reason: text }
    changing { revoked_at: bigint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_name_every_column_once() {
        assert_eq!(
            lock_sql::<AccountRow>(),
            "SELECT id, balance_msats, held_msats FROM unnest($1::text[]) AS given (id) JOIN accounts USING (id) \
             ORDER BY accounts.id = 'pool', accounts.id FOR UPDATE OF accounts"
        );
        assert_eq!(
            insert_sql::<AccountRow>(1),
            "INSERT INTO accounts (id, balance_msats, held_msats) \
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS given (id, balance_msats, held_msats)"
        );
        assert_eq!(
            update_sql::<HoldRow>(1),
            "UPDATE holds SET amount_msats = given.amount_msats, state = given.state, lease_until = given.lease_until, \
             charged_msats = given.charged_msats, updated_at = given.updated_at \
             FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[]) \
             AS given (id, amount_msats, state, lease_until, charged_msats, updated_at) WHERE holds.id = given.id"
        );
        assert!(
            update_sql::<IdempotencyRow>(1)
                .ends_with("WHERE idempotency_keys.scope = given.scope AND idempotency_keys.key = given.key")
        );
    }
}
