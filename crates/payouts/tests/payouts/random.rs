//! Random steps, each of which the naive model takes too.

use crate::model::{Answer, Model, Place, State, Why};
use crate::samples::{FEES, NOW, account, address, begin_at, invoice_on, msats, preimage, sats, to};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::{AccountId, Chart, Transfer, TransferKey, TransferKind};
use tithe_lightning::lightning_invoice::Currency;
use tithe_lightning::{Bolt11, Network};
use tithe_payouts::{
    Attempt, Deferral, Destination, Failure, Obligation, Payout, PayoutError, PayoutState, Settled,
};
use uuid::Uuid;

const INVOICES: u8 = 5;
const REST_MAX: Duration = Duration::from_hours(6);

/// Two invoices expire while the steps are taken.
const fn expires(n: u8) -> u64 {
    match n {
        0 => 70,
        1 => 3_600,
        _ => 1_000_000_000,
    }
}

/// Invoices without amounts, so that each fits whatever is due.
static REQUESTS: LazyLock<Vec<Bolt11>> = LazyLock::new(|| {
    let request = |n| invoice_on(Currency::Regtest, n, None, Duration::from_secs(expires(n)));
    (0..INVOICES).map(request).collect()
});

fn request(n: u8) -> &'static Bolt11 {
    &REQUESTS[usize::from(n)]
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Accrue(usize, u64),
    Direct(usize, Place),
    Begin(usize, u8),
    LookUp(u8, u32),
    SendAgain(u8, u32),
    Paid { account: usize, n: u8, back: u32, is_right: bool, fee: u64 },
    Failed { account: usize, n: u8, back: u32, why: Why },
    Defer(usize, Why),
    Settle(usize, u64),
    Credit(usize, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let account = 0..2_usize;
    let n = 0..INVOICES;
    let place = prop_oneof![
        2 => Just(Place::Address),
        2 => n.clone().prop_map(Place::Invoice),
        1 => (0..2_u8).prop_map(Place::Session),
    ];
    let why = prop_oneof![2 => Just(Why::Ours), 4 => Just(Why::Unavailable), 1 => Just(Why::Refused)];
    // Mostly the present attempt; sometimes an earlier one, or one that does not exist.
    let back = prop_oneof![5 => Just(0_u32), 1 => Just(1), 1 => Just(u32::MAX)];
    let amount = prop_oneof![Just(1_u64), 2..8_u64, 8..10_000_u64];
    let waits = prop_oneof![0..30_u64, 0..30_000_u64];
    let step = prop_oneof![
        1 => waits.prop_map(Step::Wait),
        2 => (account.clone(), amount.clone()).prop_map(|(account, amount)| Step::Accrue(account, amount)),
        3 => (account.clone(), place).prop_map(|(account, place)| Step::Direct(account, place)),
        5 => (account.clone(), n.clone()).prop_map(|(account, n)| Step::Begin(account, n)),
        1 => (n.clone(), back.clone()).prop_map(|(n, back)| Step::LookUp(n, back)),
        1 => (n.clone(), back.clone()).prop_map(|(n, back)| Step::SendAgain(n, back)),
        4 => (account.clone(), n.clone(), back.clone(), prop::bool::weighted(0.9), 0..5_000_u64)
            .prop_map(|(account, n, back, is_right, fee)| Step::Paid { account, n, back, is_right, fee }),
        5 => (account.clone(), n, back, why.clone())
            .prop_map(|(account, n, back, why)| Step::Failed { account, n, back, why }),
        1 => (account.clone(), why).prop_map(|(account, why)| Step::Defer(account, why)),
        1 => (account.clone(), amount).prop_map(|(account, amount)| Step::Settle(account, amount)),
        3 => (account, 0..2_u8).prop_map(|(account, session)| Step::Credit(account, session)),
    ];
    prop::collection::vec(step, 1..80)
}

/// The rows as the functions leave them.
struct World {
    now: Timestamp,
    owed: [Obligation; 2],
    payouts: BTreeMap<u8, Payout>,
    transfers: Vec<Transfer>,
    /// How often each invoice was paid.
    paid: BTreeMap<u8, u32>,
}

fn word(refused: &PayoutError) -> &'static str {
    match refused {
        PayoutError::NothingDue => "nothing due",
        PayoutError::Dust { .. } => "dust",
        PayoutError::InFlight(_) => "in flight",
        PayoutError::NotInFlight(_) => "not in flight",
        PayoutError::Invoice(_) => "invoice",
        PayoutError::Used(_) => "used",
        PayoutError::Destination => "destination",
        PayoutError::WrongPreimage(_) => "wrong preimage",
        PayoutError::Money(_) => "money",
        PayoutError::TooMuch { .. } => "too much",
        other => panic!("{other}"),
    }
}

const fn deferral(why: Why) -> Deferral {
    match why {
        Why::Ours => Deferral::Ours,
        Why::Unavailable => Deferral::Unavailable,
        Why::Refused => Deferral::Refused,
    }
}

fn destination(place: Place) -> Destination {
    match place {
        Place::Address => address(),
        Place::Invoice(n) => to(request(n)),
        Place::Session(n) => Destination::Session(session(n)),
    }
}

fn session(n: u8) -> Uuid {
    Uuid::from_u128(n.into())
}

impl World {
    fn new() -> Self {
        let owed = [1, 2].map(|n| Obligation::open(account(n), NOW));
        Self { now: NOW, owed, payouts: BTreeMap::new(), transfers: Vec::new(), paid: BTreeMap::new() }
    }

    /// The attempt at payout `n` that was this many before the present one.
    fn attempt(&self, n: u8, back: u32) -> Attempt {
        let present = self.payouts.get(&n).map_or(1, |payout| payout.attempts);
        Attempt { number: present.wrapping_sub(back) }
    }

    fn settled(&mut self, at: usize, n: u8, settled: Settled) {
        self.owed[at] = settled.obligation;
        self.payouts.insert(n, settled.payout);
        self.transfers.extend(settled.transfers);
    }

    /// Takes a step in both worlds; returns what each answers.
    fn take(&mut self, model: &mut Model, step: &Step) -> (Result<(), PayoutError>, Answer) {
        match *step {
            Step::Wait(secs) => {
                self.now = self.now + Duration::from_secs(secs);
                model.now += secs;
                (Ok(()), Ok(()))
            }
            Step::Accrue(at, amount) => {
                model.accrue(at, amount);
                self.owed[at] = self.owed[at].accrue(sats(amount), self.now).unwrap();
                (Ok(()), Ok(()))
            }
            Step::Direct(at, place) => {
                let used = match place {
                    Place::Address | Place::Session(_) => None,
                    Place::Invoice(n) => self.payouts.get(&n),
                };
                let network = Network::Regtest;
                let done = self.owed[at].direct(&destination(place), used, &FEES, network, self.now);
                (done.map(|owed| self.owed[at] = owed), model.direct(at, place))
            }
            Step::Begin(at, n) => {
                let done = begin_at(&self.owed[at], request(n), self.payouts.get(&n), self.now);
                let done = done.map(|(owed, payout)| {
                    self.owed[at] = owed;
                    self.payouts.insert(n, payout);
                });
                (done, model.begin(at, n))
            }
            Step::LookUp(n, back) => {
                let attempt = self.attempt(n, back);
                let Some(payout) = self.payouts.get(&n) else { return (Ok(()), Ok(())) };
                let done = payout.looked_up(attempt, self.now);
                let done = done.map(|payout| drop(self.payouts.insert(n, payout)));
                (done, model.flying(n, attempt.number).map(drop))
            }
            Step::SendAgain(n, back) => {
                let attempt = self.attempt(n, back);
                let Some(payout) = self.payouts.get(&n) else { return (Ok(()), Ok(())) };
                let done = payout.sent_again(attempt, self.now);
                let done = done.map(|payout| drop(self.payouts.insert(n, payout)));
                (done, model.flying(n, attempt.number).map(|pay| pay.attempts += 1))
            }
            Step::Paid { account: at, n, back, is_right, fee } => {
                let attempt = self.attempt(n, back);
                let Some(payout) = self.payouts.get(&n) else { return (Ok(()), Ok(())) };
                let proof = preimage(if is_right { n } else { n + 100 });
                let done = self.owed[at].paid(payout, attempt, proof, msats(fee), self.now);
                let done = done.map(|settled| {
                    *self.paid.entry(n).or_default() += 1;
                    self.settled(at, n, settled);
                });
                (done, model.paid(at, n, attempt.number, is_right))
            }
            Step::Failed { account: at, n, back, why } => {
                let attempt = self.attempt(n, back);
                let Some(payout) = self.payouts.get(&n) else { return (Ok(()), Ok(())) };
                let failure = Failure { reason: "no", why: deferral(why), problem: "later" };
                let done = self.owed[at].failed(payout, attempt, &failure, self.now);
                (done.map(|settled| self.settled(at, n, settled)), model.failed(at, n, attempt.number, why))
            }
            // The engine defers nothing that is in flight.
            Step::Defer(at, _) if model.owed[at].in_flight.is_some() => (Ok(()), Ok(())),
            Step::Defer(at, why) => {
                self.owed[at] = self.owed[at].deferred(deferral(why), "later", self.now);
                model.defer(at, why);
                (Ok(()), Ok(()))
            }
            Step::Settle(at, amount) => {
                let kind =
                    if amount % 2 == 0 { TransferKind::RefundSettled } else { TransferKind::RefundForfeited };
                let key = TransferKey::new(format!("settlement:{}", self.transfers.len()));
                let done = self.owed[at].settled_by_operator(sats(amount), kind, key, self.now);
                let done = done.map(|(owed, transfer)| {
                    self.owed[at] = owed;
                    self.transfers.push(transfer);
                });
                (done, model.settle(at, amount))
            }
            Step::Credit(at, n) => {
                let done = self.owed[at].credited(session(n), self.now).map(|(owed, transfer)| {
                    assert_eq!(transfer.credit, AccountId::Session(session(n)));
                    self.owed[at] = owed;
                    self.transfers.push(transfer);
                });
                (done, model.credit(at, n))
            }
        }
    }

    /// What must hold after every step.
    fn check(&self, model: &Model) {
        for (at, (owed, plain)) in self.owed.iter().zip(&model.owed).enumerate() {
            let next_try = owed.next_try_at.since(NOW).as_secs();
            assert_eq!((owed.accrued.get(), owed.due.get()), (plain.accrued, plain.due));
            assert_eq!((owed.failures, next_try), (plain.failures, plain.next_try));
            assert_eq!(owed.destination, plain.place.map(destination));
            let left = plain.due + plain.paid + plain.reserved + plain.settled + plain.credited;
            assert_eq!(left, plain.accrued + plain.overpaid);
            assert!(owed.next_try_at <= self.now + REST_MAX);
            let theirs = self.payouts.values().filter(|payout| payout.account == owed.account);
            let flying = theirs.filter(|payout| matches!(payout.state, PayoutState::Paying { .. }));
            let flying: Vec<_> = flying.map(|payout| payout.payment_hash).collect();
            assert_eq!(flying, owed.in_flight.into_iter().collect::<Vec<_>>(), "account {at}");
            // What the transfers say is what was paid, kept for fees and settled.
            let moved = |kinds: &[TransferKind]| -> u64 {
                let theirs = self.transfers.iter().filter(|transfer| transfer.reference == owed.reference());
                let of_kind = theirs.filter(|transfer| kinds.contains(&transfer.kind));
                of_kind.map(|it| it.amount.get()).sum()
            };
            assert_eq!(moved(&[TransferKind::RefundPaid]), plain.paid * 1_000);
            assert_eq!(moved(&[TransferKind::FeeReserve]), plain.reserved * 1_000);
            assert_eq!(moved(&[TransferKind::RefundOverpaid]), plain.overpaid * 1_000);
            let settled = [TransferKind::RefundSettled, TransferKind::RefundForfeited];
            assert_eq!(moved(&settled), plain.settled * 1_000);
            assert_eq!(moved(&[TransferKind::RefundCredited]), plain.credited * 1_000);
        }
        for (n, payout) in &self.payouts {
            let plain = model.pays[n];
            let state = match payout.state {
                PayoutState::Paying { .. } => State::Paying,
                PayoutState::Paid { .. } => State::Paid,
                PayoutState::Failed { .. } => State::Failed,
            };
            assert_eq!((state, payout.attempts), (plain.state, plain.attempts), "invoice {n}");
            assert_eq!((payout.amount.get(), payout.fee_limit.get()), (plain.amount, plain.reserve));
            assert_eq!(payout.account, self.owed[plain.account].account);
        }
        assert!(self.paid.values().all(|times| *times == 1), "paid twice: {:?}", self.paid);
        let keys: HashSet<_> = self.transfers.iter().map(|transfer| transfer.key.clone()).collect();
        assert_eq!(keys.len(), self.transfers.len(), "a key is used twice");
        let chart = Chart::default();
        assert!(self.transfers.iter().all(|transfer| chart.allows_transfer(transfer)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// An accepted step leads both to the same rows, a refused one changes neither, and both refuse the same steps for the same
    /// reason. Which obligation an invoice is of never changes.
    #[test]
    fn random_steps_match_the_model(steps in steps()) {
        let (mut world, mut model) = (World::new(), Model::new(expires));
        let mut owners = BTreeMap::new();
        for step in steps {
            let before = (world.owed.clone(), world.payouts.clone(), world.transfers.len());
            let (done, expected) = world.take(&mut model, &step);
            prop_assert_eq!(done.as_ref().map_err(word).copied(), expected, "{:?}", step);
            if done.is_err() {
                let after = (world.owed.clone(), world.payouts.clone(), world.transfers.len());
                prop_assert!(before == after, "refused, but changed: {:?}", step);
            }
            world.check(&model);
            for (n, payout) in &world.payouts {
                prop_assert_eq!(*owners.entry(*n).or_insert(payout.account), payout.account);
            }
        }
    }
}
