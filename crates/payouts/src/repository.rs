//! The repository port for obligations and payouts.

use crate::{Obligation, Payout};
use async_trait::async_trait;
use tithe_clock::Timestamp;
use tithe_ledger::AccountId;
use tithe_lightning::PaymentHash;

/// Reads obligations and payouts. They are written by the engine's batches, together with the money that they move.
#[async_trait]
pub trait ObligationRepository: Send + Sync {
    /// The error of a failed read.
    type Error;

    /// The obligation of this account, or `None`.
    async fn obligation(&self, account: AccountId) -> Result<Option<Obligation>, Self::Error>;

    /// The obligations of these accounts, in any order; those that do not exist are left out.
    async fn obligations_of(&self, accounts: &[AccountId]) -> Result<Vec<Obligation>, Self::Error>;

    /// Obligations that can be paid at `now`: something is due, nothing is in flight, the destination is known, and the time of the
    /// next attempt has come; those that have waited longest first, at most `limit`.
    async fn obligations_payable(&self, now: Timestamp, limit: usize)
    -> Result<Vec<Obligation>, Self::Error>;

    /// Obligations of which something is due, ordered by account; with `after`, those that come after it; at most `limit`.
    async fn obligations_due(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<Obligation>, Self::Error>;

    /// The payout of this payment hash, or `None`.
    async fn payout(&self, payment_hash: PaymentHash) -> Result<Option<Payout>, Self::Error>;

    /// All payouts of an obligation, oldest first.
    async fn payouts_of(&self, account: AccountId) -> Result<Vec<Payout>, Self::Error>;

    /// Payouts in flight whose outcome is to be looked up at `now`, those that have waited longest first, at most `limit`.
    async fn payouts_in_flight(&self, now: Timestamp, limit: usize) -> Result<Vec<Payout>, Self::Error>;
}
