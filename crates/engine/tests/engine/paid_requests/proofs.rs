//! Proofs of payment, and what is none.

use super::{Payment, invalid, proven, refused};
use crate::scene::{Scene, Server};
use std::time::Duration;
use tithe_engine::sessions::{OfferedRequest, PaidRequest, PaymentState, PresentedProof};
use tithe_engine::{EngineError, InvalidProof, PaidRequestError};
use tithe_lightning::Preimage;
use tithe_money::Msats;
use tithe_paywall::payment::{Challenge, Refused};
use tithe_paywall::{Caveat, Limit, Macaroon};

#[tokio::test(start_paused = true)]
async fn a_proof_that_is_none_says_what_is_wrong() {
    let scene = Scene::open().await;
    let server = scene.server();
    let (paid, other) =
        (Payment::of(&scene, &server, "hello").await, Payment::of(&scene, &server, "something else").await);
    let token = server.engine.sessions.l402_token(&paid.offered).unwrap();
    let wrong = |token: &str, preimage: Preimage| invalid(proven(&server, token, preimage)).to_string();
    assert_eq!(
        wrong(&token, other.preimage),
        "wrong preimage: expected the preimage of the invoice that came with the macaroon"
    );
    let mut forged = token.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.push(last);
    assert!(wrong(&forged, paid.preimage).contains("macaroon"), "{}", wrong(&forged, paid.preimage));
    let malformed = PresentedProof::L402("L402 abc".to_owned());
    assert!(matches!(invalid(server.engine.sessions.proven(&malformed)), InvalidProof::Credential(_)));
    // A macaroon of a session is no token, and a token opens no session.
    assert!(server.engine.sessions.access(&token).is_err());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_narrowed_token_buys_the_request_and_claims_nothing() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::of(&scene, &server, "hello").await;
    let token = server.engine.sessions.l402_token(&paid.offered).unwrap();
    let later = tithe_clock::Clock::now(scene.clock.as_ref()) + Duration::from_hours(1);
    let narrowed = Macaroon::parse(&token).unwrap().narrow(&Caveat::expires(later)).unwrap().encode();
    let handed_on = proven(&server, &narrowed, paid.preimage).unwrap();
    assert_eq!(invalid(server.engine.sessions.payment(&handed_on).await), InvalidProof::Narrowed);
    let claimed = server.engine.sessions.refund_payment(&handed_on, None).await;
    assert_eq!(invalid(claimed), InvalidProof::Narrowed);
    let handed_on = Payment { proof: handed_on, ..paid.clone() };
    handed_on.redeem(&server, "hello").await.unwrap();
    assert_eq!(paid.view(&server).await.state, PaymentState::Used);
    paid.assert_whole(&scene, &server).await;
    scene.finish().await;
}

fn challenge(server: &Server, offered: &OfferedRequest) -> Challenge {
    let header = server.engine.sessions.payment_challenge(offered, "api.example").unwrap();
    Challenge::parse_all(&header).remove(0)
}

fn charged(server: &Server, challenge: &Challenge, preimage: Preimage) -> Result<PaidRequest, EngineError> {
    let mut bytes = [0; 32];
    hex_of(&preimage.reveal(), &mut bytes);
    server.engine.sessions.proven(&PresentedProof::Payment(challenge.answer_charge(&bytes)))
}

fn hex_of(digits: &str, bytes: &mut [u8; 32]) {
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn both_schemes_prove_one_payment_and_buy_one_answer() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::of(&scene, &server, "hello").await;
    let full = challenge(&server, &paid.offered);
    assert_eq!((full.intent.as_str(), full.realm.as_str()), ("charge", "api.example"));
    // Alby's client sends only these back.
    let Challenge { id, intent, method, realm, request, expires, .. } = full.clone();
    let echoed = Challenge { id, intent, method, realm, request, expires, ..Challenge::default() };
    let proof = charged(&server, &echoed, paid.preimage).unwrap();
    assert_eq!(proof.challenge_id(), Some(full.id.as_str()));
    assert_eq!((proof.session, proof.payment_hash), (paid.proof.session, paid.proof.payment_hash));
    let by_charge = Payment { proof, ..paid.clone() };
    assert_eq!(refused(by_charge.redeem(&server, "hello!").await), PaidRequestError::AnotherRequest);
    let answer = by_charge.redeem(&server, "hello").await.unwrap();
    let again = paid.redeem(&server, "hello").await.unwrap();
    assert_eq!((again.response, again.replayed, scene.backend.works()), (answer.response, true, 1));
    assert_eq!(refused(by_charge.redeem(&server, "hello!").await), PaidRequestError::AnotherRequest);
    // The challenge has expired; the payment has not.
    scene.clock.advance(scene.settings.invoice_expiry * 2);
    let late = charged(&scene.server(), &full, paid.preimage).unwrap();
    assert!(Payment { proof: late, ..paid }.redeem(&server, "hello").await.unwrap().replayed);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_was_altered_or_not_paid_proves_nothing() {
    let scene = Scene::open().await;
    let server = scene.server();
    let (paid, other) =
        (Payment::of(&scene, &server, "hello").await, Payment::of(&scene, &server, "something else").await);
    let issued = challenge(&server, &paid.offered);
    let unpaid = invalid(charged(&server, &issued, other.preimage));
    assert_eq!(unpaid, InvalidProof::Challenge(Refused::Preimage));
    let swapped = Challenge { request: challenge(&server, &other.offered).request, ..issued.clone() };
    let altered = Challenge { realm: "other.example".to_owned(), ..issued };
    for (wrong, preimage) in [(swapped, other.preimage), (altered, paid.preimage)] {
        let unknown = invalid(charged(&server, &wrong, preimage));
        assert_eq!(unknown, InvalidProof::Challenge(Refused::UnknownChallenge));
    }
    let malformed = PresentedProof::Payment("Payment e30".to_owned());
    assert!(matches!(invalid(server.engine.sessions.proven(&malformed)), InvalidProof::PaymentCredential(_)));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_narrowed_allows_no_more_than_it_says() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::of(&scene, &server, "hello").await;
    let token: Macaroon = server.engine.sessions.l402_token(&paid.offered).unwrap().parse().unwrap();
    let narrowed = |caveat: Caveat| token.narrow(&caveat).unwrap().encode_standard();
    let now = tithe_clock::Clock::now(scene.clock.as_ref());
    let expired = proven(&server, &narrowed(Caveat::expires(now)), paid.preimage);
    assert_eq!(invalid(expired), InvalidProof::Expired);
    let redeem = async |token: &str| {
        let proof = proven(&server, token, paid.preimage).unwrap();
        Payment { proof, ..paid.clone() }.redeem(&server, "hello").await
    };
    let other_model = redeem(&narrowed(Caveat::models(["sim-small"]).unwrap())).await;
    assert!(matches!(&other_model, Err(EngineError::KeyModel { .. })), "{other_model:?}");
    let too_little = redeem(&narrowed(Limit::Total(Msats::new(1).unwrap()).into())).await;
    assert!(matches!(&too_little, Err(EngineError::KeyLimit(_))), "{too_little:?}");
    assert_eq!(scene.backend.works(), 0);
    redeem(&narrowed(Caveat::expires(now + Duration::from_secs(9)))).await.unwrap();
    scene.finish().await;
}
