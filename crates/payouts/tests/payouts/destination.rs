//! A destination as text.

use crate::samples::{address, invoice, to};
use tithe_ledger::AccountId;
use tithe_payouts::{Destination, InvalidDestination};
use uuid::Uuid;

#[test]
fn a_destination_reads_back_from_its_text() {
    for destination in [address(), to(&invoice(1, 97)), Destination::Session(Uuid::from_u128(7))] {
        assert_eq!(destination.to_string().parse::<Destination>().unwrap(), destination);
        assert_eq!(Destination::try_from(String::from(destination.clone())).unwrap(), destination);
    }
}

#[test]
fn what_is_neither_an_invoice_nor_an_address_is_refused_as_what_it_looks_like() {
    let mut cut = invoice(1, 97).as_str().to_owned();
    cut.pop();
    for (text, is_address) in [("", false), ("alice", false), (cut.as_str(), false), ("alice@", true)] {
        let refused = text.parse::<Destination>().unwrap_err();
        assert_eq!(matches!(refused, InvalidDestination::Address(_)), is_address, "{text}: {refused}");
    }
}

#[test]
fn a_session_is_named_as_its_account_in_the_ledger_is() {
    let id = Uuid::from_u128(7);
    assert_eq!(Destination::Session(id).to_string(), AccountId::Session(id).to_string());
    for text in [
        "session:",
        "session:alice@example.com",
        "session:7",
        "session: 00000000-0000-0000-0000-000000000007",
    ] {
        let refused = text.parse::<Destination>().unwrap_err();
        assert!(matches!(refused, InvalidDestination::Session(_)), "{text}: {refused}");
    }
}

#[test]
fn logs_show_the_payment_hash_of_an_invoice_and_no_more() {
    let request = invoice(1, 97);
    assert_eq!(format!("{:?}", to(&request)), format!("invoice {}", request.payment_hash()));
    assert_eq!(format!("{:?}", address()), "address alice@example.com");
}
