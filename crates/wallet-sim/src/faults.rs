//! Fault injection: the failures of real wallets, on demand.

use std::collections::{HashMap, VecDeque};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tithe_clock::Entropy;
use tithe_lightning::WalletError;

const PER_MILLE: u16 = 1_000;

/// A wallet operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`tithe_lightning::Wallet::invoice_create`].
    InvoiceCreate,
    /// [`tithe_lightning::Wallet::invoice_status`].
    InvoiceStatus,
    /// [`tithe_lightning::Wallet::payments_received`].
    Settlements,
    /// [`tithe_lightning::Wallet::payment_send`].
    PaymentSend,
    /// [`tithe_lightning::Wallet::payment_status`].
    PaymentStatus,
    /// [`tithe_lightning::Wallet::balance`].
    Balance,
    /// [`tithe_lightning::Wallet::payments_settled`].
    PaymentsSettled,
    /// [`tithe_lightning::Wallet::hold_invoice_create`].
    HoldInvoiceCreate,
    /// [`tithe_lightning::Wallet::hold_invoice_settle`].
    HoldInvoiceSettle,
    /// [`tithe_lightning::Wallet::hold_invoice_cancel`].
    HoldInvoiceCancel,
    /// [`tithe_lightning::Wallet::payments_held`].
    PaymentsHeld,
    /// [`tithe_lightning::TestPayer::pay`]: it stands in for a different wallet, so [`FaultRates`] do not affect it.
    TestPay,
}

/// A fault of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The operation is delayed by this much and then succeeds.
    Delay(Duration),
    /// The wallet is unavailable; the operation has no effect.
    Fail,
    /// The operation takes effect, and its response is lost: [`WalletError::OutcomeUnknown`].
    LoseAnswer,
    /// A payment that would succeed stays in flight until [`crate::SimWallet::payment_finish`] ends it. It has no
    /// effect on operations other than [`Operation::PaymentSend`].
    LeaveInFlight,
}

/// The rates of random faults, for stress tests. None by default.
///
/// Parsed from comma-separated settings, each optional:
///
/// ```
/// use std::time::Duration;
/// use tithe_wallet_sim::FaultRates;
///
/// let rates: FaultRates = "lose=20,fail=10,delay_ms=50".parse()?;
/// assert_eq!((rates.lose_answer_per_mille, rates.fail_per_mille), (20, 10));
/// assert_eq!(rates.delay_max, Duration::from_millis(50));
/// assert_eq!("".parse(), Ok(FaultRates::default()));
/// # Ok::<(), tithe_wallet_sim::FaultRatesError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultRates {
    /// The number of operations per thousand that take effect and lose their response.
    pub lose_answer_per_mille: u16,
    /// The number of operations per thousand that fail without effect.
    pub fail_per_mille: u16,
    /// The maximum random delay of each operation.
    pub delay_max: Duration,
}

/// The reason why a text is not valid [`FaultRates`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultRatesError {
    /// A setting is not of the form name=value.
    #[error("invalid setting: expected name=value, got {0:?}")]
    NotASetting(String),
    /// There is no setting with this name.
    #[error("unknown setting: expected lose, fail or delay_ms, got {0:?}")]
    UnknownName(String),
    /// A setting occurs twice.
    #[error("duplicate setting: {0}")]
    SetTwice(&'static str),
    /// A value is not a whole number in the setting's range.
    #[error("invalid {name}: expected a whole number from 0 to {max}, got {value}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// The value.
        value: String,
        /// The maximum value.
        max: u32,
    },
    /// The rates add up to more than all operations.
    #[error("invalid rates: expected lose + fail of at most 1000")]
    TooMany,
}

impl FromStr for FaultRates {
    type Err = FaultRatesError;

    fn from_str(text: &str) -> Result<Self, FaultRatesError> {
        let (mut lose, mut fail, mut delay) = (None, None, None);
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) =
                part.split_once('=').ok_or_else(|| FaultRatesError::NotASetting(part.to_owned()))?;
            let (name, max, slot) = match name.trim() {
                "lose" => ("lose", u32::from(PER_MILLE), &mut lose),
                "fail" => ("fail", u32::from(PER_MILLE), &mut fail),
                "delay_ms" => ("delay_ms", 60_000, &mut delay),
                other => return Err(FaultRatesError::UnknownName(other.to_owned())),
            };
            let number = value.trim().parse().ok().filter(|number| *number <= max);
            let number =
                number.ok_or_else(|| FaultRatesError::OutOfRange { name, value: value.to_owned(), max })?;
            if slot.replace(number).is_some() {
                return Err(FaultRatesError::SetTwice(name));
            }
        }
        let per_mille = |rate: Option<u32>| u16::try_from(rate.unwrap_or(0)).unwrap_or(PER_MILLE);
        let rates = Self {
            lose_answer_per_mille: per_mille(lose),
            fail_per_mille: per_mille(fail),
            delay_max: Duration::from_millis(delay.unwrap_or(0).into()),
        };
        if rates.lose_answer_per_mille + rates.fail_per_mille > PER_MILLE {
            return Err(FaultRatesError::TooMany);
        }
        Ok(rates)
    }
}

/// The faults of upcoming calls.
#[derive(Debug, Default)]
pub struct Faults {
    rates: FaultRates,
    queued: Mutex<HashMap<Operation, VecDeque<Fault>>>,
    silent: AtomicBool,
}

impl Faults {
    pub(crate) fn new(rates: FaultRates) -> Self {
        Self { rates, ..Self::default() }
    }

    /// Queues `fault` for the next call of `operation` that has no fault queued yet. A queued fault replaces a random
    /// one.
    pub fn queue(&self, operation: Operation, fault: Fault) {
        self.queued().entry(operation).or_default().push_back(fault);
    }

    /// Drops payment events while `silent`: the streams stay open without delivering anything, and only an invoice
    /// status query finds the payment.
    pub fn silence_settlements(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    pub(crate) fn settlements_are_silent(&self) -> bool {
        self.silent.load(Ordering::SeqCst)
    }

    /// The fault of this call of `operation`.
    pub(crate) fn plan(&self, operation: Operation, entropy: &dyn Entropy) -> Plan {
        let queued = self.queued().get_mut(&operation).and_then(VecDeque::pop_front);
        match queued {
            Some(Fault::Delay(delay)) => Plan { delay, fault: None },
            Some(fault) => Plan { delay: Duration::ZERO, fault: Some(fault) },
            None if operation == Operation::TestPay || self.rates == FaultRates::default() => Plan::default(),
            None => self.draw(entropy),
        }
    }

    fn draw(&self, entropy: &dyn Entropy) -> Plan {
        // The modulo bias is below one in 2^40.
        let below = |limit: u64| u64::from_le_bytes(entropy.bytes()) % limit.max(1);
        let delay_micros = u64::try_from(self.rates.delay_max.as_micros()).unwrap_or(u64::MAX);
        let lose = u64::from(self.rates.lose_answer_per_mille);
        let fail = u64::from(self.rates.fail_per_mille);
        let fault = match below(PER_MILLE.into()) {
            drawn if drawn < lose => Some(Fault::LoseAnswer),
            drawn if drawn < lose.saturating_add(fail) => Some(Fault::Fail),
            _ => None,
        };
        Plan { delay: Duration::from_micros(below(delay_micros.saturating_add(1))), fault }
    }

    fn queued(&self) -> std::sync::MutexGuard<'_, HashMap<Operation, VecDeque<Fault>>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The faults of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    delay: Duration,
    fault: Option<Fault>,
}

impl Plan {
    /// Applies the faults that come before the operation.
    pub async fn before(self) -> Result<(), WalletError> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        if self.fault == Some(Fault::Fail) { Err(WalletError::Unavailable(None)) } else { Ok(()) }
    }

    /// Returns true if a payment stays in flight.
    pub fn leaves_in_flight(self) -> bool {
        self.fault == Some(Fault::LeaveInFlight)
    }

    /// Applies the faults that come after the operation.
    pub fn after<T, E: From<WalletError>>(self, answer: Result<T, E>) -> Result<T, E> {
        if self.fault == Some(Fault::LoseAnswer) {
            return Err(WalletError::OutcomeUnknown(None).into());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_clock::SeededEntropy;

    #[test]
    fn rates_that_make_no_sense_are_named() {
        let cases = [
            ("lose", r#"invalid setting: expected name=value, got "lose""#),
            ("loose=1", r#"unknown setting: expected lose, fail or delay_ms, got "loose""#),
            ("lose=-1", "invalid lose: expected a whole number from 0 to 1000, got -1"),
            ("fail=1001", "invalid fail: expected a whole number from 0 to 1000, got 1001"),
            ("delay_ms=60001", "invalid delay_ms: expected a whole number from 0 to 60000, got 60001"),
            ("lose=1, lose=2", "duplicate setting: lose"),
            ("lose=501,fail=500", "invalid rates: expected lose + fail of at most 1000"),
        ];
        for (text, message) in cases {
            assert_eq!(text.parse::<FaultRates>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn random_faults_come_about_as_often_as_set_and_never_to_the_payer() {
        let faults = Faults::new("lose=200,fail=100,delay_ms=50".parse().unwrap());
        let entropy = SeededEntropy::new(1);
        let plans: Vec<_> = (0..10_000).map(|_| faults.plan(Operation::Balance, &entropy)).collect();
        let count = |fault| plans.iter().filter(|plan| plan.fault == Some(fault)).count();
        assert!((1_800..2_200).contains(&count(Fault::LoseAnswer)), "{}", count(Fault::LoseAnswer));
        assert!((850..1_150).contains(&count(Fault::Fail)), "{}", count(Fault::Fail));
        assert!(plans.iter().all(|plan| plan.delay <= Duration::from_millis(50)));
        assert!(plans.iter().any(|plan| plan.delay > Duration::from_millis(40)));
        assert!((0..1_000).all(|_| faults.plan(Operation::TestPay, &entropy) == Plan::default()));
    }

    #[test]
    fn queued_faults_come_in_order_to_their_own_operation_only() {
        let faults = Faults::default();
        let entropy = SeededEntropy::new(1);
        faults.queue(Operation::Balance, Fault::Fail);
        faults.queue(Operation::Balance, Fault::LoseAnswer);
        assert_eq!(faults.plan(Operation::PaymentSend, &entropy), Plan::default());
        assert_eq!(faults.plan(Operation::Balance, &entropy).fault, Some(Fault::Fail));
        assert_eq!(faults.plan(Operation::Balance, &entropy).fault, Some(Fault::LoseAnswer));
        assert_eq!(faults.plan(Operation::Balance, &entropy), Plan::default());
    }
}
