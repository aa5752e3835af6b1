//! A payout begins.

use crate::samples::{
    DAY, FEES, FIRST, NOW, SECOND, account, address, begin_at, directed, flying, invoice, invoice_on, msats,
    owed, preimage, sats, to,
};
use std::time::Duration;
use tithe_lightning::lightning_invoice::Currency;
use tithe_lightning::{Bolt11Mismatch, Network, PaymentId};
use tithe_payouts::{Deferral, Failure, Obligation, ObligationState, Payout, PayoutError, PayoutState};
use uuid::Uuid;

const FAILURE: Failure<'_> = Failure { reason: "no route", why: Deferral::Unavailable, problem: "later" };

#[test]
fn a_payout_pays_what_is_due_less_the_fee_limit() {
    let (owed, payout) = flying();
    let expected = Payout {
        payment_hash: preimage(1).payment_hash(),
        id: PaymentId(Uuid::nil()),
        account: account(1),
        payment_request: invoice(1, 97).as_str().to_owned(),
        amount: sats(97),
        fee_limit: sats(3),
        state: PayoutState::Paying { since: NOW },
        attempts: 1,
        looks: 0,
        next_look_at: NOW,
        created_at: NOW,
        updated_at: NOW,
    };
    assert_eq!(payout, expected);
    assert_eq!(owed, Obligation { in_flight: Some(payout.payment_hash), ..directed(100) });
    assert_eq!((owed.state(), owed.due), (ObligationState::Paying, sats(100)), "it is due until it is paid");
}

#[test]
fn an_invoice_without_an_amount_is_paid_all_that_is_payable() {
    let request = invoice_on(Currency::Regtest, 1, None, DAY);
    let named = owed(100).direct(&to(&request), None, &FEES, Network::Regtest, NOW).unwrap();
    // More has become due since the customer named it.
    let named = named.accrue(sats(100), NOW).unwrap();
    let (_, payout) = begin_at(&named, &request, None, NOW).unwrap();
    assert_eq!((payout.amount, payout.fee_limit), (sats(196), sats(4)));
}

#[test]
fn only_the_customers_destination_is_paid() {
    let named = invoice(1, 97);
    let unnamed = owed(100);
    assert_eq!(begin_at(&unnamed, &named, None, NOW).unwrap_err(), PayoutError::Destination);
    let owed = unnamed.direct(&to(&named), None, &FEES, Network::Regtest, NOW).unwrap();
    assert_eq!(begin_at(&owed, &invoice(2, 97), None, NOW).unwrap_err(), PayoutError::Destination);
    // Not even another request with the same payment hash.
    let other = invoice_on(Currency::Regtest, 1, Some(97), DAY + SECOND);
    assert_eq!(begin_at(&owed, &other, None, NOW).unwrap_err(), PayoutError::Destination);
    assert!(begin_at(&owed, &named, None, NOW).is_ok());
}

#[test]
fn nothing_begins_while_a_payment_is_in_flight() {
    let (owed, payout) = flying();
    for n in [1, 2] {
        let refused = begin_at(&owed, &invoice(n, 97), Some(&payout), NOW + DAY / 2).unwrap_err();
        assert_eq!(refused, PayoutError::InFlight(payout.payment_hash));
    }
}

#[test]
fn the_invoice_of_an_address_is_checked_like_any_other() {
    let begin = |due, request| begin_at(&directed(due), &request, None, NOW).unwrap_err();
    for (amount, wanted) in [(96, 97), (98, 97), (100, 97)] {
        let (wanted, found) = (sats(wanted).to_msats(), Some(sats(amount).to_msats()));
        let mismatch = Bolt11Mismatch::Amount { wanted, found };
        assert_eq!(begin(100, invoice(1, amount)), PayoutError::Invoice(mismatch));
    }
    let mismatch = Bolt11Mismatch::Network { wanted: Network::Regtest, found: Network::Mainnet };
    let foreign = invoice_on(Currency::Bitcoin, 1, Some(97), DAY);
    assert_eq!(begin(100, foreign), PayoutError::Invoice(mismatch));
    let (less, life) = (Duration::from_secs(9), Duration::from_secs(10));
    let mismatch = Bolt11Mismatch::Expiry { wanted: NOW + life, found: NOW + less };
    for amount in [Some(97), None] {
        let short = invoice_on(Currency::Regtest, 1, amount, less);
        assert_eq!(begin(100, short), PayoutError::Invoice(mismatch.clone()));
        let enough = invoice_on(Currency::Regtest, 1, amount, life);
        assert!(begin_at(&directed(100), &enough, None, NOW).is_ok());
    }
}

#[test]
fn neither_nothing_nor_dust_is_paid() {
    let request = invoice_on(Currency::Regtest, 1, None, DAY);
    let paid = Obligation { due: sats(0), ..directed(100) };
    assert_eq!(begin_at(&paid, &request, None, NOW).unwrap_err(), PayoutError::NothingDue);
    let dust = Obligation { due: sats(3), ..directed(100) };
    let refused = PayoutError::Dust { due: sats(3), fee_limit: sats(3) };
    assert_eq!(begin_at(&dust, &request, None, NOW).unwrap_err(), refused);
}

#[test]
fn an_invoice_that_has_failed_is_paid_by_a_further_attempt() {
    let (owed, payout) = flying();
    let failed = owed.failed(&payout, FIRST, &FAILURE, NOW).unwrap();
    let later = NOW + SECOND * 20;
    let (_, again) = begin_at(&failed.obligation, &invoice(1, 97), Some(&failed.payout), later).unwrap();
    let expected = Payout {
        id: again.id,
        state: PayoutState::Paying { since: later },
        attempts: 2,
        next_look_at: later,
        updated_at: later,
        ..payout.clone()
    };
    assert_eq!(again, expected);
    assert_ne!(again.id, payout.id, "the wallet knows the attempts apart");
}

#[test]
fn an_invoice_that_the_customer_has_replaced_is_not_paid() {
    let request = invoice(1, 97);
    let named = owed(100).direct(&to(&request), None, &FEES, Network::Regtest, NOW).unwrap();
    let (flying, payout) = begin_at(&named, &request, None, NOW).unwrap();
    let failure = Failure { why: Deferral::Refused, ..FAILURE };
    let failed = flying.failed(&payout, FIRST, &failure, NOW).unwrap();
    // Nothing is paid before the customer names another destination.
    let refused = begin_at(&failed.obligation, &request, Some(&failed.payout), NOW).unwrap_err();
    assert_eq!(refused, PayoutError::Destination);
    let other = invoice(2, 97);
    let renamed = failed.obligation.direct(&to(&other), None, &FEES, Network::Regtest, NOW).unwrap();
    let refused = begin_at(&renamed, &request, Some(&failed.payout), NOW).unwrap_err();
    assert_eq!(refused, PayoutError::Destination);
    assert!(begin_at(&renamed, &other, None, NOW).is_ok());
}

#[test]
fn an_invoice_of_another_obligation_or_that_was_paid_is_not_paid() {
    let (_, flying) = flying();
    let failed = PayoutState::Failed { reason: "no".to_owned() };
    let paid = PayoutState::Paid { preimage: preimage(1), fee: msats(1) };
    for (account, state) in [(account(2), failed), (account(1), paid), (account(1), flying.state.clone())] {
        let before = Payout { account, state, ..flying.clone() };
        let refused = begin_at(&directed(100), &invoice(1, 97), Some(&before), NOW).unwrap_err();
        assert_eq!(refused, PayoutError::Used(flying.payment_hash), "{before:?}");
    }
    assert_eq!(directed(100).destination, Some(address()));
}
