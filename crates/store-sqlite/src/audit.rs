//! Streaming every row for the audit, from one consistent view.

use crate::SqliteStore;
use crate::fault::Fault;
use diesel::prelude::*;
use futures_util::StreamExt;
use tithe_engine::store::{AuditRow, AuditRows, StoreError};
use tithe_ledger::Transfer;
use tithe_store_sql::rows::{
    AccountRow, BootstrapRow, CreditRow, GrantRow, HoldRow, IdentityRow, InstallRow, InvoiceRow, JobRow,
    KeptRequestRow, ObligationRow, PayoutRow, PoolCountersRow, ReservationRow, SessionRequestRow, SessionRow,
    TransferRow,
};
use tithe_store_sql::schema::{
    accounts, bootstrap_jobs, credits, free_tier_grants, free_tier_pool, free_tier_reservations, holds,
    install_credits, invoices, jobs, kept_requests, nostr_identities, obligations, payouts, session_requests,
    sessions, transfers,
};
use tokio::sync::mpsc;

/// How many rows are read at a time, and how many may wait to be looked at.
const PAGE: i64 = 500;

type Sender = mpsc::Sender<Result<AuditRow, StoreError>>;

impl SqliteStore {
    pub(crate) fn stream_audit_rows(&self) -> AuditRows {
        let (sender, receiver) = mpsc::channel(500);
        let store = self.clone();
        let errors = sender.clone();
        let reading = async move {
            if let Err(cause) = store.read(move |connection| send_all(connection, &sender)).await {
                let _gone = errors.send(Err(cause)).await;
            }
        };
        let rows = futures_util::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|row| (row, receiver))
        });
        // The reader is polled together with its rows, so dropping the stream stops it.
        let reading = futures_util::stream::once(reading).filter_map(async |()| None);
        futures_util::stream::select(rows, reading).boxed()
    }
}

fn send_all(connection: &mut SqliteConnection, sender: &Sender) -> Result<(), Fault> {
    let mut after = 0;
    loop {
        let page: Vec<TransferRow> = transfers::table
            .filter(transfers::seq.gt(after))
            .order(transfers::seq)
            .limit(PAGE)
            .select(TransferRow::as_select())
            .load(connection)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for row in page {
            if !send(sender, Transfer::try_from(row).map(AuditRow::Transfer)) {
                return Ok(());
            }
        }
    }
    macro_rules! send_table {
        ($table:ident, $key:ident, $row:ty, $into:expr) => {
            let mut after = String::new();
            loop {
                let page: Vec<$row> = $table::table
                    .filter($table::$key.gt(&after))
                    .order($table::$key)
                    .limit(PAGE)
                    .select(<$row>::as_select())
                    .load(connection)?;
                let Some(last) = page.last() else { break };
                after.clone_from(&last.$key);
                for row in page {
                    if !send(sender, row.try_into().map($into)) {
                        return Ok(());
                    }
                }
            }
        };
    }
    send_table!(accounts, id, AccountRow, AuditRow::Account);
    send_table!(holds, id, HoldRow, AuditRow::Hold);
    send_table!(nostr_identities, pubkey, IdentityRow, |row| AuditRow::Identity(Box::new(row)));
    send_table!(free_tier_reservations, id, ReservationRow, AuditRow::Reservation);
    send_table!(free_tier_pool, id, PoolCountersRow, AuditRow::PoolCounters);
    send_table!(free_tier_grants, id, GrantRow, AuditRow::Grant);
    send_table!(invoices, payment_hash, InvoiceRow, AuditRow::Invoice);
    send_table!(jobs, id, JobRow, |job| AuditRow::Job(Box::new(job)));
    send_table!(sessions, id, SessionRow, |session| AuditRow::Session(Box::new(session)));
    send_table!(kept_requests, session_id, KeptRequestRow, |kept| AuditRow::KeptRequest(Box::new(kept)));
    send_table!(bootstrap_jobs, id, BootstrapRow, |row| AuditRow::Bootstrap(Box::new(row)));
    send_table!(obligations, account, ObligationRow, |row| AuditRow::Obligation(Box::new(row)));
    send_table!(payouts, payment_hash, PayoutRow, |row| AuditRow::Payout(Box::new(row)));
    send_table!(session_requests, id, SessionRequestRow, |row| AuditRow::SessionRequest(Box::new(row)));
    send_table!(install_credits, install_id, InstallRow, |row| AuditRow::Install(Box::new(row)));
    send_table!(credits, id, CreditRow, |row| AuditRow::Credit(Box::new(row)));
    Ok(())
}

/// Sends a row and returns whether the receiver still exists. A row that cannot be decoded is a finding and does not
/// end the stream.
fn send(sender: &Sender, row: Result<AuditRow, StoreError>) -> bool {
    let row = match row {
        Err(StoreError::Corrupt { subject, problem }) => Ok(AuditRow::Unreadable { subject, problem }),
        other => other,
    };
    sender.blocking_send(row).is_ok()
}
