//! Deposits of the scheme `Payment`: opened, used, topped up, closed.

mod claims;
mod crashes;
mod races;
mod repeats;
mod streams;
mod top_ups;

use crate::scene::{Answer, Ends, Scene, Server, poll_all};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tithe_chat::Chat;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::jobs::Origin;
use tithe_engine::metered::{Client, Prompt};
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{
    ClosedPaymentSession, FinishedRequest, NewDeposit, NewWork, OfferedDeposit, PaymentSessionAccess,
    PaymentSessionError, RenderRequest, SessionCredential,
};
use tithe_engine::{EngineError, InvalidProof};
use tithe_ledger::{AccountId, LedgerRepository};
use tithe_lightning::{Bolt11, Direction, PaymentHash, Preimage, TestPayer, Wallet};
use tithe_money::{Msats, Sats};
use tithe_paywall::RequestDigest;
use tithe_paywall::payment::{Challenge, RefundStatus, SessionAction};
use tithe_pricing::Usage;
use tithe_sessions::{Session, SessionRepository, StateName};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub struct Plainly;

impl RenderRequest for Plainly {
    fn render(&self, finished: &FinishedRequest) -> StoredResponse {
        let body = format!("{} {}", finished.request.id, finished.request.state_name());
        StoredResponse { status: 200, body }
    }
}

pub fn sats(n: u64) -> Sats {
    Sats::new(n).unwrap()
}

pub fn digest(request: &str) -> RequestDigest {
    RequestDigest::of("POST", "/v1/chat/completions", "anonymous", request.as_bytes())
}

pub fn asked() -> NewDeposit {
    NewDeposit { unit: sats(10), identity: None, origin: None }
}

/// A scene whose servers find out soon what became of a payment.
pub async fn hasty() -> Scene {
    let mut scene = Scene::open().await;
    scene.settings.payout_timeout = Duration::from_secs(4);
    scene.settings.payout_doubt = Duration::from_secs(10);
    scene
}

/// An invoice of a client's, without an amount.
pub async fn return_invoice(scene: &Scene) -> Bolt11 {
    scene.wallet.invoice(Sats::ZERO).await.unwrap()
}

/// What the wallet has sent to somebody else.
pub async fn sent(scene: &Scene) -> Vec<(PaymentHash, Msats)> {
    let wallet = scene.wallet_whose_clock_stands().await;
    let listed = wallet.payments_settled(tithe_clock::Timestamp::UNIX_EPOCH).await.unwrap();
    let outgoing = listed.into_iter().filter(|payment| payment.direction == Direction::Outgoing);
    outgoing.map(|payment| (payment.payment_hash, payment.amount)).collect()
}

pub fn client() -> Client {
    Client {
        listener: None,
        begun: CancellationToken::new(),
        gone: CancellationToken::new(),
        sent: Arc::new(AtomicUsize::new(0)),
        backend: Arc::default(),
    }
}

pub fn work(access: &PaymentSessionAccess, request: &str) -> NewWork {
    NewWork {
        access: access.access.clone(),
        id: None,
        prompt: Prompt::chat(Chat::of(request), request.as_bytes()),
        model: Some("sim-large".to_owned()),
        max_output_tokens: Some(200),
        client: client(),
        replenish: None,
    }
}

/// What a client knows of a deposit.
#[derive(Clone)]
pub struct Deposit {
    pub offered: OfferedDeposit,
    pub preimage: Preimage,
    pub challenge: Challenge,
    pub return_invoice: Bolt11,
}

/// A challenge as a client gets it that sends no credential.
pub async fn challenged(server: &Server) -> (OfferedDeposit, Challenge) {
    let offered = server.engine.sessions.offer_deposit(asked()).await.unwrap();
    let header = server.engine.sessions.session_challenge(&offered, "tithe.example").unwrap();
    (offered, Challenge::parse_all(&header).remove(0))
}

pub fn credential(
    server: &Server,
    challenge: &Challenge,
    action: &SessionAction,
) -> Result<SessionCredential, EngineError> {
    server.engine.sessions.session_credential(&challenge.answer_session(action))
}

impl Deposit {
    /// A deposit that was paid; the ledger knows it.
    pub async fn paid(scene: &Scene, server: &Server) -> Self {
        let (offered, challenge) = challenged(server).await;
        let preimage = scene.pay(offered.invoice.payment_hash).await;
        poll_all(&server.engine).await;
        Self { offered, preimage, challenge, return_invoice: return_invoice(scene).await }
    }

    pub async fn opened(scene: &Scene, server: &Server) -> Self {
        let deposit = Self::paid(scene, server).await;
        deposit.open(server).await.unwrap();
        deposit
    }

    pub fn hash(&self) -> PaymentHash {
        self.offered.invoice.payment_hash
    }

    fn secret(&self) -> [u8; 32] {
        hex::decode(self.preimage.reveal()).unwrap().try_into().unwrap()
    }

    pub fn opening(&self, server: &Server, return_invoice: &str) -> SessionCredential {
        let return_invoice = return_invoice.to_owned();
        let action = SessionAction::Open { preimage: self.secret(), return_invoice };
        credential(server, &self.challenge, &action).unwrap()
    }

    pub async fn open(&self, server: &Server) -> Result<PaymentSessionAccess, EngineError> {
        let opening = self.opening(server, self.return_invoice.as_str());
        server.engine.sessions.open_payment_session(&opening).await
    }

    /// The credential of a request, with a fresh challenge: all that it takes is what every node on the way knows.
    pub async fn bearing(&self, server: &Server) -> SessionCredential {
        let (_, challenge) = challenged(server).await;
        let session_id = *self.hash().as_bytes();
        credential(server, &challenge, &SessionAction::Bearer { session_id, preimage: self.secret() })
            .unwrap()
    }

    pub async fn closing(&self, server: &Server) -> SessionCredential {
        let (_, challenge) = challenged(server).await;
        let session_id = *self.hash().as_bytes();
        credential(server, &challenge, &SessionAction::Close { session_id, preimage: self.secret() }).unwrap()
    }

    pub async fn close(&self, server: &Server) -> Result<ClosedPaymentSession, EngineError> {
        server.engine.sessions.close_by_payment(&self.closing(server).await).await
    }

    /// This deposit, for the session of another one.
    pub fn topping_up(&self, server: &Server, session: &Self) -> SessionCredential {
        let session_id = *session.hash().as_bytes();
        let action = SessionAction::TopUp { session_id, top_up_preimage: self.secret() };
        credential(server, &self.challenge, &action).unwrap()
    }

    pub async fn session(&self, scene: &Scene) -> Session {
        scene.store.session(self.offered.session).await.unwrap().unwrap()
    }

    pub async fn balance(&self, scene: &Scene) -> Msats {
        let account = scene.store.account(AccountId::Session(self.offered.session.0)).await.unwrap();
        account.map_or(Msats::ZERO, |account| account.balance())
    }
}

/// Does a request with a credential that was opened, or of an open session.
pub async fn request(
    server: &Server,
    credential: &SessionCredential,
    text: &str,
) -> Result<KeyedResponse, EngineError> {
    let sessions = &server.engine.sessions;
    let access = match credential.action() {
        SessionAction::Open { .. } => sessions.open_payment_session(credential).await?,
        _ => sessions.bearer(credential).await?,
    };
    let key = sessions.key_of_challenge(credential, &access, digest(text));
    sessions.request(work(&access, text), Some(key), Arc::new(Plainly)).await
}

pub fn refused<T: std::fmt::Debug>(refused: Result<T, EngineError>) -> PaymentSessionError {
    match refused {
        Err(EngineError::PaymentSession(why)) => why,
        other => panic!("{other:?}"),
    }
}

pub fn say(scene: &Scene, output_tokens: u64) {
    let usage = Usage { input_tokens: 10, output_tokens, ..Usage::ZERO };
    scene.backend.say_to_work(Answer::of(&["an answer"], Ends::Finished(Some(usage))));
}

#[tokio::test(start_paused = true)]
async fn a_deposit_is_opened_used_and_closed_and_the_rest_goes_to_its_return_invoice() {
    let scene = hasty().await;
    let server = scene.started();
    let deposit = Deposit::paid(&scene, &server).await;
    assert_eq!(deposit.offered.deposit, sats(200), "20 units");
    say(&scene, 100);
    let opening = deposit.opening(&server, deposit.return_invoice.as_str());
    let first = request(&server, &opening, "hello").await.unwrap();
    assert!(!first.replayed);
    say(&scene, 50);
    request(&server, &deposit.bearing(&server).await, "and now?").await.unwrap();
    let spent = deposit.session(&scene).await.spent(deposit.balance(&scene).await);
    assert!(!spent.is_zero());
    let left = sats(200).to_msats().saturating_sub(spent).to_sats_rounding_down();
    let payable = scene.settings.payout_fees.quote(left).unwrap().payable;
    let closed = deposit.close(&server).await.unwrap();
    let expected = ClosedPaymentSession {
        payment_hash: deposit.hash(),
        refund: payable,
        status: RefundStatus::Succeeded,
        is_pending: false,
    };
    assert_eq!(closed, expected);
    assert_eq!(sent(&scene).await, [(deposit.return_invoice.payment_hash(), payable.to_msats())]);
    // Closing again tells the same, and nothing is served any more, but for what was.
    assert_eq!(deposit.close(&server).await.unwrap(), expected);
    assert_eq!(sent(&scene).await.len(), 1);
    let bearing = deposit.bearing(&server).await;
    assert_eq!(refused(request(&server, &bearing, "more").await), PaymentSessionError::Ended);
    assert_eq!(request(&server, &opening, "hello").await.unwrap().response, first.response);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_return_invoice_is_refused_before_anything_is_used_up() {
    let scene = Scene::open().await;
    let server = scene.server();
    let deposit = Deposit::paid(&scene, &server).await;
    let mainnet = "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql";
    let with_amount = scene.wallet.invoice(sats(5)).await.unwrap();
    let own = &deposit.offered.invoice.payment_request;
    let old = return_invoice(&scene).await;
    let before = deposit.session(&scene).await;
    for (invoice, why) in [
        ("lnbc1", "expected a BOLT11 payment request"),
        ("alice@example.com", "expected a BOLT11 payment request"),
        (mainnet, "expected one of regtest, got one of mainnet"),
        (with_amount.as_str(), "expected one without an amount, got 5000 msat"),
        (own.as_str(), "expected one without an amount, got 200000 msat"),
    ] {
        let opened = server.engine.sessions.open_payment_session(&deposit.opening(&server, invoice)).await;
        assert_eq!(refused(opened), PaymentSessionError::ReturnInvoice(why.to_owned()), "{invoice}");
    }
    assert_eq!(deposit.session(&scene).await, before);
    deposit.open(&server).await.unwrap();
    // One that has expired, for another deposit.
    let second = Deposit::paid(&scene, &server).await;
    scene.clock.advance(Duration::from_hours(24 * 61));
    let opened = server.engine.sessions.open_payment_session(&second.opening(&server, old.as_str())).await;
    let why = PaymentSessionError::ReturnInvoice("expected one that has not expired".to_owned());
    assert_eq!(refused(opened), why);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_deposit_is_opened_once() {
    let scene = Scene::open().await;
    let server = scene.server();
    let deposit = Deposit::paid(&scene, &server).await;
    let (first, again) = (deposit.open(&server).await.unwrap(), deposit.open(&server).await.unwrap());
    assert_eq!((first.clone(), first.payment_hash), (again, deposit.hash()));
    // Spelt differently, it is the same.
    let shouted = deposit.opening(&server, &deposit.return_invoice.as_str().to_uppercase());
    assert_eq!(server.engine.sessions.open_payment_session(&shouted).await.unwrap(), first);
    let other = deposit.opening(&server, return_invoice(&scene).await.as_str());
    let opened = server.engine.sessions.open_payment_session(&other).await;
    assert_eq!(refused(opened), PaymentSessionError::UsedForAnotherRequest);
    assert_eq!(deposit.session(&scene).await.kind.return_invoice(), Some(deposit.return_invoice.as_str()));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_deposit_that_has_not_arrived_opens_nothing_until_it_has() {
    let scene = Scene::open().await;
    let server = scene.server();
    let (offered, challenge) = challenged(&server).await;
    let preimage = scene.pay(offered.invoice.payment_hash).await;
    let return_invoice = return_invoice(&scene).await;
    let deposit = Deposit { offered, preimage, challenge, return_invoice };
    for _ in 0..100 {
        server
            .wallet_faults()
            .queue(tithe_wallet_sim::Operation::InvoiceStatus, tithe_wallet_sim::Fault::Fail);
    }
    assert_eq!(refused(deposit.open(&server).await), PaymentSessionError::NotArrived);
    // The wallet of another server answers, and nobody but the credential says that it was paid.
    deposit.open(&scene.server_elsewhere().await).await.unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_deposit_is_opened_used_and_refunded() {
    let scene = hasty().await;
    let server = scene.started();
    let wallet = scene.wallet_whose_clock_stands().await;
    let (offered, challenge) = challenged(&server).await;
    scene.clock.advance(scene.settings.invoice_expiry + Duration::from_secs(1));
    poll_all(&server.engine).await;
    let preimage = wallet.pay(&offered.invoice.payment_request.parse().unwrap()).await.unwrap();
    scene.clock.advance(Duration::from_secs(1));
    let deposit = Deposit { offered, preimage, challenge, return_invoice: return_invoice(&scene).await };
    deposit.open(&server).await.unwrap();
    request(&server, &deposit.bearing(&server).await, "hello").await.unwrap();
    let closed = deposit.close(&server).await.unwrap();
    assert_eq!(closed.status, RefundStatus::Succeeded);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_uses_is_refunded_to_its_return_invoice() {
    let scene = hasty().await;
    let server = scene.started();
    let deposit = Deposit::opened(&scene, &server).await;
    assert_eq!(deposit.offered.idle, Duration::from_hours(1));
    scene.clock.advance(scene.settings.payment_session_idle.checked_sub(Duration::from_secs(1)).unwrap());
    server.engine.sessions.sweep().await.unwrap();
    assert_eq!(deposit.session(&scene).await.stored_state_name(), StateName::Active);
    scene.clock.advance(Duration::from_secs(2));
    server.engine.sessions.sweep().await.unwrap();
    assert_eq!(deposit.session(&scene).await.stored_state_name(), StateName::Expired);
    let bearing = deposit.bearing(&server).await;
    assert_eq!(refused(request(&server, &bearing, "hello").await), PaymentSessionError::Ended);
    // Its client asks what has become of it.
    assert_eq!(deposit.close(&server).await.unwrap().status, RefundStatus::Succeeded);
    assert_eq!(sent(&scene).await[0].0, deposit.return_invoice.payment_hash());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_deposit_that_expired_unopened_is_refunded_when_it_is_opened() {
    let scene = hasty().await;
    let server = scene.started();
    let deposit = Deposit::paid(&scene, &server).await;
    scene.clock.advance(scene.settings.payment_session_idle * 2);
    server.engine.sessions.sweep().await.unwrap();
    assert_eq!(deposit.session(&scene).await.stored_state_name(), StateName::Active, "it has more time");
    scene.clock.advance(scene.settings.paid_request_idle);
    server.engine.sessions.sweep().await.unwrap();
    assert_eq!(deposit.session(&scene).await.stored_state_name(), StateName::Expired);
    assert_eq!(refused(deposit.open(&server).await), PaymentSessionError::Ended);
    let closed = deposit.close(&server).await.unwrap();
    assert_eq!((closed.status, sent(&scene).await.len()), (RefundStatus::Succeeded, 1));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn too_little_to_be_paid_out_is_skipped() {
    let mut scene = hasty().await;
    scene.settings.session_payment_min = sats(1);
    scene.settings.payment_session_deposit = sats(3);
    let server = scene.started();
    let new = NewDeposit { unit: sats(3), ..asked() };
    let offered = server.engine.sessions.offer_deposit(new).await.unwrap();
    let header = server.engine.sessions.session_challenge(&offered, "tithe.example").unwrap();
    let challenge = Challenge::parse_all(&header).remove(0);
    let preimage = scene.pay(offered.invoice.payment_hash).await;
    let deposit = Deposit { offered, preimage, challenge, return_invoice: return_invoice(&scene).await };
    deposit.open(&server).await.unwrap();
    let closed = deposit.close(&server).await.unwrap();
    // The routing fee may be as much.
    assert_eq!((closed.refund, closed.status, closed.is_pending), (sats(3), RefundStatus::Skipped, false));
    assert_eq!(sent(&scene).await, []);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn each_offer_is_a_deposit_of_its_own_within_its_limits() {
    let mut scene = Scene::open().await;
    scene.settings.session_payment_min = sats(100);
    scene.settings.session_payment_max = sats(5_000);
    let server = scene.server();
    let offer = async |unit: u64, origin: Option<&str>| {
        let new = NewDeposit { unit: sats(unit), origin: origin.map(Origin::new), ..asked() };
        server.engine.sessions.offer_deposit(new).await
    };
    let first = offer(10, Some("192.0.2.1")).await.unwrap();
    // Whoever shares an address with another could open what that one pays.
    assert_ne!(offer(10, Some("192.0.2.1")).await.unwrap().session, first.session);
    assert_ne!(offer(10, Some("192.0.2.2")).await.unwrap().session, first.session);
    for (unit, deposit) in [(1, 100), (10, 200), (250, 5_000), (5_000, 5_000)] {
        let offered = offer(unit, None).await.unwrap();
        assert_eq!((offered.deposit, offered.invoice.amount), (sats(deposit), sats(deposit).to_msats()));
    }
    for unit in [0, 5_001] {
        assert_eq!(refused(offer(unit, None).await), PaymentSessionError::NotOffered);
    }
    scene.settings.payment_session_deposit = sats(777);
    let server = scene.server();
    let offered = server.engine.sessions.offer_deposit(asked()).await.unwrap();
    assert_eq!(offered.deposit, sats(777));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_was_altered_or_is_for_something_else_proves_nothing() {
    let scene = Scene::open().await;
    let server = scene.server();
    let deposit = Deposit::paid(&scene, &server).await;
    let (_, other) = challenged(&server).await;
    let (preimage, session_id) = (deposit.secret(), *deposit.hash().as_bytes());
    let return_invoice = deposit.return_invoice.to_string();
    // The preimage of one deposit opens no other, whoever asked for the challenge.
    for (challenge, action) in [
        (&other, SessionAction::Open { preimage, return_invoice }),
        (&other, SessionAction::TopUp { session_id, top_up_preimage: preimage }),
        (&other, SessionAction::Bearer { session_id, preimage: [1; 32] }),
        (&other, SessionAction::Close { session_id, preimage: [1; 32] }),
    ] {
        let refused = credential(&server, challenge, &action);
        assert!(matches!(refused, Err(EngineError::InvalidProof(InvalidProof::Challenge(_)))), "{refused:?}");
    }
    let altered = Challenge { request: other.request.clone(), ..deposit.challenge.clone() };
    let refused = credential(&server, &altered, &SessionAction::Bearer { session_id, preimage });
    assert!(matches!(refused, Err(EngineError::InvalidProof(_))), "{refused:?}");
    let charge = server.engine.sessions.session_credential(&deposit.challenge.answer_charge(&preimage));
    assert!(matches!(charge, Err(EngineError::InvalidProof(_))), "{charge:?}");
    scene.finish().await;
}
