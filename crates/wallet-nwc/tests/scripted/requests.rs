//! Requests and their responses.

use crate::bench::{
    Bench, SECRET, hash, is_nonsense, is_refused, is_unavailable, is_unknown, order, payment_id, preimage,
    within,
};
use crate::service::{Answer, Service};
use nostr::event::{EventBuilder, FinalizeEvent, Kind, Tag};
use nostr::key::Keys;
use nostr::nips::nip44;
use serde_json::json;
use std::time::Duration;
use tithe_lightning::{InvoiceId, InvoiceRequest, Payment, Wallet};
use tithe_money::Sats;

fn invoice_request() -> InvoiceRequest {
    InvoiceRequest {
        id: InvoiceId(tithe_lightning::uuid::Uuid::from_u128(1)),
        amount: Sats::new(21).unwrap(),
        description: "test".to_owned(),
        expiry: Duration::from_mins(10),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_offers_nip44_is_asked_in_it_and_told_when_the_request_expires() {
    let bench = Bench::new(Service::new());
    bench.service.on_result("get_balance", json!({ "balance": 1_234_567 }));
    assert_eq!(within(bench.wallet.balance()).await.unwrap().get(), 1_234_567);
    let calls = bench.service.calls("get_balance");
    let [call] = calls.as_slice() else { panic!("{calls:?}") };
    assert!(!call.nip04);
    assert_eq!(call.tag("encryption"), Some("nip44_v2"));
    assert_eq!(call.tag("p"), Some(bench.service.keys.public_key().to_hex().as_str()));
    let now = crate::bench::start().unix_seconds();
    assert_eq!(call.event.created_at.as_secs().to_string(), now.to_string());
    // 20 seconds for the response, and a minute for the clocks.
    assert_eq!(call.tag("expiration"), Some((now + 80).to_string().as_str()));
}

#[tokio::test]
async fn a_wallet_that_does_not_offer_nip44_is_asked_in_nip04() {
    for info in [None, Some(vec![]), Some(vec![("encryption", "nip04")])] {
        let bench = Bench::new(Service::with_info(info));
        bench.service.on_result("get_balance", json!({ "balance": 1 }));
        within(bench.wallet.balance()).await.unwrap();
        let call = &bench.service.calls("get_balance")[0];
        assert!(call.nip04 && call.tag("encryption").is_none());
    }
}

#[tokio::test]
async fn a_wallet_that_cannot_read_the_request_is_asked_in_the_other_encryption() {
    // Nothing announces NIP-44, but the wallet supports nothing else, and says so in NIP-44.
    let bench = Bench::new(Service::with_info(None));
    let keys = bench.service.keys.clone();
    bench.service.on("get_info", move |call| {
        if !call.nip04 {
            return Answer::Result(json!({ "network": "regtest" }));
        }
        let text = json!({ "error": { "code": "UNSUPPORTED_ENCRYPTION", "message": "" } }).to_string();
        let (secret, to) = (keys.secret_key(), &call.event.pubkey);
        let content = nip44::encrypt(secret, to, &text, nip44::Version::V2).unwrap();
        Answer::Events(vec![call.response(&keys, &content)])
    });
    bench.service.on_result("get_balance", json!({ "balance": 1 }));
    within(bench.wallet.balance()).await.unwrap();
    let ciphers = |method| bench.service.calls(method).iter().map(|call| call.nip04).collect::<Vec<_>>();
    assert_eq!(ciphers("get_info"), [true, false]);
    // What was learnt is kept.
    assert_eq!(ciphers("get_balance"), [false]);
}

#[tokio::test]
async fn a_wallet_that_supports_neither_encryption_refuses() {
    let bench = Bench::new(Service::new());
    bench.service.on_error("get_info", "UNSUPPORTED_ENCRYPTION");
    assert!(is_refused(&within(bench.wallet.balance()).await));
    assert_eq!(bench.service.calls("get_info").len(), 2);
}

#[tokio::test]
async fn only_the_response_of_the_wallet_to_this_request_counts() {
    let bench = Bench::new(Service::new());
    let keys = bench.service.keys.clone();
    bench.service.on("get_balance", move |call| {
        let text = |balance: u64| {
            json!({ "result_type": "get_balance", "result": { "balance": balance } }).to_string()
        };
        let encrypt = |keys: &Keys, text: &str| {
            nip44::encrypt(keys.secret_key(), &call.event.pubkey, text, nip44::Version::V2).unwrap()
        };
        let stranger = Keys::generate();
        let by_stranger = call.response(&stranger, &encrypt(&stranger, &text(1)));
        let unreadable = call.response(&keys, "AAAA");
        let for_another = EventBuilder::new(Kind::WalletConnectResponse, encrypt(&keys, &text(2)))
            .tag(Tag::public_key(call.event.pubkey))
            .tag(Tag::event(by_stranger.id))
            .finalize(&keys)
            .unwrap();
        let mut forged = call.response(&keys, &encrypt(&keys, &text(3)));
        forged.sig = by_stranger.sig;
        let genuine = call.response(&keys, &encrypt(&keys, &text(4)));
        Answer::Events(vec![by_stranger, unreadable, for_another, forged, genuine])
    });
    assert_eq!(within(bench.wallet.balance()).await.unwrap().get(), 4);
}

#[tokio::test]
async fn a_response_that_is_none_is_nonsense_for_a_read_and_unknown_for_a_payment() {
    let bench = Bench::new(Service::new());
    for text in ["[]", "{", r#"{"result_type":"get_info","result":{"balance":1,"preimage":"x"}}"#] {
        bench.service.on("get_balance", |_| Answer::Text(text.to_owned()));
        assert!(is_nonsense(&within(bench.wallet.balance()).await), "{text}");
    }
    bench.service.on("pay_invoice", |_| Answer::Text("{}".to_owned()));
    assert!(is_unknown(&within(bench.wallet.payment_send(&order())).await));
}

#[tokio::test]
async fn a_lost_response_is_unavailable_for_a_read_and_unknown_for_what_changes_something() {
    let bench = Bench::with(Service::new(), |settings| settings.timeout = Duration::from_secs(2));
    for method in ["get_balance", "make_invoice", "pay_invoice"] {
        bench.service.on(method, |_| Answer::Nothing);
    }
    assert!(is_unavailable(&within(bench.wallet.balance()).await));
    assert!(is_unknown(&within(bench.wallet.invoice_create(&invoice_request())).await));
    assert!(is_unknown(&within(bench.wallet.payment_send(&order())).await));
    for method in ["get_balance", "make_invoice", "pay_invoice"] {
        assert_eq!(bench.service.calls(method).len(), 1, "{method}");
    }
    bench.service.on("lookup_invoice", |_| Answer::Nothing);
    assert!(is_unavailable(&within(bench.wallet.payment_status(payment_id(), hash())).await));
}

#[tokio::test]
async fn responses_may_come_in_any_order() {
    let bench = Bench::new(Service::new());
    let service = &bench.service;
    service.on_result("get_balance", json!({ "balance": 1 }));
    within(bench.wallet.balance()).await.unwrap();
    service.on("pay_invoice", |_| Answer::Nothing);
    let wallet = bench.wallet.clone();
    let paying = tokio::spawn(async move { wallet.payment_send(&order()).await });
    within(service.called("pay_invoice")).await;
    assert_eq!(within(bench.wallet.balance()).await.unwrap().get(), 1);
    let call = &service.calls("pay_invoice")[0];
    let result = json!({ "preimage": preimage().reveal(), "fees_paid": 1 });
    let text = json!({ "result_type": "pay_invoice", "result": result }).to_string();
    service.publish(call.response(&service.keys, &service.encrypt(call, &text)));
    assert!(matches!(within(paying).await.unwrap().unwrap(), Payment::Succeeded { .. }));
}

#[tokio::test]
async fn a_request_whose_caller_is_gone_is_not_sent_later() {
    let bench = Bench::new(Service::new());
    bench.service.on_result("get_balance", json!({ "balance": 1 }));
    bench.service.on_result("pay_invoice", json!({ "preimage": preimage().reveal() }));
    within(bench.wallet.balance()).await.unwrap();
    // The look-up before the payment gets no answer, and the caller leaves.
    bench.service.on("lookup_invoice", |_| Answer::Nothing);
    let sending = order();
    tokio::select! {
        result = bench.wallet.payment_send(&sending) => panic!("{result:?}"),
        () = bench.service.called("lookup_invoice") => {}
    }
    bench.relay.stop().await;
    bench.relay.restart();
    within(bench.wallet.balance()).await.unwrap();
    assert_eq!(bench.service.calls("lookup_invoice").len(), 1);
    assert!(bench.service.calls("pay_invoice").is_empty());
}

#[tokio::test]
async fn a_payment_whose_caller_is_gone_is_found_later() {
    let bench = Bench::new(Service::new());
    bench.service.on("pay_invoice", |_| Answer::Nothing);
    let sending = order();
    tokio::select! {
        result = bench.wallet.payment_send(&sending) => panic!("{result:?}"),
        () = bench.service.called("pay_invoice") => {}
    }
    let status = within(bench.wallet.payment_status(payment_id(), hash())).await;
    assert_eq!(status.unwrap(), Some(Payment::InFlight));
    let record = json!({ "type": "outgoing", "state": "settled", "payment_hash": hash().to_string(),
        "preimage": preimage().reveal(), "amount": 21_000, "fees_paid": 2 });
    bench.service.on_result("lookup_invoice", record);
    let status = within(bench.wallet.payment_status(payment_id(), hash())).await.unwrap();
    assert!(matches!(status, Some(Payment::Succeeded { .. })), "{status:?}");
}

#[tokio::test]
async fn a_dropped_wallet_leaves_no_connection_behind() {
    let bench = Bench::new(Service::new());
    bench.service.on_result("get_balance", json!({ "balance": 1 }));
    within(bench.wallet.balance()).await.unwrap();
    let Bench { wallet, relay, .. } = bench;
    within(relay.connections(1)).await;
    drop(wallet);
    within(relay.connections(0)).await;
}

#[tokio::test]
async fn no_error_shows_the_secret() {
    let bench = Bench::with(Service::new(), |settings| settings.timeout = Duration::from_millis(300));
    let shown =
        format!("{:?} {:?}", bench.wallet, crate::bench::settings(&bench.service, &["ws://x".into()]));
    assert!(!shown.contains(SECRET));
    bench.service.on("get_balance", |_| Answer::Nothing);
    let lost = within(bench.wallet.balance()).await.unwrap_err();
    bench.relay.stop().await;
    let unsent = within(bench.wallet.balance()).await.unwrap_err();
    for error in [lost, unsent] {
        assert!(!format!("{error:?} {error}").contains(&SECRET[..16]), "{error:?}");
    }
}
