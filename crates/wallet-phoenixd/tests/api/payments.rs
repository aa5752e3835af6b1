//! Making payments and determining their outcome.

use crate::bench::{
    Bench, NOW_MILLIS, PREIMAGE, Terms, WRONG_PREIMAGE, bolt11, form, msats, node, not_found, now, ok, order,
    settings,
};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::ManualClock;
use tithe_lightning::{Network, Payment, PaymentOrder, Preimage, Wallet, WalletError};
use tithe_wallet_phoenixd::PhoenixdWallet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wiremock::ResponseTemplate;

fn path() -> String {
    format!("/payments/outgoingbyhash/{}", PREIMAGE.payment_hash())
}

/// phoenixd's record of a payment of 1,000 sat.
fn outgoing(is_paid: bool, more: &str) -> ResponseTemplate {
    let hash = PREIMAGE.payment_hash();
    ok(&format!(
        r#"{{"type":"outgoing_payment","subType":"lightning","paymentId":"1","paymentHash":"{hash}","isPaid":{is_paid},
            "sent":1008,"createdAt":{NOW_MILLIS}{more}}}"#
    ))
}

fn in_flight() -> ResponseTemplate {
    outgoing(false, r#","fees":0"#)
}

fn failed() -> ResponseTemplate {
    outgoing(false, &format!(r#","fees":0,"completedAt":{NOW_MILLIS}"#))
}

fn paid(preimage: Preimage) -> ResponseTemplate {
    let preimage = preimage.reveal();
    outgoing(true, &format!(r#","fees":7999,"preimage":"{preimage}","completedAt":{NOW_MILLIS}"#))
}

/// The response to a payment that succeeded: its fee is rounded down.
fn sent(preimage: Preimage) -> ResponseTemplate {
    ok(&format!(
        r#"{{"recipientAmountSat":1000,"routingFeeSat":7,"paymentId":"1","paymentHash":"{}","paymentPreimage":"{}"}}"#,
        PREIMAGE.payment_hash(),
        preimage.reveal()
    ))
}

fn not_sent(reason: &str) -> ResponseTemplate {
    ok(&format!(r#"{{"paymentHash":"{}","reason":"{reason}"}}"#, PREIMAGE.payment_hash()))
}

fn succeeded(fee: u64) -> Payment {
    Payment::Succeeded { preimage: PREIMAGE, fee: msats(fee) }
}

/// Sends the order when phoenixd has no record of it before, answers so, and says `after` then.
async fn sending(answer: ResponseTemplate, after: ResponseTemplate) -> Result<Payment, WalletError> {
    let bench = Bench::new().await;
    bench.get_once(&path(), not_found()).await;
    bench.get(&path(), after).await;
    bench.post("/payinvoice", answer).await;
    let outcome = bench.wallet.payment_send(&order()).await;
    assert_eq!(bench.requests("/payinvoice").await.len(), 1);
    outcome
}

#[tokio::test]
async fn a_payment_has_the_exact_fee_and_not_the_rounded_one() {
    let bench = Bench::new().await;
    bench.get_once(&path(), not_found()).await;
    bench.get(&path(), paid(PREIMAGE)).await;
    bench.post("/payinvoice", sent(PREIMAGE)).await;
    let order = order();
    assert_eq!(bench.wallet.payment_send(&order).await.unwrap(), succeeded(7_999));
    let fields = form(&bench.requests("/payinvoice").await.remove(0));
    assert_eq!(fields.get("invoice").unwrap(), order.request.as_str());
    assert_eq!(fields.len(), 1, "{fields:?}");
}

#[tokio::test]
async fn a_payment_that_was_made_is_not_made_again() {
    for (record, payment) in [(paid(PREIMAGE), succeeded(7_999)), (in_flight(), Payment::InFlight)] {
        let bench = Bench::new().await;
        bench.get(&path(), record).await;
        // Not even a fee limit matters any more.
        let order = PaymentOrder { max_fee: msats(0), ..order() };
        assert_eq!(bench.wallet.payment_send(&order).await.unwrap(), payment);
        assert!(bench.requests("/payinvoice").await.is_empty());
    }
}

#[tokio::test]
async fn a_payment_that_failed_may_be_made_again() {
    let bench = Bench::new().await;
    bench.get_once(&path(), failed()).await;
    bench.get(&path(), paid(PREIMAGE)).await;
    bench.post("/payinvoice", sent(PREIMAGE)).await;
    assert_eq!(bench.wallet.payment_send(&order()).await.unwrap(), succeeded(7_999));
}

#[tokio::test]
async fn nothing_is_sent_when_it_is_unknown_whether_it_was_sent_before() {
    let bench = Bench::new().await;
    bench.get(&path(), ResponseTemplate::new(500)).await;
    let outcome = bench.wallet.payment_send(&order()).await;
    assert!(matches!(outcome, Err(WalletError::Unavailable(Some(_)))), "{outcome:?}");
    assert!(bench.requests("/payinvoice").await.is_empty());
}

#[tokio::test]
async fn nothing_is_sent_when_the_fee_could_exceed_the_limit() {
    let bench = Bench::new().await;
    bench.get(&path(), not_found()).await;
    let order = PaymentOrder { max_fee: msats(7_999), ..order() };
    let Err(WalletError::Refused(text)) = bench.wallet.payment_send(&order).await else { panic!() };
    assert_eq!(text, "fee too high: expected at most 7999 msat, phoenixd charges 8000 msat");
    assert!(bench.requests("/payinvoice").await.is_empty());
}

#[tokio::test]
async fn an_order_that_phoenixd_cannot_carry_out_is_refused() {
    let bench = Bench::new().await;
    let request = |terms| bolt11(terms).parse().unwrap();
    let any_amount = Terms { amount: None, ..Terms::default() };
    let mainnet = Terms { network: Network::Mainnet, ..Terms::default() };
    for (wrong, problem) in [
        (PaymentOrder { amount: Some(msats(1_000)), ..order() }, "unexpected amount"),
        (PaymentOrder { request: request(any_amount), ..order() }, "missing amount"),
        (
            PaymentOrder { request: request(any_amount), amount: Some(msats(1_001)), ..order() },
            "unsupported amount",
        ),
        (
            PaymentOrder { request: request(any_amount), amount: Some(msats(0)), ..order() },
            "unsupported amount",
        ),
        (PaymentOrder { request: request(mainnet), ..order() }, "wrong network"),
    ] {
        let outcome = bench.wallet.payment_send(&wrong).await;
        let Err(WalletError::Refused(text)) = &outcome else { panic!("{outcome:?}") };
        assert!(text.starts_with(problem), "{text}");
    }
}

#[tokio::test]
async fn the_amount_of_an_invoice_without_one_is_sent_in_sats() {
    let bench = Bench::new().await;
    bench.get_once(&path(), not_found()).await;
    bench.get(&path(), paid(PREIMAGE)).await;
    bench.post("/payinvoice", sent(PREIMAGE)).await;
    let request = bolt11(Terms { amount: None, ..Terms::default() }).parse().unwrap();
    let order = PaymentOrder { request, amount: Some(msats(1_000_000)), ..order() };
    assert_eq!(bench.wallet.payment_send(&order).await.unwrap(), succeeded(7_999));
    let fields = form(&bench.requests("/payinvoice").await.remove(0));
    assert_eq!(fields.get("amountSat").map(String::as_str), Some("1000"));
}

#[tokio::test]
async fn a_failure_is_final_when_the_record_agrees_or_there_is_none() {
    for after in [failed(), not_found()] {
        let outcome = sending(not_sent("not enough funds in wallet to afford payment"), after).await.unwrap();
        let reason = "not enough funds in wallet to afford payment".to_owned();
        assert_eq!(outcome, Payment::Failed { reason });
    }
}

#[tokio::test]
async fn a_second_payment_that_phoenixd_does_not_make_is_the_first_one() {
    // Another server has sent the same payment after the look-up.
    let busy = "another payment is in progress for that invoice";
    assert_eq!(sending(not_sent(busy), in_flight()).await.unwrap(), Payment::InFlight);
    let done = "this invoice has already been paid";
    assert_eq!(sending(not_sent(done), paid(PREIMAGE)).await.unwrap(), succeeded(7_999));
    for reason in [busy, done] {
        for after in [not_found(), ResponseTemplate::new(500)] {
            let outcome = sending(not_sent(reason), after).await;
            assert!(matches!(outcome, Err(WalletError::OutcomeUnknown(Some(_)))), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_failure_is_not_believed_while_the_record_cannot_be_read() {
    let outcome = sending(not_sent("an unknown error occurred"), ResponseTemplate::new(502)).await;
    assert!(matches!(outcome, Err(WalletError::OutcomeUnknown(Some(_)))), "{outcome:?}");
}

#[tokio::test]
async fn a_success_whose_fee_cannot_be_looked_up_stays_in_flight_until_it_can() {
    let outcome = sending(sent(PREIMAGE), ResponseTemplate::new(503)).await.unwrap();
    assert_eq!(outcome, Payment::InFlight);
    // There will never be a record, but there is a preimage.
    assert_eq!(sending(sent(PREIMAGE), not_found()).await.unwrap(), succeeded(7_000));
}

#[tokio::test]
async fn an_answer_that_proves_nothing_leaves_the_outcome_unknown() {
    for answer in [
        sent(WRONG_PREIMAGE),
        ok("{}"),
        ok("<html>"),
        ResponseTemplate::new(301).insert_header("location", "/elsewhere"),
        ResponseTemplate::new(408),
        ResponseTemplate::new(409),
        ResponseTemplate::new(500).set_body_string("boom"),
        ResponseTemplate::new(502),
        ResponseTemplate::new(503),
        ResponseTemplate::new(504),
    ] {
        let outcome = sending(answer, not_found()).await;
        assert!(matches!(outcome, Err(WalletError::OutcomeUnknown(Some(_)))), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_request_that_phoenixd_does_not_accept_has_no_effect() {
    for status in [400, 401, 403, 404, 405] {
        let outcome = sending(ResponseTemplate::new(status), not_found()).await;
        assert!(matches!(outcome, Err(WalletError::Refused(_))), "{status}: {outcome:?}");
    }
    let busy = sending(ResponseTemplate::new(429), not_found()).await;
    assert!(matches!(busy, Err(WalletError::Unavailable(Some(_)))), "{busy:?}");
}

/// A server that answers look-ups and drops every payment, after it has read the request.
async fn dropping() -> PhoenixdWallet {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_head(&mut stream).await;
            let (status, body) = if head.starts_with("GET /getinfo ") {
                ("200 OK", node("regtest", "0.8.0", "Normal"))
            } else if head.starts_with("GET ") {
                ("404 Not Found", "Not found".to_owned())
            } else {
                continue;
            };
            let length = body.len();
            let response =
                format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    });
    PhoenixdWallet::new(&settings(&url), Arc::new(ManualClock::at(now()))).unwrap()
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap() == 0 {
            break;
        }
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_lost_connection_leaves_the_outcome_unknown() {
    let wallet = dropping().await;
    let outcome = wallet.payment_send(&order()).await;
    assert!(matches!(outcome, Err(WalletError::OutcomeUnknown(Some(_)))), "{outcome:?}");
}

#[tokio::test]
async fn a_payment_that_takes_too_long_has_an_unknown_outcome() {
    let bench = Bench::new().await;
    bench.get(&path(), not_found()).await;
    bench.post("/payinvoice", sent(PREIMAGE).set_delay(Duration::from_mins(10))).await;
    let settings = tithe_wallet_phoenixd::PhoenixdSettings {
        timeout: Duration::from_secs(2),
        ..settings(&bench.server.uri())
    };
    let wallet = PhoenixdWallet::new(&settings, bench.clock.clone()).unwrap();
    let outcome = wallet.payment_send(&order()).await;
    assert!(matches!(outcome, Err(WalletError::OutcomeUnknown(Some(_)))), "{outcome:?}");
}

#[tokio::test]
async fn a_payment_without_an_answer_may_still_arrive_for_a_minute() {
    let bench = Bench::new().await;
    bench.get(&path(), not_found()).await;
    bench.post("/payinvoice", ResponseTemplate::new(504)).await;
    let order = order();
    let status = || bench.wallet.payment_status(order.id, order.request.payment_hash());
    assert_eq!(status().await.unwrap(), None);
    assert!(bench.wallet.payment_send(&order).await.is_err());
    assert_eq!(status().await.unwrap(), Some(Payment::InFlight));
    assert_eq!(bench.wallet.payment_send(&order).await.unwrap(), Payment::InFlight, "not sent twice");
    assert_eq!(bench.requests("/payinvoice").await.len(), 1);
    bench.clock.advance(Duration::from_mins(1));
    assert_eq!(status().await.unwrap(), None);
}

#[tokio::test]
async fn a_caller_that_stops_waiting_leaves_the_payment_on_its_way() {
    let bench = Bench::new().await;
    bench.get(&path(), not_found()).await;
    bench.post("/payinvoice", sent(PREIMAGE).set_delay(Duration::from_mins(10))).await;
    let order = order();
    let arrived = async {
        while bench.requests("/payinvoice").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = bench.wallet.payment_send(&order) => panic!("{outcome:?}"),
        () = arrived => {}
    }
    let status = bench.wallet.payment_status(order.id, order.request.payment_hash()).await.unwrap();
    assert_eq!(status, Some(Payment::InFlight));
}

#[tokio::test]
async fn the_status_of_a_payment_is_that_of_its_record() {
    let order = order();
    let failure = Payment::Failed { reason: "the wallet reports that the payment failed".to_owned() };
    for (record, status) in [
        (not_found(), None),
        (in_flight(), Some(Payment::InFlight)),
        (failed(), Some(failure)),
        (paid(PREIMAGE), Some(succeeded(7_999))),
    ] {
        let bench = Bench::new().await;
        bench.get(&path(), record).await;
        assert_eq!(
            bench.wallet.payment_status(order.id, order.request.payment_hash()).await.unwrap(),
            status
        );
    }
    let bench = Bench::new().await;
    bench.get(&path(), paid(WRONG_PREIMAGE)).await;
    let wrong = bench.wallet.payment_status(order.id, order.request.payment_hash()).await;
    assert!(matches!(wrong, Err(WalletError::Nonsense(_))), "{wrong:?}");
}
