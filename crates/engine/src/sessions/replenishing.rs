//! Waiting for a top-up in the middle of an answer.

use super::deposits::Replenish;
use super::request::Running;
use super::service::Sessions;
use super::steps::account_of;
use super::waiters::Waiter;
use crate::committer::CommitError;
use crate::error_chain::chain;
use crate::store::StoreError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tithe_ledger::Account;
use tithe_money::{Msats, Sats};
use tithe_sessions::Session;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// How long an answer waits for a top-up (`draft-lightning-session-00`, "Streaming": 60 seconds are recommended), and how often it looks.
const TOP_UP_PATIENCE: Duration = Duration::from_mins(1);
const TOP_UP_INTERVAL: Duration = Duration::from_millis(500);

/// What the client was told when the answer began to wait.
struct Waiting {
    until: Instant,
    /// The output that waits, in tokens.
    output: u64,
    spent: Sats,
    required: Sats,
    /// Its places among the answers of the session that wait, and among all; without them, it does not wait.
    _place: Option<(Waiter, OwnedSemaphorePermit)>,
}

impl Sessions {
    /// Lets an answer go on when the session is topped up, or ends it. Of `wanted`, only `limit` is held, and nothing more is to be had; what
    /// that covers is passed on first.
    pub(super) async fn await_top_up(
        &self,
        running: &Running,
        replenish: &dyn Replenish,
        wanted: Msats,
        mut limit: Msats,
    ) -> Result<(), CommitError> {
        let (cover, interval) = (&running.cover, self.core.settings.lease / 3);
        let mut renew_at = Instant::now() + interval;
        let mut waiting: Option<Waiting> = None;
        loop {
            tokio::select! {
                biased;
                output = cover.starved(), if waiting.is_none() => {
                    waiting = self.ask_for_top_up(running, replenish, output, wanted.saturating_sub(limit)).await;
                }
                () = sleep(TOP_UP_INTERVAL) => {}
            }
            let is_over = waiting.as_ref().is_some_and(|waiting| Instant::now() >= waiting.until);
            let (has_ended, available) = match self.read_balance(running).await {
                Ok((session, account)) => (session.end().is_some(), account.available()),
                Err(failure) => {
                    warn!(error = chain(&failure), "the balance cannot be read; the answer waits");
                    (false, Msats::ZERO)
                }
            };
            if !available.is_zero() || Instant::now() >= renew_at {
                match self.extend_to(running, wanted).await {
                    Ok(extended) => {
                        renew_at = Instant::now() + interval;
                        limit = extended;
                        let covered = running.quotes.output_within(limit);
                        cover.grow(covered);
                        let goes_on = waiting.as_ref().is_some_and(|waiting| covered >= waiting.output);
                        if goes_on || limit >= wanted {
                            info!(held_msats = limit.get(), output_tokens = covered, "the answer goes on");
                            return Ok(());
                        }
                    }
                    Err(refused @ CommitError::Refused(_)) => return Err(refused),
                    Err(failure) => {
                        warn!(error = chain(&failure), "the hold could not grow; the answer waits");
                    }
                }
            }
            if is_over || has_ended {
                break;
            }
        }
        if let Some(Waiting { spent, required, .. }) = waiting {
            info!("no top-up has come: the answer ends");
            replenish.timed_out(spent, required);
        }
        cover.end(running.quotes.output_within(limit));
        Ok(())
    }

    /// Tells the client that the answer waits for `missing`, if there is a place to wait, unless the session has ended, or the balance cannot be read.
    async fn ask_for_top_up(
        &self,
        running: &Running,
        replenish: &dyn Replenish,
        output: u64,
        missing: Msats,
    ) -> Option<Waiting> {
        let (session, account) = match self.read_balance(running).await {
            Ok(read) => read,
            Err(failure) => {
                warn!(error = chain(&failure), "the balance cannot be read; no top-up is asked for yet");
                sleep(TOP_UP_INTERVAL).await;
                return None;
            }
        };
        if session.end().is_some() {
            return None;
        }
        let held = Msats::new(running.held.load(Ordering::Relaxed)).unwrap_or(Msats::ZERO);
        let spent = session.spent(account.balance()).checked_add(held).unwrap_or(Msats::MAX);
        let in_sats = |amount: Msats| amount.to_sats_rounding_up().unwrap_or(Sats::MAX);
        let (spent, required) = (in_sats(spent), in_sats(missing).max(Sats::new(1).unwrap_or(Sats::ZERO)));
        let place = self.dry.join(session.id).zip(self.slots.place_to_wait());
        let until = if place.is_some() {
            info!(held_msats = held.get(), output_tokens = output, "the answer waits for a top-up");
            replenish.needed(spent, required);
            Instant::now() + TOP_UP_PATIENCE
        } else {
            info!("too many answers wait for a top-up");
            Instant::now()
        };
        Some(Waiting { until, output, spent, required, _place: place })
    }

    async fn read_balance(&self, running: &Running) -> Result<(Session, Account), StoreError> {
        let (store, id) = (&self.core.ports.store, running.request.session);
        let session = store.session(id).await?.unwrap_or_else(|| running.session.clone());
        let account = store.account(account_of(id)).await?;
        let account = account.map_or_else(|| Account::open(account_of(id)), Ok);
        Ok((session, account.map_err(|cause| StoreError::Failed(Box::new(cause)))?))
    }
}
