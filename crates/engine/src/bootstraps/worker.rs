//! The worker: has nodes made, and destroys those that came too late.

use super::bootstrap_advance::{BootstrapAdvance, BootstrapStep};
use super::bootstrap_claim::BootstrapClaim;
use super::bootstrap_finish::{BootstrapFinish, BootstrapOutcome};
use super::service::Bootstraps;
use crate::books::{Command, Refusal};
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::error_chain::chain;
use std::time::Duration;
use tithe_bootstrap::{
    Bootstrap, BootstrapError, BootstrapId, BootstrapState, Claim, CreateError, Destroyed, Node, Order,
    Progress, RootPassword, StateName,
};
use tithe_clock::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

/// How many bootstraps one round claims.
const ROUND_MAX: usize = 16;

/// How long a provisioner that does not answer is left alone.
const UNANSWERED_REST: Duration = Duration::from_secs(30);

/// How long a provisioner that asks for more is left alone at most.
const REST_MAX: Duration = Duration::from_mins(10);

/// How often the end of a step is committed anew while the database is unavailable. The claim bounds the wait.
const COMMIT_RETRY_INTERVAL: Duration = Duration::from_millis(200);

const NOT_MADE: &str = "The node could not be made. What was paid is refunded.";

/// Why a worker does not go on.
enum Stopped {
    /// Another worker has the bootstrap, or the database refuses.
    Lost,
}

/// What follows a call of the provisioner.
enum Next {
    Finish(BootstrapOutcome),
    Advance(BootstrapStep),
}

impl Bootstraps {
    /// Claims what is due and returns it.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub(crate) async fn claim_due(&self) -> Result<Vec<Bootstrap>, EngineError> {
        let mut claimed = Vec::new();
        for bootstrap in self.core.ports.store.bootstraps_due(self.core.now(), ROUND_MAX).await? {
            let lease = self.core.settings.lease;
            match self
                .core
                .committer
                .commit(BootstrapClaim { bootstrap, owner: self.claim_owner, lease })
                .await
            {
                Ok(bootstrap) => claimed.push(*bootstrap),
                // Another worker was first.
                Err(CommitError::Refused(_)) => {}
                // What was claimed is worked on.
                Err(failure) if claimed.is_empty() => return Err(failure.into()),
                Err(failure) => {
                    warn!(error = chain(&failure), "no more bootstraps could be claimed");
                    break;
                }
            }
        }
        Ok(claimed)
    }

    /// Returns when a bootstrap was paid for on this server.
    pub(crate) async fn paid(&self) {
        self.paid.notified().await;
    }

    /// Makes the next round begin now.
    pub(crate) fn wake(&self) {
        self.paid.notify_one();
    }

    /// Takes the next step of a bootstrap that was claimed, or hands it back. Dropping the future is safe: the claim runs out.
    pub(crate) async fn work(&self, bootstrap: Bootstrap, hand_back: &CancellationToken) {
        let Some(claim) = bootstrap.claim else { return };
        let id = bootstrap.id;
        let span = info_span!("bootstrap", bootstrap_id = %id);
        let working = async {
            let worked = tokio::select! {
                worked = self.step(&bootstrap, claim) => worked,
                () = self.keep(id, claim) => Err(Stopped::Lost),
                () = hand_back.cancelled() => return self.hand_back(id, claim).await,
            };
            if let Err(Stopped::Lost) = worked {
                warn!("the bootstrap is left to another worker");
            }
        };
        working.instrument(span).await;
    }

    /// Gives the claim up, so that another server goes on at once. If the provisioner was called, that server looks the node up; it
    /// may not be known to the provisioner yet, so that finding none proves nothing for a while.
    async fn hand_back(&self, bootstrap: BootstrapId, claim: Claim) {
        let step = BootstrapStep::Rest(Duration::ZERO);
        match self.core.committer.commit(BootstrapAdvance { bootstrap, claim, step }).await {
            Ok(_) => {
                info!("bootstrap handed back");
                self.core.publish_handed_back().await;
            }
            // The step had ended, or another worker has it.
            Err(CommitError::Refused(refusal)) => info!(%refusal, "the bootstrap was left before"),
            Err(failure) => {
                warn!(error = chain(&failure), "the bootstrap could not be handed back; its claim runs out");
            }
        }
    }

    async fn step(&self, bootstrap: &Bootstrap, claim: Claim) -> Result<(), Stopped> {
        let order = self.order(bootstrap);
        let next = match (&bootstrap.state, order) {
            (BootstrapState::Provisioning { paid_at, begun_at }, Some(order)) => {
                let overdue = self.core.now() >= *paid_at + self.core.settings.provision_timeout;
                match begun_at {
                    None if overdue => fails(false),
                    None => {
                        self.begin(bootstrap.id, claim).await?;
                        self.node_create(&order).await
                    }
                    Some(begun_at) => self.node_find(&order, *begun_at, overdue).await,
                }
            }
            (BootstrapState::Failed { begun_at: Some(begun_at), .. }, Some(order)) => {
                self.node_destroy(&order, *begun_at).await
            }
            (BootstrapState::Provisioning { .. }, None) => fails(bootstrap.has_begun()),
            _ => return Ok(()),
        };
        match next {
            Next::Advance(step) => self.advance(bootstrap.id, claim, step).await,
            Next::Finish(outcome) => {
                let ready = matches!(outcome, BootstrapOutcome::Ready { .. });
                let (id, identity) = (bootstrap.id, bootstrap.identity);
                self.commit(BootstrapFinish { bootstrap: id, identity, claim, outcome }).await?;
                let result =
                    if ready { "the node is ready" } else { "no node was made; the customer is refunded" };
                info!(result, "provisioning ended");
                Ok(())
            }
        }
    }

    /// The order of a bootstrap; `None` when the password that its node is to have cannot be decrypted any more.
    fn order(&self, bootstrap: &Bootstrap) -> Option<Order> {
        let sealed = bootstrap.sealed.as_ref().filter(|_| bootstrap.ssh_public_key.is_none());
        let opened = sealed.map(|sealed| self.seal.open(bootstrap.id, sealed));
        if opened == Some(None) {
            error!("the password of a node cannot be decrypted: was a secret removed?");
            // What is to be destroyed is found by its id.
            if !matches!(bootstrap.state, BootstrapState::Failed { .. }) {
                return None;
            }
        }
        let root_password = opened.flatten().map(RootPassword::restore);
        let ssh_public_key = bootstrap.ssh_public_key.clone();
        Some(Order { id: bootstrap.id, plan: bootstrap.plan.clone(), ssh_public_key, root_password })
    }

    /// Has the node made.
    async fn node_create(&self, order: &Order) -> Next {
        info!(plan = order.plan, "the node is being made");
        match self.core.ports.provisioner.create(order).await {
            Ok(progress) => self.progress(order, progress, false),
            Err(failure @ CreateError::Unavailable { retry_after, .. }) => {
                warn!(error = chain(&failure), "no node was made yet");
                let rest = retry_after.unwrap_or(UNANSWERED_REST).min(REST_MAX);
                Next::Advance(BootstrapStep::NotBegun(rest))
            }
            Err(failure @ CreateError::Refused { .. }) => {
                error!(error = chain(&failure), "the provisioner cannot make nodes");
                self.health.set(false);
                fails(false)
            }
            Err(failure @ CreateError::Unknown { .. }) => {
                warn!(error = chain(&failure), "the node is looked up from now on");
                Next::Advance(BootstrapStep::Rest(self.core.settings.provision_poll))
            }
        }
    }

    /// Looks up a node that may be being made.
    async fn node_find(&self, order: &Order, begun_at: Timestamp, overdue: bool) -> Next {
        match self.core.ports.provisioner.find(order).await {
            Ok(Some(progress)) => self.progress(order, progress, overdue),
            // It may not be known to the provisioner yet.
            Ok(None) if !overdue && self.core.now() < begun_at + self.core.settings.provision_doubt => {
                Next::Advance(BootstrapStep::Rest(self.core.settings.provision_poll))
            }
            Ok(None) => {
                error!("the provisioner knows no node of this order");
                fails(true)
            }
            Err(failure) => {
                warn!(error = chain(&failure), "the node could not be looked up");
                if overdue { fails(true) } else { Next::Advance(BootstrapStep::Rest(UNANSWERED_REST)) }
            }
        }
    }

    fn progress(&self, order: &Order, progress: Progress, overdue: bool) -> Next {
        match progress {
            Progress::Ready(node) => self.ready(order, node),
            Progress::Pending if overdue => {
                error!("the node was not made in time");
                fails(true)
            }
            Progress::Pending => Next::Advance(BootstrapStep::Rest(self.core.settings.provision_poll)),
            Progress::Failed { reason } => {
                error!(error = reason, "the provisioner could not make the node");
                fails(true)
            }
        }
    }

    fn ready(&self, order: &Order, node: Node) -> Next {
        let Node { host, credentials } = match node.check() {
            Ok(node) => node,
            Err(wrong) => {
                error!(error = %wrong, "the provisioner has returned an unusable node");
                return fails(true);
            }
        };
        let text = serde_json::to_string(&credentials).ok();
        let entropy = self.core.ports.entropy.as_ref();
        match text.and_then(|text| self.seal.seal(order.id, &text, entropy)) {
            Some(sealed) => Next::Finish(BootstrapOutcome::Ready { host, sealed }),
            None => fails(true),
        }
    }

    /// Destroys a node that came too late, or not at all.
    async fn node_destroy(&self, order: &Order, begun_at: Timestamp) -> Next {
        match self.core.ports.provisioner.destroy(order).await {
            Ok(Destroyed::Now) => {
                warn!("a node that nobody pays for was destroyed");
                Next::Advance(BootstrapStep::Destroyed)
            }
            // It may not be known to the provisioner yet.
            Ok(Destroyed::NotFound) if self.core.now() < begun_at + self.core.settings.provision_doubt => {
                Next::Advance(BootstrapStep::Rest(UNANSWERED_REST))
            }
            Ok(Destroyed::NotFound) => Next::Advance(BootstrapStep::Destroyed),
            Err(failure) => {
                error!(
                    error = chain(&failure),
                    "a node that nobody pays for may be running; it could not be destroyed yet"
                );
                Next::Advance(BootstrapStep::Rest(REST_MAX))
            }
        }
    }

    /// Commits that the provisioner is about to be called. If it is not known whether that was committed, a refusal of the same step
    /// of the same claim says that it was.
    ///
    /// A worker that needed longer for that than its claim lasts must not call the provisioner any more: another one may have looked
    /// for the node already.
    async fn begin(&self, bootstrap: BootstrapId, claim: Claim) -> Result<(), Stopped> {
        let until = self.core.now() + self.core.settings.lease / 2;
        self.commit_begin(bootstrap, claim).await?;
        if self.core.now() < until { Ok(()) } else { Err(Stopped::Lost) }
    }

    async fn commit_begin(&self, bootstrap: BootstrapId, claim: Claim) -> Result<(), Stopped> {
        let begin = BootstrapAdvance { bootstrap, claim, step: BootstrapStep::Begin };
        let mut in_doubt = false;
        loop {
            match self.core.committer.commit(begin.clone()).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Refused(Refusal::Bootstrap(BootstrapError::State(
                    StateName::Provisioning,
                )))) if in_doubt => return Ok(()),
                Err(CommitError::Refused(_) | CommitError::Failed) => return Err(Stopped::Lost),
                Err(failure) => {
                    in_doubt |= matches!(failure, CommitError::Unknown);
                    tokio::time::sleep(COMMIT_RETRY_INTERVAL).await;
                }
            }
        }
    }

    async fn advance(
        &self,
        bootstrap: BootstrapId,
        claim: Claim,
        step: BootstrapStep,
    ) -> Result<(), Stopped> {
        self.commit(BootstrapAdvance { bootstrap, claim, step }).await
    }

    /// Commits the end of a step, for as long as the claim is ours.
    async fn commit<C: Command + Clone>(&self, command: C) -> Result<(), Stopped> {
        loop {
            match self.core.committer.commit(command.clone()).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Refused(refusal)) => {
                    warn!(%refusal, "the step was refused");
                    return Err(Stopped::Lost);
                }
                Err(CommitError::Failed) => return Err(Stopped::Lost),
                Err(failure) => {
                    warn!(error = chain(&failure), "the step is not committed yet");
                    tokio::time::sleep(COMMIT_RETRY_INTERVAL).await;
                }
            }
        }
    }

    /// Renews the claim for as long as it is ours; returns when it no longer is.
    async fn keep(&self, bootstrap: BootstrapId, claim: Claim) {
        let lease = self.core.settings.lease;
        let step = BootstrapStep::Renew(lease);
        loop {
            tokio::time::sleep(lease / 3).await;
            match self.core.committer.commit(BootstrapAdvance { bootstrap, claim, step }).await {
                Err(CommitError::Refused(refusal)) => {
                    warn!(%refusal, "the claim has ended");
                    return;
                }
                Err(failure) => warn!(error = chain(&failure), "the claim could not be renewed"),
                Ok(_) => {}
            }
        }
    }
}

fn fails(node_possible: bool) -> Next {
    Next::Finish(BootstrapOutcome::Failed { message: NOT_MADE.to_owned(), node_possible })
}
