//! The bootstrap and its steps.

use crate::{BootstrapId, BootstrapState, SshPublicKey, StateName};
use tithe_clock::Timestamp;
use tithe_lightning::PaymentHash;
use tithe_money::{MoneyError, Msats, Sats};
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// Which worker a bootstrap belongs to, and until when the worker is presumed alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Claim {
    /// The run of the server that works on it.
    pub owner: Uuid,
    /// The number of the claim. It only grows, so that a worker that was taken for dead can be told from its successor.
    pub number: u32,
}

/// What a new bootstrap is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBootstrap {
    /// Its id.
    pub id: BootstrapId,
    /// The name of the plan.
    pub plan: String,
    /// The price.
    pub amount: Sats,
    /// The customer's key for SSH.
    pub ssh_public_key: Option<SshPublicKey>,
    /// The encrypted password for the node, if the customer gave no key.
    pub sealed: Option<String>,
    /// The customer's identity; `None` means anonymous.
    pub identity: Option<NostrPubkey>,
    /// The time.
    pub created_at: Timestamp,
}

/// The purchase of a node. What is paid for it is in an account of the ledger until the node is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Bootstrap {
    /// The bootstrap's id.
    pub id: BootstrapId,
    /// The name of the plan.
    pub plan: String,
    /// The price.
    pub amount: Sats,
    /// The customer's key for SSH.
    pub ssh_public_key: Option<SshPublicKey>,
    /// What is encrypted: until the node is ready the password that it is to have, and then its credentials until they are shown.
    pub sealed: Option<String>,
    /// The customer's identity; `None` means anonymous.
    pub identity: Option<NostrPubkey>,
    /// The payment hash of the invoice; `None` until the invoice exists.
    pub invoice: Option<PaymentHash>,
    /// The state.
    pub state: BootstrapState,
    /// Who works on it.
    pub claim: Option<Claim>,
    /// How often it was claimed.
    pub claims: u32,
    /// When it may be claimed again: the claim ends, or its rest is over.
    pub claimable_at: Timestamp,
    /// What is owed to the customer.
    pub refund: Sats,
    /// Fractions of a sat that no payment can carry.
    pub rounding: Msats,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Why a bootstrap does not take a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// The step needs another state.
    #[error("the bootstrap is {0}")]
    State(StateName),
    /// It has its invoice already.
    #[error("the bootstrap has an invoice already")]
    Invoiced,
    /// Another worker has it, or it rests, or nothing is to be done.
    #[error("the bootstrap cannot be claimed now")]
    NotClaimable,
    /// The worker's claim has ended.
    #[error("the claim of the bootstrap was lost")]
    ClaimLost,
    /// The credentials were shown before.
    #[error("the credentials were delivered before")]
    Delivered,
    /// An amount is too large to express.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl Bootstrap {
    /// A new bootstrap, without an invoice.
    #[must_use]
    pub fn new(new: NewBootstrap) -> Self {
        let NewBootstrap { id, plan, amount, ssh_public_key, sealed, identity, created_at } = new;
        Self {
            id,
            plan,
            amount,
            ssh_public_key,
            sealed,
            identity,
            invoice: None,
            state: BootstrapState::AwaitingPayment,
            claim: None,
            claims: 0,
            claimable_at: created_at,
            refund: Sats::ZERO,
            rounding: Msats::ZERO,
            created_at,
            updated_at: created_at,
        }
    }

    /// The name of the state.
    #[must_use]
    pub const fn state_name(&self) -> StateName {
        match self.state {
            BootstrapState::AwaitingPayment => StateName::AwaitingPayment,
            BootstrapState::Provisioning { .. } => StateName::Provisioning,
            BootstrapState::Ready { .. } => StateName::Ready,
            BootstrapState::Failed { .. } => StateName::Failed,
            BootstrapState::Expired => StateName::Expired,
        }
    }

    /// Whether payments that come from now on are refunded.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(
            self.state,
            BootstrapState::Ready { .. } | BootstrapState::Failed { .. } | BootstrapState::Expired
        )
    }

    /// Whether a worker has something to do: a node is to be made, or to be destroyed.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(
            self.state,
            BootstrapState::Provisioning { .. } | BootstrapState::Failed { begun_at: Some(_), .. }
        )
    }

    /// Whether the provisioner may have been asked to make the node: it must not be asked again.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        matches!(
            self.state,
            BootstrapState::Provisioning { begun_at: Some(_), .. }
                | BootstrapState::Failed { begun_at: Some(_), .. }
        )
    }

    const fn wrong_state(&self) -> BootstrapError {
        BootstrapError::State(self.state_name())
    }

    /// The invoice exists.
    ///
    /// # Errors
    /// [`BootstrapError::Invoiced`], [`BootstrapError::State`].
    pub fn invoiced(&self, invoice: PaymentHash, now: Timestamp) -> Result<Self, BootstrapError> {
        match (&self.state, self.invoice) {
            (BootstrapState::AwaitingPayment, None) => {
                Ok(Self { invoice: Some(invoice), updated_at: now, ..self.clone() })
            }
            (BootstrapState::AwaitingPayment, Some(_)) => Err(BootstrapError::Invoiced),
            _ => Err(self.wrong_state()),
        }
    }

    /// The invoice is paid, in time and in full: the node is to be made.
    ///
    /// # Errors
    /// [`BootstrapError::State`].
    pub fn paid(&self, now: Timestamp) -> Result<Self, BootstrapError> {
        match self.state {
            BootstrapState::AwaitingPayment => Ok(Self {
                state: BootstrapState::Provisioning { paid_at: now, begun_at: None },
                claimable_at: now,
                updated_at: now,
                ..self.clone()
            }),
            _ => Err(self.wrong_state()),
        }
    }

    /// Nobody has paid in time, or not enough. What is encrypted is of no use any more.
    ///
    /// # Errors
    /// [`BootstrapError::State`].
    pub fn expired(&self, now: Timestamp) -> Result<Self, BootstrapError> {
        match self.state {
            BootstrapState::AwaitingPayment => {
                Ok(Self { state: BootstrapState::Expired, sealed: None, updated_at: now, ..self.clone() })
            }
            _ => Err(self.wrong_state()),
        }
    }

    /// A worker begins to work on it. The claim lasts until `until` unless it is renewed.
    ///
    /// # Errors
    /// [`BootstrapError::NotClaimable`].
    pub fn claimed(&self, owner: Uuid, until: Timestamp, now: Timestamp) -> Result<Self, BootstrapError> {
        if !self.is_open() || now < self.claimable_at {
            return Err(BootstrapError::NotClaimable);
        }
        let claims = self.claims.saturating_add(1);
        let claim = Some(Claim { owner, number: claims });
        Ok(Self { claim, claims, claimable_at: until, updated_at: now, ..self.clone() })
    }

    /// The worker goes on. An expired claim that nobody else has made still counts.
    ///
    /// # Errors
    /// [`BootstrapError::ClaimLost`].
    pub fn renewed(&self, claim: Claim, until: Timestamp) -> Result<Self, BootstrapError> {
        self.held_by(claim)?;
        Ok(Self { claimable_at: until, ..self.clone() })
    }

    /// The provisioner is about to be asked to make the node. Stored before it is asked.
    ///
    /// # Errors
    /// [`BootstrapError::ClaimLost`], [`BootstrapError::State`].
    pub fn begun(&self, claim: Claim, now: Timestamp) -> Result<Self, BootstrapError> {
        self.held_by(claim)?;
        match self.state {
            BootstrapState::Provisioning { paid_at, begun_at: None } => Ok(Self {
                state: BootstrapState::Provisioning { paid_at, begun_at: Some(now) },
                updated_at: now,
                ..self.clone()
            }),
            _ => Err(self.wrong_state()),
        }
    }

    /// The provisioner has certainly made no node; it is asked again after a rest.
    ///
    /// # Errors
    /// [`BootstrapError::ClaimLost`], [`BootstrapError::State`].
    pub fn not_begun(
        &self,
        claim: Claim,
        rest_until: Timestamp,
        now: Timestamp,
    ) -> Result<Self, BootstrapError> {
        match self.state {
            BootstrapState::Provisioning { paid_at, .. } => {
                let rests = self.rests(claim, rest_until, now)?;
                Ok(Self { state: BootstrapState::Provisioning { paid_at, begun_at: None }, ..rests })
            }
            _ => Err(self.wrong_state()),
        }
    }

    /// The worker leaves it for a while, as it is.
    ///
    /// # Errors
    /// [`BootstrapError::ClaimLost`].
    pub fn rests(&self, claim: Claim, until: Timestamp, now: Timestamp) -> Result<Self, BootstrapError> {
        self.held_by(claim)?;
        Ok(Self { claim: None, claimable_at: until, updated_at: now, ..self.clone() })
    }

    /// The node is ready, with its encrypted credentials.
    ///
    /// # Errors
    /// [`BootstrapError::ClaimLost`], [`BootstrapError::State`].
    pub fn ready(
        &self,
        claim: Claim,
        host: String,
        sealed: String,
        now: Timestamp,
    ) -> Result<Self, BootstrapError> {
        self.held_by(claim)?;
        match self.state {
            BootstrapState::Provisioning { .. } => Ok(Self {
                state: BootstrapState::Ready { host, delivered_at: None },
                sealed: Some(sealed),
                claim: None,
                updated_at: now,
                ..self.clone()
            }),
            _ => Err(self.wrong_state()),
        }
    }

    /// There will be no node: the customer is refunded. One that may have been made all the same is to be destroyed, for which the
    /// password is kept that it was to have.
    ///
    /// # Errors
    /// [`BootstrapError::ClaimLost`], [`BootstrapError::State`].
    pub fn failed(
        &self,
        claim: Claim,
        message: String,
        node_possible: bool,
        now: Timestamp,
    ) -> Result<Self, BootstrapError> {
        self.held_by(claim)?;
        match self.state {
            BootstrapState::Provisioning { begun_at, .. } => {
                let begun_at = begun_at.filter(|_| node_possible);
                let sealed = self.sealed.clone().filter(|_| begun_at.is_some());
                let state = BootstrapState::Failed { message, begun_at };
                Ok(Self { state, sealed, claim: None, claimable_at: now, updated_at: now, ..self.clone() })
            }
            _ => Err(self.wrong_state()),
        }
    }

    /// The node that may have been made is gone.
    ///
    /// # Errors
    /// [`BootstrapError::ClaimLost`], [`BootstrapError::State`].
    pub fn destroyed(&self, claim: Claim, now: Timestamp) -> Result<Self, BootstrapError> {
        self.held_by(claim)?;
        match &self.state {
            BootstrapState::Failed { message, begun_at: Some(_) } => Ok(Self {
                state: BootstrapState::Failed { message: message.clone(), begun_at: None },
                sealed: None,
                claim: None,
                updated_at: now,
                ..self.clone()
            }),
            _ => Err(self.wrong_state()),
        }
    }

    /// The credentials are about to be shown, once: they are forgotten first.
    ///
    /// # Errors
    /// [`BootstrapError::Delivered`], [`BootstrapError::State`].
    pub fn delivered(&self, now: Timestamp) -> Result<Self, BootstrapError> {
        match &self.state {
            BootstrapState::Ready { host, delivered_at: None } => Ok(Self {
                state: BootstrapState::Ready { host: host.clone(), delivered_at: Some(now) },
                sealed: None,
                updated_at: now,
                ..self.clone()
            }),
            BootstrapState::Ready { .. } => Err(BootstrapError::Delivered),
            _ => Err(self.wrong_state()),
        }
    }

    /// More is owed to the customer.
    ///
    /// # Errors
    /// [`BootstrapError::Money`].
    pub fn refunded(&self, refund: Sats, rounding: Msats, now: Timestamp) -> Result<Self, BootstrapError> {
        Ok(Self {
            refund: self.refund.to_msats().checked_add(refund.to_msats())?.to_sats_rounding_down(),
            rounding: self.rounding.checked_add(rounding)?,
            updated_at: now,
            ..self.clone()
        })
    }

    fn held_by(&self, claim: Claim) -> Result<(), BootstrapError> {
        if self.claim == Some(claim) { Ok(()) } else { Err(BootstrapError::ClaimLost) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn later(seconds: u64) -> Timestamp {
        NOW + Duration::from_secs(seconds)
    }

    fn paid() -> Bootstrap {
        let new = NewBootstrap {
            id: BootstrapId(Uuid::nil()),
            plan: "small".to_owned(),
            amount: Sats::new(1_000).unwrap(),
            ssh_public_key: None,
            sealed: Some("password".to_owned()),
            identity: None,
            created_at: NOW,
        };
        let hash = "00".repeat(32).parse().unwrap();
        let invoiced = Bootstrap::new(new).invoiced(hash, NOW).unwrap();
        assert_eq!(invoiced.invoiced(hash, NOW), Err(BootstrapError::Invoiced));
        invoiced.paid(NOW).unwrap()
    }

    fn claimed(bootstrap: &Bootstrap, now: Timestamp) -> (Bootstrap, Claim) {
        let claimed = bootstrap.claimed(Uuid::nil(), now + Duration::from_secs(10), now).unwrap();
        let claim = claimed.claim.unwrap();
        (claimed, claim)
    }

    #[test]
    fn a_worker_that_was_taken_for_dead_can_do_nothing_any_more() {
        let (first, lost) = claimed(&paid(), NOW);
        assert_eq!(first.claimed(Uuid::max(), later(9), later(5)), Err(BootstrapError::NotClaimable));
        let (second, claim) = claimed(&first, later(10));
        let error = Err(BootstrapError::ClaimLost);
        assert_eq!(second.renewed(lost, NOW), error);
        assert_eq!(second.begun(lost, NOW), error);
        assert_eq!(second.not_begun(lost, NOW, NOW), error);
        assert_eq!(second.rests(lost, NOW, NOW), error);
        assert_eq!(second.ready(lost, String::new(), String::new(), NOW), error);
        assert_eq!(second.failed(lost, String::new(), true, NOW), error);
        assert!(second.begun(claim, NOW).unwrap().has_begun());
    }

    #[test]
    fn creation_begins_once_unless_certainly_nothing_was_made() {
        let (bootstrap, claim) = claimed(&paid(), NOW);
        let begun = bootstrap.begun(claim, NOW).unwrap();
        assert_eq!(begun.begun(claim, NOW), Err(BootstrapError::State(StateName::Provisioning)));
        let (again, claim) = claimed(&begun, later(10));
        assert!(again.has_begun() && again.begun(claim, NOW).is_err(), "also for the next worker");
        let rests = again.not_begun(claim, later(60), NOW).unwrap();
        assert_eq!(rests.claimed(Uuid::nil(), later(70), later(59)), Err(BootstrapError::NotClaimable));
        let (again, claim) = claimed(&rests, later(60));
        assert!(again.begun(claim, NOW).is_ok());
    }

    #[test]
    fn credentials_are_delivered_once_and_forgotten() {
        let (bootstrap, claim) = claimed(&paid(), NOW);
        let ready = bootstrap.ready(claim, "h".to_owned(), "sealed".to_owned(), NOW).unwrap();
        assert!(ready.has_ended() && !ready.is_open());
        let delivered = ready.delivered(NOW).unwrap();
        assert_eq!(delivered.sealed, None);
        assert_eq!(delivered.delivered(NOW), Err(BootstrapError::Delivered));
        assert_eq!(paid().delivered(NOW), Err(BootstrapError::State(StateName::Provisioning)));
    }

    #[test]
    fn a_node_that_may_exist_stays_to_be_destroyed() {
        let (bootstrap, claim) = claimed(&paid(), NOW);
        let clean = bootstrap.failed(claim, "no".to_owned(), true, NOW).unwrap();
        assert!(!clean.is_open() && clean.sealed.is_none(), "it was never begun");
        let begun = bootstrap.begun(claim, NOW).unwrap();
        assert!(!begun.failed(claim, "no".to_owned(), false, NOW).unwrap().is_open());
        let failed = begun.failed(claim, "no".to_owned(), true, NOW).unwrap();
        assert!(failed.is_open() && failed.has_begun() && failed.sealed.is_some());
        let (failed, claim) = claimed(&failed, NOW);
        let gone = failed.destroyed(claim, NOW).unwrap();
        assert!(!gone.is_open() && gone.sealed.is_none());
        assert_eq!(gone.state_name(), StateName::Failed);
    }

    #[test]
    fn what_ends_unpaid_keeps_nothing() {
        let unpaid = Bootstrap { state: BootstrapState::AwaitingPayment, ..paid() };
        let expired = unpaid.expired(NOW).unwrap();
        assert_eq!((expired.sealed.clone(), expired.has_ended()), (None, true));
        assert_eq!(expired.paid(NOW), Err(BootstrapError::State(StateName::Expired)));
        assert_eq!(paid().expired(NOW), Err(BootstrapError::State(StateName::Provisioning)));
        for name in StateName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }
}
