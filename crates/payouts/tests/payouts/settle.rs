//! A payout ends, or its outcome stays unknown.

use crate::samples::{
    DAY, FEES, FIRST, NOW, SECOND, account, address, begin_at, directed, flying, invoice, invoice_on, msats,
    owed, preimage, sats, to,
};
use std::time::Duration;
use tithe_ledger::{AccountId, Chart, Transfer, TransferKey, TransferKind};
use tithe_lightning::Network;
use tithe_lightning::lightning_invoice::Currency;
use tithe_money::Msats;
use tithe_payouts::{
    Attempt, Deferral, Destination, Failure, Obligation, ObligationState, Payout, PayoutError, PayoutState,
};
use uuid::Uuid;

const SECOND_ATTEMPT: Attempt = Attempt { number: 2 };
const HOUR: Duration = Duration::from_hours(1);

fn failure(why: Deferral) -> Failure<'static> {
    Failure { reason: "no route", why, problem: "later" }
}

fn failed(owed: &Obligation, payout: &Payout) -> (Obligation, Payout) {
    let attempt = Attempt { number: payout.attempts };
    let settled = owed.failed(payout, attempt, &failure(Deferral::Unavailable), NOW).unwrap();
    assert_eq!(settled.transfers, []);
    (settled.obligation, settled.payout)
}

#[test]
fn a_payout_that_is_paid_moves_the_payment_the_reserve_and_the_fee() {
    let (owed, payout) = flying();
    let later = NOW + SECOND;
    let settled = owed.paid(&payout, FIRST, preimage(1), msats(1_234), later).unwrap();
    let hash = payout.payment_hash;
    let transfer = |suffix: &str, debit, credit, amount, kind| Transfer {
        key: TransferKey::new(format!("payout:{hash}{suffix}")),
        debit,
        credit,
        amount: msats(amount),
        kind,
        reference: Uuid::from_u128(1),
        created_at: later,
    };
    let (refunds, fees, wallet) = (AccountId::RefundsDue, AccountId::RoutingFees, AccountId::Wallet);
    let expected = [
        transfer("", refunds, wallet, 97_000, TransferKind::RefundPaid),
        transfer(":fee_reserve", refunds, fees, 3_000, TransferKind::FeeReserve),
        transfer(":routing_fee", fees, wallet, 1_234, TransferKind::RoutingFee),
    ];
    assert_eq!(settled.transfers, expected);
    let state = PayoutState::Paid { preimage: preimage(1), fee: msats(1_234) };
    assert_eq!(settled.payout, Payout { state, updated_at: later, ..payout });
    let expected = Obligation {
        due: sats(0),
        in_flight: None,
        last_paid: Some(hash),
        next_try_at: later,
        updated_at: later,
        ..owed
    };
    assert_eq!(settled.obligation, expected);
    assert_eq!(settled.obligation.state(), ObligationState::Paid);
    assert_eq!(settled.obligation.payment_hash(), Some(hash));
}

#[test]
fn the_ledgers_chart_has_every_transfer_of_a_payout() {
    let (owed, payout) = flying();
    let settled = owed.paid(&payout, FIRST, preimage(1), msats(1), NOW).unwrap();
    let key = || TransferKey::new("settlement:1");
    let act = |kind| self::owed(9).settled_by_operator(sats(9), kind, key(), NOW).unwrap().1;
    let acts = [act(TransferKind::RefundSettled), act(TransferKind::RefundForfeited)];
    let chart = Chart::default();
    for transfer in settled.transfers.iter().chain(&acts) {
        assert!(chart.allows_transfer(transfer), "{transfer:?}");
    }
}

#[test]
fn transfers_of_nothing_are_left_out() {
    let no_fees = tithe_payouts::FeePolicy { base: sats(0), ..*FEES };
    let no_fees = tithe_payouts::FeePolicy { share: tithe_money::BasisPoints::new(0).unwrap(), ..no_fees };
    let request = invoice(1, 100);
    let owed = owed(100).direct(&to(&request), None, &no_fees, Network::Regtest, NOW).unwrap();
    let id = tithe_lightning::PaymentId(Uuid::nil());
    let new = tithe_payouts::NewPayout { request: &request, id, before: None, network: Network::Regtest };
    let (owed, payout) = owed.begin(&new, &no_fees, NOW).unwrap();
    let settled = owed.paid(&payout, FIRST, preimage(1), Msats::ZERO, NOW).unwrap();
    let kinds: Vec<TransferKind> = settled.transfers.iter().map(|transfer| transfer.kind).collect();
    assert_eq!(kinds, [TransferKind::RefundPaid]);
}

#[test]
fn a_wrong_preimage_ends_nothing() {
    let (owed, payout) = flying();
    let refused = owed.paid(&payout, FIRST, preimage(2), msats(1), NOW).unwrap_err();
    assert_eq!(refused, PayoutError::WrongPreimage(payout.payment_hash));
    let (owed, payout) = failed(&owed, &payout);
    let refused = owed.paid(&payout, FIRST, preimage(2), msats(1), NOW).unwrap_err();
    assert_eq!(refused, PayoutError::WrongPreimage(payout.payment_hash));
}

#[test]
fn a_payout_is_paid_once() {
    let (owed, payout) = flying();
    let settled = owed.paid(&payout, FIRST, preimage(1), msats(1), NOW).unwrap();
    let again = settled.obligation.paid(&settled.payout, FIRST, preimage(1), msats(1), NOW);
    assert_eq!(again.unwrap_err(), PayoutError::NotInFlight(payout.payment_hash));
    let again = settled.obligation.failed(&settled.payout, FIRST, &failure(Deferral::Ours), NOW);
    assert_eq!(again.unwrap_err(), PayoutError::NotInFlight(payout.payment_hash));
    // Nor when more has become due since.
    let more = settled.obligation.accrue(sats(100), NOW).unwrap();
    let again = more.paid(&settled.payout, FIRST, preimage(1), msats(1), NOW);
    assert_eq!(again.unwrap_err(), PayoutError::NotInFlight(payout.payment_hash));
}

#[test]
fn what_becomes_due_while_a_payment_is_in_flight_stays_due() {
    let (owed, payout) = flying();
    let more = owed.accrue(sats(50), NOW).unwrap();
    assert_eq!((more.due, more.accrued, more.in_flight), (sats(150), sats(150), owed.in_flight));
    let settled = more.paid(&payout, FIRST, preimage(1), Msats::ZERO, NOW).unwrap();
    assert_eq!((settled.obligation.due, settled.obligation.accrued), (sats(50), sats(150)));
    assert_eq!(settled.obligation.state(), ObligationState::Pending);
    let (failed, _) = failed(&more, &payout);
    assert_eq!(failed.due, sats(150));
}

#[test]
fn an_invoice_is_spent_and_an_address_is_paid_again() {
    let (owed, payout) = flying();
    let settled = owed.paid(&payout, FIRST, preimage(1), Msats::ZERO, NOW).unwrap();
    assert_eq!(settled.obligation.destination, Some(address()));
    let request = invoice(1, 97);
    let named = self::owed(100).direct(&to(&request), None, &FEES, Network::Regtest, NOW).unwrap();
    let (owed, payout) = begin_at(&named, &request, None, NOW).unwrap();
    let settled = owed.paid(&payout, FIRST, preimage(1), Msats::ZERO, NOW).unwrap();
    assert_eq!(settled.obligation.destination, None);
}

#[test]
fn a_payment_that_the_wallet_had_called_failed_is_booked_when_nothing_else_is_in_flight() {
    let (owed, payout) = flying();
    let (owed, payout) = failed(&owed, &payout);
    let settled = owed.paid(&payout, FIRST, preimage(1), msats(7), NOW).unwrap();
    assert_eq!((settled.obligation.due, settled.transfers.len()), (sats(0), 3));
    assert_eq!(settled.obligation.last_paid, Some(payout.payment_hash));
    assert_eq!((settled.obligation.failures, settled.obligation.problem), (0, None));

    let (busy, other) = begin_at(&owed, &invoice(2, 97), None, NOW).unwrap();
    let refused = busy.paid(&payout, FIRST, preimage(1), msats(7), NOW).unwrap_err();
    assert_eq!(refused, PayoutError::NotInFlight(payout.payment_hash));
    // When both were paid, the operator bears the second one.
    let settled = busy.paid(&other, FIRST, preimage(2), msats(7), NOW).unwrap();
    let settled = settled.obligation.paid(&payout, FIRST, preimage(1), msats(7), NOW).unwrap();
    assert_eq!(settled.obligation.due, sats(0));
    let overpaid: Vec<_> =
        settled.transfers.iter().filter(|it| it.kind == TransferKind::RefundOverpaid).collect();
    let [overpaid] = overpaid[..] else { panic!("{overpaid:?}") };
    let between = (overpaid.debit, overpaid.credit);
    assert_eq!(between, (AccountId::Operator, AccountId::RefundsDue));
    assert_eq!(overpaid.amount, msats(100_000), "the amount and the fee limit");
}

#[test]
fn the_outcome_of_an_earlier_attempt_ends_no_later_one() {
    let (owed, payout) = flying();
    let again = payout.sent_again(FIRST, NOW).unwrap();
    let (failed_owed, failed_payout) = failed(&owed, &payout);
    let (begun, twice) = begin_at(&failed_owed, &invoice(1, 97), Some(&failed_payout), NOW).unwrap();
    for (owed, payout) in [(owed, again), (begun, twice)] {
        assert_eq!(payout.attempts, 2);
        let refused = PayoutError::NotInFlight(payout.payment_hash);
        for attempt in [0, 1, 3].map(|number| Attempt { number }) {
            let paid = owed.paid(&payout, attempt, preimage(1), msats(1), NOW);
            assert_eq!(paid.unwrap_err(), refused, "{attempt:?}");
            let failed = owed.failed(&payout, attempt, &failure(Deferral::Refused), NOW);
            assert_eq!(failed.unwrap_err(), refused, "{attempt:?}");
            assert_eq!(payout.looked_up(attempt, NOW).unwrap_err(), refused);
            assert_eq!(payout.sent_again(attempt, NOW).unwrap_err(), refused);
        }
        assert!(owed.paid(&payout, SECOND_ATTEMPT, preimage(1), msats(1), NOW).is_ok());
        assert!(owed.failed(&payout, SECOND_ATTEMPT, &failure(Deferral::Ours), NOW).is_ok());
    }
}

#[test]
fn a_payout_ends_for_its_own_obligation_only() {
    let (owed, payout) = flying();
    let refused = PayoutError::NotInFlight(payout.payment_hash);
    let other = Obligation { account: account(2), ..owed.clone() };
    assert_eq!(other.paid(&payout, FIRST, preimage(1), msats(1), NOW).unwrap_err(), refused);
    let idle = Obligation { in_flight: None, ..owed };
    assert_eq!(idle.paid(&payout, FIRST, preimage(1), msats(1), NOW).unwrap_err(), refused);
    assert_eq!(idle.failed(&payout, FIRST, &failure(Deferral::Ours), NOW).unwrap_err(), refused);
}

#[test]
fn after_a_failure_everything_is_due_still() {
    let (owed, payout) = flying();
    let later = NOW + HOUR;
    let settled = owed.failed(&payout, FIRST, &failure(Deferral::Unavailable), later).unwrap();
    let state = PayoutState::Failed { reason: "no route".to_owned() };
    assert_eq!(settled.payout, Payout { state, updated_at: later, ..payout });
    let expected = Obligation {
        in_flight: None,
        failures: 1,
        problem: Some("later".to_owned()),
        next_try_at: later + SECOND * 15,
        updated_at: later,
        ..owed
    };
    assert_eq!((settled.obligation, settled.transfers), (expected, Vec::new()));
}

#[test]
fn failures_rest_twice_as_long_each_time_and_six_hours_at_most() {
    let mut owed = directed(100);
    let mut rests = Vec::new();
    for _ in 0..40 {
        owed = owed.deferred(Deferral::Unavailable, "later", NOW);
        rests.push(owed.next_try_at.since(NOW).as_secs());
    }
    assert_eq!(rests[..12], [15, 30, 60, 120, 240, 480, 960, 1_920, 3_840, 7_680, 15_360, 21_600]);
    assert!(rests[12..].iter().all(|rest| *rest == 21_600), "{rests:?}");
    assert_eq!(owed.destination, Some(address()), "an address is tried for ever");
    // What is no failure counts as none.
    let ours = directed(100).deferred(Deferral::Ours, "busy", NOW);
    assert_eq!((ours.failures, ours.next_try_at), (0, NOW + SECOND * 15));
    assert_eq!(ours.problem.as_deref(), Some("busy"));
}

#[test]
fn what_is_no_failure_rests_five_minutes_at_most() {
    let (mut owed, mut now, mut rests) = (directed(100), NOW, Vec::new());
    for _ in 0..7 {
        owed = owed.deferred(Deferral::Ours, "busy", now);
        rests.push(owed.next_try_at.since(now).as_secs());
        now = owed.next_try_at;
    }
    assert_eq!((rests, owed.failures), (vec![15, 30, 60, 120, 240, 300, 300], 0));
    // A long rest after failures does not make it longer.
    let failed = Obligation { failures: 9, ..directed(100) }.deferred(Deferral::Unavailable, "no", NOW);
    let ours = failed.deferred(Deferral::Ours, "busy", NOW);
    assert_eq!((ours.failures, ours.next_try_at), (10, NOW + SECOND * 300));
}

#[test]
fn a_destination_that_cannot_be_paid_is_forgotten() {
    let named =
        |destination: &Destination| Obligation { destination: Some(destination.clone()), ..owed(100) };
    let long = to(&invoice(1, 97));
    let short = to(&invoice_on(Currency::Regtest, 1, Some(97), SECOND * 10));
    for (destination, failures, why, stays) in [
        (&address(), 0, Deferral::Refused, false),
        (&address(), 99, Deferral::Unavailable, true),
        (&address(), 0, Deferral::Ours, true),
        (&long, 0, Deferral::Refused, false),
        // The sixth failure of an invoice is its last.
        (&long, 4, Deferral::Unavailable, true),
        (&long, 5, Deferral::Unavailable, false),
        (&long, 5, Deferral::Ours, true),
        // An invoice that expires cannot be tried once more.
        (&short, 0, Deferral::Unavailable, false),
        (&short, 0, Deferral::Ours, false),
    ] {
        let deferred = Obligation { failures, ..named(destination) }.deferred(why, "later", NOW);
        let kept = deferred.destination.as_ref() == Some(destination);
        assert_eq!(kept, stays, "{destination:?} {failures} {why:?}: {deferred:?}");
    }
    let lasting = to(&invoice_on(Currency::Regtest, 1, Some(97), SECOND * 11));
    assert!(named(&lasting).deferred(Deferral::Ours, "later", NOW).destination.is_some());
}

#[test]
fn an_unknown_outcome_is_looked_up_less_and_less_often() {
    let (_, payout) = flying();
    for (age, rest) in [(0, 1), (1, 1), (8, 2), (100, 25), (2_400, 600), (10_000_000, 600)] {
        let now = NOW + SECOND * age;
        let looked_up = payout.looked_up(FIRST, now).unwrap();
        let expected =
            Payout { looks: 1, next_look_at: now + SECOND * rest, updated_at: now, ..payout.clone() };
        assert_eq!(looked_up, expected, "after {age} s");
    }
}

#[test]
fn what_is_sent_again_is_the_same_payment() {
    let (_, payout) = flying();
    let later = NOW + HOUR;
    let looked_up = payout.looked_up(FIRST, later).unwrap();
    let again = looked_up.sent_again(FIRST, later).unwrap();
    let expected = Payout {
        state: PayoutState::Paying { since: later },
        attempts: 2,
        looks: 0,
        next_look_at: later,
        updated_at: later,
        ..payout
    };
    assert_eq!(again, expected);
}

#[test]
fn what_has_ended_is_neither_looked_up_nor_sent_again() {
    let (owed, payout) = flying();
    let paid = owed.paid(&payout, FIRST, preimage(1), msats(1), NOW).unwrap().payout;
    let (_, failed) = failed(&owed, &payout);
    for ended in [paid, failed] {
        let refused = PayoutError::NotInFlight(payout.payment_hash);
        assert_eq!(ended.looked_up(FIRST, NOW).unwrap_err(), refused);
        assert_eq!(ended.sent_again(FIRST, NOW).unwrap_err(), refused);
    }
}

#[test]
fn the_operator_settles_no_more_than_is_due_and_nothing_in_flight() {
    let key = || TransferKey::new("settlement:1");
    let settle = |owed: &Obligation, amount| {
        owed.settled_by_operator(sats(amount), TransferKind::RefundSettled, key(), NOW + DAY)
    };
    let (part, transfer) = settle(&directed(100), 60).unwrap();
    assert_eq!(part, Obligation { due: sats(40), updated_at: NOW + DAY, ..directed(100) });
    let expected = Transfer {
        key: key(),
        debit: AccountId::RefundsDue,
        credit: AccountId::Operator,
        amount: msats(60_000),
        kind: TransferKind::RefundSettled,
        reference: Uuid::from_u128(1),
        created_at: NOW + DAY,
    };
    assert_eq!(transfer, expected);
    let (_, forfeited) =
        part.settled_by_operator(sats(40), TransferKind::RefundForfeited, key(), NOW).unwrap();
    assert_eq!(forfeited.credit, AccountId::Revenue);
    assert!(matches!(settle(&part, 41), Err(PayoutError::TooMuch { .. })));
    assert_eq!(settle(&part, 0).unwrap_err(), PayoutError::NothingDue);
    assert_eq!(settle(&owed(0), 1).unwrap_err(), PayoutError::NothingDue);
    let (flying, payout) = flying();
    assert_eq!(settle(&flying, 1).unwrap_err(), PayoutError::InFlight(payout.payment_hash));
}

#[test]
fn no_more_is_owed_than_can_exist() {
    let everything = owed(2_100_000_000_000_000);
    assert!(everything.accrue(sats(1), NOW).is_err());
    let request = invoice_on(Currency::Regtest, 1, None, DAY);
    let owed = everything.direct(&to(&request), None, &FEES, Network::Regtest, NOW).unwrap();
    let (owed, payout) = begin_at(&owed, &request, None, NOW).unwrap();
    let settled = owed.paid(&payout, FIRST, preimage(1), payout.fee_limit.to_msats(), NOW).unwrap();
    assert!(settled.obligation.due.is_zero());
}

#[test]
fn the_reference_of_an_obligation_is_the_id_of_what_it_is_for() {
    let id = Uuid::from_u128(5);
    for account in [AccountId::Job(id), AccountId::Session(id), AccountId::Bootstrap(id)] {
        assert_eq!(Obligation::open(account, NOW).reference(), id);
    }
    assert_eq!(Obligation::open(AccountId::Pool, NOW).reference(), Uuid::nil());
}
