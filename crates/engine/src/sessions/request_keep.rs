//! Keeping what a request that runs has set aside, and letting it grow.

use super::request::{COMMIT_RETRY_INTERVAL, Running};
use super::request_extend::SessionRequestExtend;
use super::request_renew::SessionRequestRenew;
use super::service::Sessions;
use crate::committer::CommitError;
use crate::error_chain::chain;
use std::sync::atomic::Ordering;
use tithe_money::Msats;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

impl Sessions {
    /// Renews the hold, and the lease of the idempotency key, for as long as they are ours, and lets the hold grow when more of the
    /// answer is needed; returns when they no longer are ours.
    pub(super) async fn keep(&self, running: &Running) {
        let (renew, interval) = (self.renewal(running), self.core.settings.lease / 3);
        let mut renew_at = Instant::now() + interval;
        loop {
            // The lease is renewed in time, also while the hold cannot grow.
            let needed = tokio::select! {
                biased;
                () = sleep_until(renew_at) => None,
                needed = running.cover.needed() => Some(needed),
            };
            let kept = match needed {
                Some(output) => self.extend(running, output).await,
                None => self.core.committer.commit(renew.clone()).await,
            };
            match (kept, needed) {
                (Err(CommitError::Refused(refusal)), _) => {
                    warn!(%refusal, "the hold has ended");
                    return;
                }
                (Err(failure), None) => {
                    warn!(error = chain(&failure), "the hold could not be renewed");
                    renew_at = Instant::now() + interval;
                }
                (Err(failure), Some(_)) => {
                    warn!(error = chain(&failure), "the hold could not grow; the answer waits");
                    sleep(COMMIT_RETRY_INTERVAL).await;
                }
                (Ok(()), _) => renew_at = Instant::now() + interval,
            }
        }
    }

    /// Lets the hold grow so that it covers so much output, in tokens, or what there is.
    async fn extend(&self, running: &Running, output: u64) -> Result<(), CommitError> {
        let Ok(wanted) = running.quotes.limit_of(output) else {
            running.cover.end(0);
            return Ok(());
        };
        let limit = self.extend_to(running, wanted).await?;
        let covered = running.quotes.output_within(limit);
        debug!(held_msats = limit.get(), output_tokens = covered, "the hold of the request has grown");
        match &running.replenish {
            _ if limit >= wanted => running.cover.grow(covered),
            Some(replenish) => {
                running.cover.grow(covered);
                return self.await_top_up(running, replenish.as_ref(), wanted, limit).await;
            }
            None => running.cover.end(covered),
        }
        Ok(())
    }

    /// Lets the request cost up to `wanted`, or what there is. Returns the most that it may cost now.
    pub(super) async fn extend_to(&self, running: &Running, wanted: Msats) -> Result<Msats, CommitError> {
        let renew = self.renewal(running);
        let extend = SessionRequestExtend { renew, keys: running.keys.clone(), limit: wanted };
        let limit = self.core.committer.commit(extend).await?;
        running.held.store(limit.get(), Ordering::Relaxed);
        Ok(limit)
    }

    /// Lets the hold grow to what the work has cost, if the backend has counted more than was covered, such as reasoning that it does not
    /// show; at most to what the whole answer was quoted at. What is not to be had is not collected.
    pub(super) async fn cover_cost(&self, running: &Running, cost: Msats) {
        let quoted = running.quotes.limit().unwrap_or(running.request.limit);
        let owed = cost.min(running.quotes.limit_of(running.cover.most()).unwrap_or(quoted)).min(quoted);
        while owed.get() > running.held.load(Ordering::Relaxed) {
            match self.extend_to(running, owed).await {
                // The end of the request is refused, too, if it has lost its hold.
                Ok(_) | Err(CommitError::Refused(_) | CommitError::Failed) => return,
                Err(failure) => {
                    warn!(error = chain(&failure), "the hold does not cover the cost of the request yet");
                    sleep(COMMIT_RETRY_INTERVAL).await;
                }
            }
        }
    }

    fn renewal(&self, running: &Running) -> SessionRequestRenew {
        let lease = self.core.settings.lease;
        SessionRequestRenew {
            request: running.request.id,
            session: running.request.session,
            lease,
            key: running.key.clone().map(|key| (key, lease)),
        }
    }
}
