//! The use cases of reconciliation.

use super::compare::{Difference, DifferenceKind, Known, booked, compare};
use crate::core::Core;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::log::signed_msats;
use crate::ports::Ports;
use crate::store::LedgerTotals;
use crate::telemetry;
use metrics::gauge;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::Transfer;
use tithe_lightning::{Direction, InvoiceStatus, PaymentHash, WalletError, WalletPayment};
use tithe_money::{Msats, Sats};
use tithe_payouts::PayoutState;
use tithe_sessions::KeptState;
use tracing::{error, info, warn};

/// How long the wallet may take to list its payments.
const LIST_TIMEOUT: Duration = Duration::from_mins(2);

/// How long a payment that the wallet lists may take to be booked.
const BOOKING_PATIENCE: Duration = Duration::from_secs(7);

/// How many payments that are to be held are looked up. There are never so many (`Settings::held_payments_max`).
const HELD_LOOKED_AT: usize = 1_000;

/// How much earlier than the ledger's own first transfer the wallet's list begins: its clock may differ.
const CLOCK_TOLERANCE: Duration = Duration::from_hours(1);

/// What is owed to customers, and what the wallet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Solvency {
    /// What is in the accounts of sessions.
    pub sessions: Sats,
    /// What is in the accounts of jobs.
    pub jobs: Sats,
    /// What is in the accounts of bootstraps.
    pub bootstraps: Sats,
    /// What is due as refunds.
    pub refunds: Sats,
    /// What is in the pool.
    pub pool: Sats,
    /// What the wallet holds; `None` when it did not answer.
    pub held: Option<Sats>,
    /// When this was found out.
    pub checked_at: Timestamp,
}

/// The ledger beside the wallet's balance, in msats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balances {
    /// What the wallet is to hold, by the ledger.
    pub expected: i128,
    /// What the wallet says that it holds; `None` when it did not answer.
    pub held: Option<Msats>,
    /// What is in flight: it may have left the wallet or not.
    pub in_flight: Msats,
    /// What is missing in the wallet for certain.
    pub shortfall: i128,
    /// What the wallet holds besides: the operator's own money, or payments that are not credited yet.
    pub surplus: i128,
}

/// A full comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletReport {
    /// The balances.
    pub balances: Balances,
    /// Payments that the wallet has listed; `None` when it did not answer.
    pub listed: Option<usize>,
    /// The payments on which the two differ.
    pub differences: Vec<Difference>,
}

impl WalletReport {
    /// Whether everything matches, as far as it can be known: the wallet has answered, nothing is missing, and every payment of ours
    /// is in both.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.balances.held.is_some()
            && self.listed.is_some()
            && self.balances.shortfall == 0
            && !self.differences.iter().any(|difference| difference.kind.is_error())
    }

    /// Whether nothing is known to be wrong, but the wallet has not said everything.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        let is_wrong = self.balances.shortfall > 0
            || self.differences.iter().any(|difference| difference.kind.is_error());
        !is_wrong && (self.balances.held.is_none() || self.listed.is_none())
    }
}

/// The use cases of reconciliation.
pub struct Reconciliation {
    core: Arc<Core>,
    last: Mutex<Option<Solvency>>,
    /// Held by whoever finds it out for the first time.
    first: tokio::sync::Mutex<()>,
}

impl Reconciliation {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, last: Mutex::default(), first: tokio::sync::Mutex::default() }
    }

    /// What is owed and held, as it was last found out; at the first call it is found out now.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn solvency(&self) -> Result<Solvency, EngineError> {
        if let Some(known) = *self.last() {
            return Ok(known);
        }
        let _alone = self.first.lock().await;
        if let Some(known) = *self.last() {
            return Ok(known);
        }
        self.check().await?;
        let found = *self.last();
        found.ok_or(EngineError::Internal)
    }

    /// Compares the ledger with the wallet's balance, remembers it, and logs a shortfall.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer. A wallet that does not answer is no error.
    pub async fn check(&self) -> Result<Balances, EngineError> {
        let (before, held, after) = self.read().await?;
        let balances = balances(&before, held, &after);
        self.measure(&balances);
        let sats = |amount: Msats| amount.to_sats_rounding_down();
        *self.last() = Some(Solvency {
            sessions: sats(after.sessions),
            jobs: sats(after.jobs),
            bootstraps: sats(after.bootstraps),
            refunds: sats(after.refunds),
            pool: sats(after.pool),
            held: held.map(sats),
            checked_at: self.core.now(),
        });
        if balances.shortfall > 0 {
            let Balances { expected, shortfall, .. } = balances;
            error!(
                expected_msats = signed_msats(expected),
                shortfall_msats = signed_msats(shortfall),
                "the wallet holds less than the ledger says; run `tithe audit --wallet`"
            );
        }
        Ok(balances)
    }

    /// Sets the gauges. A wallet that has not answered leaves them as they are, with the time when it did.
    fn measure(&self, balances: &Balances) {
        let Some(held) = balances.held else { return };
        gauge!(telemetry::WALLET_EXPECTED).set(telemetry::sats(balances.expected));
        gauge!(telemetry::WALLET_HELD).set(telemetry::sats_of(held));
        gauge!(telemetry::WALLET_SHORTFALL).set(telemetry::sats(balances.shortfall));
        gauge!(telemetry::WALLET_SURPLUS).set(telemetry::sats(balances.surplus));
        gauge!(telemetry::WALLET_COMPARED_AT).set(telemetry::unix_seconds(self.core.now()));
    }

    /// Compares the ledger with the wallet's balance and with its list of payments, payment by payment.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn report(&self) -> Result<WalletReport, EngineError> {
        let store = &self.core.ports.store;
        let first = store.wallet_transfers(Timestamp::UNIX_EPOCH).await?;
        // A ledger without payments may be one that was restored to a moment before the first.
        let since = first.first().map(|transfer| transfer.created_at - CLOCK_TOLERANCE);
        let listing = self.core.ports.wallet.payments_settled(since.unwrap_or(Timestamp::UNIX_EPOCH));
        let listed = match tokio::time::timeout(LIST_TIMEOUT, listing).await.unwrap_or_else(late) {
            Ok(listed) => listed,
            Err(failure) => {
                warn!(error = chain(&failure), "the wallet does not list its payments");
                let (before, held, after) = self.read().await?;
                let balances = balances(&before, held, &after);
                return Ok(WalletReport { balances, listed: None, differences: Vec::new() });
            }
        };
        let mut differences = self.compare(&first, &listed).await?;
        differences.extend(self.not_held().await?);
        if differences.iter().any(|it| {
            matches!(
                it.kind,
                DifferenceKind::NotCredited | DifferenceKind::NotBooked | DifferenceKind::NotHeld
            )
        }) {
            // A server may be about to book it.
            tokio::time::sleep(BOOKING_PATIENCE).await;
            differences = self.compare(&first, &listed).await?;
            differences.extend(self.not_held().await?);
        }
        let (before, held, after) = self.read().await?;
        let balances = balances(&before, held, &after);
        let errors = differences.iter().filter(|it| it.kind.is_error()).count();
        info!(
            payments = listed.len(),
            differences = errors,
            shortfall_msats = signed_msats(balances.shortfall),
            "the wallet was compared with the ledger"
        );
        Ok(WalletReport { balances, listed: Some(listed.len()), differences })
    }

    /// Compares the ledger as it is now with a list of the wallet's. What was booked after `first` was read may not be in the list.
    async fn compare(
        &self,
        first: &[Transfer],
        listed: &[WalletPayment],
    ) -> Result<Vec<Difference>, EngineError> {
        let transfers = self.core.ports.store.wallet_transfers(Timestamp::UNIX_EPOCH).await?;
        let ledger = booked(&transfers);
        let mut known = HashMap::new();
        for payment in listed {
            let key = (payment.direction, payment.payment_hash);
            if !ledger.contains_key(&key)
                && let Some(what) = self.known(key.0, key.1).await?
            {
                known.insert(key, what);
            }
        }
        let mut differences = compare(&ledger, listed, &known);
        let before: HashSet<_> = first.iter().map(|transfer| &transfer.key).collect();
        let fresh: Vec<_> =
            transfers.iter().filter(|transfer| !before.contains(&transfer.key)).cloned().collect();
        let fresh = booked(&fresh);
        differences
            .retain(|it| it.wallet.is_some() || !fresh.keys().any(|(_, hash)| *hash == it.payment_hash));
        Ok(differences)
    }

    /// The payments that are to be held for kept requests, or to be taken for their answers, and that the wallet says it does not hold. What
    /// it has received is in its list.
    async fn not_held(&self) -> Result<Vec<Difference>, EngineError> {
        let Ports { store, wallet, .. } = &self.core.ports;
        let mut differences = Vec::new();
        for session in store.kept_requests_due(Timestamp::MAX, HELD_LOOKED_AT).await? {
            let Some(kept) = store.kept_request(session).await? else { continue };
            if !matches!(kept.state, KeptState::Held { .. } | KeptState::Settling { .. }) {
                continue;
            }
            let status = wallet.invoice_status(kept.invoice);
            match tokio::time::timeout(self.core.settings.wallet_timeout, status).await.unwrap_or_else(late) {
                Ok(Some(InvoiceStatus::Held(_) | InvoiceStatus::Settled(_))) => continue,
                Ok(Some(InvoiceStatus::Pending | InvoiceStatus::Expired) | None) => {}
                Err(failure) => {
                    warn!(payment_hash = %kept.invoice, error = chain(&failure), "whether the wallet holds a payment is unknown");
                    continue;
                }
            }
            let invoice = store.invoice(kept.invoice).await?;
            differences.push(Difference {
                kind: DifferenceKind::NotHeld,
                payment_hash: kept.invoice,
                ledger: invoice.map(|invoice| (invoice.amount, Msats::ZERO)),
                wallet: None,
                settled_at: None,
                description: None,
            });
        }
        Ok(differences)
    }

    async fn known(&self, direction: Direction, hash: PaymentHash) -> Result<Option<Known>, EngineError> {
        let store = &self.core.ports.store;
        Ok(match direction {
            Direction::Incoming => store.invoice(hash).await?.map(|_| Known::Invoice),
            Direction::Outgoing => store.payout(hash).await?.map(|payout| match payout.state {
                PayoutState::Paying { .. } => Known::PayoutInFlight,
                PayoutState::Paid { .. } | PayoutState::Failed { .. } => Known::Payout,
            }),
        })
    }

    /// The totals of the ledger, the wallet's balance, and the totals once more: payments go on meanwhile.
    async fn read(&self) -> Result<(LedgerTotals, Option<Msats>, LedgerTotals), EngineError> {
        let store = &self.core.ports.store;
        let before = store.ledger_totals().await?;
        let balance = self.core.ports.wallet.balance();
        let held =
            match tokio::time::timeout(self.core.settings.wallet_timeout, balance).await.unwrap_or_else(late)
            {
                Ok(held) => Some(held),
                Err(failure) => {
                    warn!(error = chain(&failure), "the wallet's balance is unknown");
                    None
                }
            };
        Ok((before, held, store.ledger_totals().await?))
    }

    fn last(&self) -> MutexGuard<'_, Option<Solvency>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn late<T>(_elapsed: tokio::time::error::Elapsed) -> Result<T, WalletError> {
    Err(WalletError::Unavailable(None))
}

/// Compares what the ledger said before and after the wallet said what it holds. Only an amount that is missing from both readings is a
/// shortfall.
fn balances(before: &LedgerTotals, held: Option<Msats>, after: &LedgerTotals) -> Balances {
    let at_least = |totals: &LedgerTotals| totals.wallet - i128::from(totals.in_flight.get());
    let least = at_least(before).min(at_least(after));
    let most = before.wallet.max(after.wallet);
    let actual = held.map(|held| i128::from(held.get()));
    Balances {
        expected: after.wallet,
        held,
        in_flight: before.in_flight.max(after.in_flight),
        shortfall: actual.map_or(0, |actual| (least - actual).max(0)),
        surplus: actual.map_or(0, |actual| (actual - most).max(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(wallet: i128, in_flight: u64) -> LedgerTotals {
        LedgerTotals { wallet, in_flight: Msats::new(in_flight).unwrap(), ..LedgerTotals::default() }
    }

    #[test]
    fn only_what_is_missing_for_certain_is_a_shortfall() {
        let held = |n| Some(Msats::new(n).unwrap());
        for (before, actual, after, shortfall, surplus) in [
            (totals(1_000, 0), held(1_000), totals(1_000, 0), 0, 0),
            (totals(1_000, 0), held(999), totals(1_000, 0), 1, 0),
            (totals(1_000, 0), held(5_000), totals(1_000, 0), 0, 4_000),
            // Unknown, not empty.
            (totals(1_000, 0), None, totals(1_000, 0), 0, 0),
            // A payout is in flight: it may have left or not.
            (totals(1_000, 300), held(700), totals(1_000, 300), 0, 0),
            (totals(1_000, 300), held(699), totals(1_000, 300), 1, 0),
            // One was made while the wallet was asked.
            (totals(1_000, 0), held(700), totals(700, 0), 0, 0),
            // One was received meanwhile.
            (totals(1_000, 0), held(1_000), totals(1_200, 0), 0, 0),
            (totals(1_000, 0), held(1_200), totals(1_200, 0), 0, 0),
        ] {
            let found = balances(&before, actual, &after);
            assert_eq!(
                (found.shortfall, found.surplus),
                (shortfall, surplus),
                "{before:?} {actual:?} {after:?}"
            );
        }
    }
}
