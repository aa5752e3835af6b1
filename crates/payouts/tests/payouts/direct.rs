//! The customer names a destination.

use crate::samples::{
    DAY, FEES, FIRST, NOW, SECOND, account, address, directed, flying, invoice, invoice_on, owed, preimage,
    sats, to,
};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::lightning_invoice::Currency;
use tithe_lightning::{Bolt11, Bolt11Mismatch, Network};
use tithe_money::Msats;
use tithe_payouts::{Deferral, Destination, Obligation, Payout, PayoutError, PayoutState};
use uuid::Uuid;

const MINUTE: Duration = Duration::from_mins(1);
const LESS: Duration = Duration::from_secs(59);

fn direct_at(
    owed: &Obligation,
    destination: &Destination,
    used: Option<&Payout>,
    now: Timestamp,
) -> Result<Obligation, PayoutError> {
    owed.direct(destination, used, &FEES, Network::Regtest, now)
}

fn direct(due: u64, request: &Bolt11) -> Result<Obligation, PayoutError> {
    direct_at(&owed(due), &to(request), None, NOW)
}

#[test]
fn a_new_destination_begins_anew() {
    let stuck = directed(100).deferred(Deferral::Unavailable, "no", NOW);
    let later = NOW + SECOND;
    let destination = to(&invoice(1, 97));
    let named = direct_at(&stuck, &destination, None, later).unwrap();
    let expected = Obligation {
        destination: Some(destination),
        failures: 0,
        problem: None,
        next_try_at: later,
        updated_at: later,
        ..stuck
    };
    assert_eq!(named, expected);
}

#[test]
fn the_same_destination_again_changes_nothing() {
    for destination in [address(), to(&invoice(1, 97))] {
        let stuck = direct_at(&owed(100), &destination, None, NOW).unwrap();
        let stuck = stuck.deferred(Deferral::Unavailable, "no", NOW);
        // Not even when the invoice expires by then.
        assert_eq!(direct_at(&stuck, &destination, None, NOW + DAY).unwrap(), stuck);
    }
    let (paying, payout) = flying();
    assert_eq!(direct_at(&paying, &address(), Some(&payout), NOW + SECOND).unwrap(), paying);
}

#[test]
fn the_destination_that_was_paid_again_changes_nothing() {
    let (paying, payout) = flying();
    let paid = paying.paid(&payout, FIRST, preimage(1), Msats::ZERO, NOW).unwrap();
    for destination in [address(), to(&invoice(1, 97))] {
        let again = direct_at(&paid.obligation, &destination, Some(&paid.payout), NOW + DAY * 2);
        assert_eq!(again.unwrap(), paid.obligation);
    }
    // An invoice that was paid pays nothing more.
    let more = paid.obligation.accrue(sats(100), NOW).unwrap();
    let refused = direct_at(&more, &to(&invoice(1, 97)), Some(&paid.payout), NOW).unwrap_err();
    assert_eq!(refused, PayoutError::Used(payout.payment_hash));
}

#[test]
fn another_destination_waits_until_nothing_is_in_flight() {
    let (paying, payout) = flying();
    for destination in ["bob@example.com".parse().unwrap(), to(&invoice(2, 97)), to(&invoice(1, 97))] {
        let refused = direct_at(&paying, &destination, None, NOW).unwrap_err();
        assert_eq!(refused, PayoutError::InFlight(payout.payment_hash));
    }
}

#[test]
fn nothing_and_dust_have_no_destination() {
    let request = invoice(1, 97);
    for destination in [address(), to(&request)] {
        assert_eq!(direct_at(&owed(0), &destination, None, NOW).unwrap_err(), PayoutError::NothingDue);
        let dust = direct_at(&owed(3), &destination, None, NOW).unwrap_err();
        assert_eq!(dust, PayoutError::Dust { due: sats(3), fee_limit: sats(3) });
    }
    assert!(direct_at(&owed(4), &address(), None, NOW).is_ok());
    // Nor can another destination be named when everything was paid.
    let paid = Obligation { due: sats(0), ..directed(100) };
    for destination in ["bob@example.com".parse().unwrap(), to(&request)] {
        assert_eq!(direct_at(&paid, &destination, None, NOW).unwrap_err(), PayoutError::NothingDue);
    }
}

#[test]
fn an_invoice_is_for_exactly_what_is_payable() {
    assert!(direct(100, &invoice(1, 97)).is_ok());
    for amount in [96, 98, 100] {
        let mismatch =
            Bolt11Mismatch::Amount { wanted: sats(97).to_msats(), found: Some(sats(amount).to_msats()) };
        assert_eq!(direct(100, &invoice(1, amount)).unwrap_err(), PayoutError::Invoice(mismatch));
    }
}

#[test]
fn an_invoice_without_an_amount_is_checked_for_everything_else() {
    let any_amount = |currency, life| direct(100, &invoice_on(currency, 1, None, life));
    assert!(any_amount(Currency::Regtest, MINUTE).is_ok());
    let mismatch = |found: Result<Obligation, PayoutError>| match found.unwrap_err() {
        PayoutError::Invoice(mismatch) => mismatch,
        other => panic!("{other}"),
    };
    assert_eq!(
        mismatch(any_amount(Currency::Regtest, LESS)),
        Bolt11Mismatch::Expiry { wanted: NOW + MINUTE, found: NOW + LESS }
    );
    assert_eq!(
        mismatch(any_amount(Currency::Bitcoin, MINUTE)),
        Bolt11Mismatch::Network { wanted: Network::Regtest, found: Network::Mainnet }
    );
}

#[test]
fn an_invoice_is_of_the_wallets_network() {
    let refused = direct(100, &invoice_on(Currency::Bitcoin, 1, Some(97), DAY)).unwrap_err();
    let mismatch = Bolt11Mismatch::Network { wanted: Network::Regtest, found: Network::Mainnet };
    assert_eq!(refused, PayoutError::Invoice(mismatch));
}

#[test]
fn an_invoice_that_is_named_is_payable_for_a_minute() {
    assert!(direct(100, &invoice_on(Currency::Regtest, 1, Some(97), MINUTE)).is_ok());
    let found = NOW + LESS;
    let refused = direct(100, &invoice_on(Currency::Regtest, 1, Some(97), LESS)).unwrap_err();
    assert_eq!(refused, PayoutError::Invoice(Bolt11Mismatch::Expiry { wanted: NOW + MINUTE, found }));
}

#[test]
fn an_invoice_is_used_for_one_obligation_and_paid_once() {
    let (_, payout) = flying();
    let paid = PayoutState::Paid { preimage: preimage(1), fee: Msats::ZERO };
    let failed = PayoutState::Failed { reason: "no".to_owned() };
    let (ours, theirs) = (account(1), account(2));
    for (account, state, is_used) in [
        (ours, failed.clone(), false),
        (ours, paid.clone(), true),
        (ours, payout.state.clone(), true),
        (theirs, failed, true),
        (theirs, paid, true),
        (theirs, payout.state.clone(), true),
    ] {
        let before = Payout { account, state, ..payout.clone() };
        let named = direct_at(&owed(100), &to(&invoice(1, 97)), Some(&before), NOW);
        assert_eq!(named == Err(PayoutError::Used(payout.payment_hash)), is_used, "{before:?}: {named:?}");
        assert_eq!(named.is_ok(), !is_used);
    }
}

#[test]
fn only_an_address_is_named_in_advance() {
    let nothing_yet = Obligation::open(account(1), NOW);
    let named = nothing_yet.direct_in_advance(&address(), NOW).unwrap();
    assert_eq!(named.destination, Some(address()));
    for destination in [to(&invoice(1, 97)), Destination::Session(Uuid::from_u128(7))] {
        let refused = nothing_yet.direct_in_advance(&destination, NOW).unwrap_err();
        assert_eq!(refused, PayoutError::InAdvance);
    }
}
