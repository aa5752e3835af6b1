//! Credentials of sessions of the scheme `Payment` that buy nothing.

use crate::app::{Deposit, Metered, Options, PaymentSession, TestApp, Wire, return_invoice};
use std::time::Duration;
use tithe_lightning::lightning_invoice::Currency;
use tithe_money::Sats;
use tithe_paywall::payment::SessionAction;

const CHAT: Metered = Metered::Ai(Wire::Chat);

#[tokio::test]
async fn forged_cut_and_swapped_credentials_are_refused_without_an_offer() {
    let (app, backend) = TestApp::scripted(Options::default());
    let body = CHAT.body("hello", false);
    let session = app.opened_session(CHAT, &body).await;
    let (asked, by) = (backend.asked(), app.deposit(CHAT, &body).await);
    let (good, other) = (session.bearer(&by), app.deposit_by_get(CHAT).await);
    let swapped = |change: &dyn Fn(&mut Deposit)| {
        let mut by = by.clone();
        change(&mut by);
        session.bearer(&by)
    };
    let wrong = PaymentSession { preimage: [7; 32], ..session.clone() };
    for (name, credential) in [
        ("cut", good[..good.len() - 9].to_owned()),
        ("another realm", swapped(&|by| by.challenge.realm.push('x'))),
        ("another id", swapped(&|by| by.challenge.id.clone_from(&other.challenge.id))),
        ("another request", swapped(&|by| by.challenge.request.clone_from(&other.challenge.request))),
        ("another expiry", swapped(&|by| by.challenge.expires = Some("2099-01-01T00:00:00Z".into()))),
        ("another preimage", wrong.bearer(&by)),
        ("another preimage of the deposit", wrong.open()),
        ("a top-up that was not paid", session.top_up(&other, session.preimage)),
        ("no return invoice", PaymentSession { return_invoice: String::new(), ..session.clone() }.open()),
    ] {
        let refused = app.proving(CHAT, &body, &credential).await;
        CHAT.refused(&refused, 401, "invalid_payment_proof");
        assert_eq!(refused.headers.get_all("www-authenticate").iter().count(), 1, "{name}: {refused:?}");
    }
    assert_eq!(backend.asked(), asked);
}

/// Every node that has forwarded a payment knows its hash and its preimage.
#[tokio::test]
async fn the_preimage_of_another_payment_opens_nothing() {
    let (app, backend) = TestApp::scripted(Options::default());
    let body = CHAT.body("hello", false);
    let one_request = app.bought(CHAT, &body).await;
    let unopened = app.payment_session(CHAT, &body).await;
    let by = app.deposit(CHAT, &body).await;
    let of_request = SessionAction::Bearer {
        session_id: hex_32(&one_request.offer.hash()),
        preimage: hex_32(&one_request.preimage),
    };
    let close = SessionAction::Close {
        session_id: hex_32(&one_request.offer.hash()),
        preimage: hex_32(&one_request.preimage),
    };
    for credential in [
        by.challenge.answer_session(&of_request),
        by.challenge.answer_session(&close),
        unopened.bearer(&by),
        unopened.close(&by),
    ] {
        let refused = app.proving(CHAT, &body, &credential).await;
        let facts = CHAT.refused(&refused, 402, "payment_ended");
        assert_eq!(facts["problem"], "https://paymentauth.org/problems/lightning/session-not-found");
        assert_ne!(Deposit::of(&refused).hash(), unopened.deposit.hash());
    }
    assert_eq!(backend.asked(), 0);
    // Both are as good as before.
    assert_eq!(app.proving(CHAT, &body, &one_request.l402()).await.status, 200);
    assert_eq!(app.proving(CHAT, &body, &unopened.open()).await.status, 200);
}

fn hex_32(text: &str) -> [u8; 32] {
    std::array::from_fn(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
}

#[tokio::test]
async fn a_return_invoice_that_cannot_be_paid_uses_nothing_up() {
    let (app, backend) = TestApp::scripted(Options::default());
    let body = CHAT.body("hello", false);
    let session = app.payment_session(CHAT, &body).await;
    let now = Duration::from_micros(u64::try_from(app.now().unix_micros()).unwrap());
    let ours = app.deposit_by_get(CHAT).await.request["depositInvoice"].as_str().unwrap().to_owned();
    for wrong in [
        return_invoice(Currency::Regtest, Some(100), now),
        return_invoice(Currency::Bitcoin, None, now),
        return_invoice(Currency::Regtest, None, now.saturating_sub(Duration::from_hours(24 * 31))),
        "lnbc1".to_owned(),
        ours,
    ] {
        let opening = PaymentSession { return_invoice: wrong, ..session.clone() };
        let refused = app.proving(CHAT, &body, &opening.open()).await;
        let facts = CHAT.refused(&refused, 400, "invalid_field");
        assert_eq!(facts["problem"], "https://paymentauth.org/problems/lightning/invalid-return-invoice");
        assert!(CHAT.message(&refused).starts_with("payload.returnInvoice: "), "{}", refused.text);
        assert_eq!(refused.header("www-authenticate"), "", "{refused:?}");
    }
    assert_eq!(backend.asked(), 0);
    assert_eq!(app.proving(CHAT, &body, &session.open()).await.status, 200);
    let other = PaymentSession { return_invoice: app.good_return_invoice().await, ..session };
    let refused = app.proving(CHAT, &body, &other.open()).await;
    CHAT.refused(&refused, 402, "payment_ended");
}

#[tokio::test]
async fn a_challenge_is_used_for_one_request() {
    let (app, backend) = TestApp::scripted(Options::default());
    let body = CHAT.body("hello", false);
    let session = app.opened_session(CHAT, &body).await;
    let asked = backend.asked();
    for credential in [session.open(), session.bearer(&session.deposit)] {
        let refused = app.proving(CHAT, &CHAT.body("another", false), &credential).await;
        let facts = CHAT.refused(&refused, 402, "payment_ended");
        assert_eq!(facts["problem"], "https://paymentauth.org/problems/lightning/unknown-challenge");
        assert_ne!(Deposit::of(&refused).challenge.id, session.deposit.challenge.id);
    }
    assert_eq!(backend.asked(), asked);
}

#[tokio::test]
async fn an_expired_challenge_is_no_key_to_a_session() {
    let settings =
        tithe_engine::Settings { invoice_expiry: Duration::from_mins(10), ..crate::app::settings() };
    let app = TestApp::with(Options { settings, manual_clock: true, ..Options::default() });
    let body = CHAT.body("hello", false);
    let session = app.opened_session(CHAT, &body).await;
    let by = app.deposit(CHAT, &CHAT.body("two", false)).await;
    app.clock.advance(Duration::from_mins(20));
    let refused = app.proving(CHAT, &CHAT.body("two", false), &session.bearer(&by)).await;
    let facts = CHAT.refused(&refused, 402, "payment_ended");
    assert_eq!(facts["problem"], "https://paymentauth.org/problems/lightning/challenge-expired");
}

#[tokio::test]
async fn a_session_that_lacks_balance_is_offered_a_deposit_alone() {
    let settings = tithe_engine::Settings { payment_session_deposit: Sats::ONE, ..crate::app::settings() };
    let app = TestApp::with(Options { settings, ..Options::default() });
    let session = app.opened_session(CHAT, &CHAT.body("hello", false)).await;
    let dear = CHAT.body(&"word ".repeat(60_000), false);
    let by = app.deposit(CHAT, &dear).await;
    let refused = app.proving(CHAT, &dear, &session.bearer(&by)).await;
    let facts = CHAT.refused(&refused, 402, "insufficient_balance");
    assert_eq!(facts["problem"], "https://paymentauth.org/problems/lightning/insufficient-balance");
    assert_eq!(refused.headers.get_all("www-authenticate").iter().count(), 1, "{refused:?}");
    let offered = Deposit::of(&refused);
    assert_eq!(facts["topUp"]["invoice"]["paymentRequest"], offered.request["depositInvoice"]);
    assert_eq!(facts["topUp"]["path"], CHAT.path());
    // The top-up, and the same request again.
    let preimage = offered.pay(&app).await;
    assert_eq!(app.ai_send(app.getting(CHAT, &session.top_up(&offered, preimage))).await.status, 200);
    let by = app.deposit(CHAT, &dear).await;
    assert_eq!(app.proving(CHAT, &dear, &session.bearer(&by)).await.status, 200);
}
