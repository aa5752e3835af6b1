//! Requests that are paid for by themselves.

mod offers;
mod proofs;

use crate::scene::{Answer, Ends, Point, Scene, Server, poll_all};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tithe_chat::Chat;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::jobs::Origin;
use tithe_engine::metered::{Client, Prompt};
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{
    FinishedRequest, NewPaidRequest, OfferedRequest, PaidRequest, PaidWork, PaymentState, PaymentView,
    PresentedProof, RenderRequest,
};
use tithe_engine::{EngineError, InvalidProof, PaidRequestError};
use tithe_ledger::{AccountId, LedgerRepository};
use tithe_lightning::{Preimage, TestPayer};
use tithe_money::Msats;
use tithe_payouts::ObligationState;
use tithe_paywall::RequestDigest;
use tithe_pricing::{FinishReason, Usage};
use tithe_sessions::{RequestState, Session, SessionRepository};
use tithe_wallet_sim::{Fault, Operation};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Says which request it was and what comes back, so that a replay can be told from a new answer.
#[derive(Debug)]
pub struct Plainly;

impl RenderRequest for Plainly {
    fn render(&self, finished: &FinishedRequest) -> StoredResponse {
        let refund = finished.end.map(|end| end.refund.get());
        let body = format!("{} {} {refund:?}", finished.request.id, finished.request.state_name());
        StoredResponse { status: 200, body }
    }
}

pub fn digest(request: &str) -> RequestDigest {
    RequestDigest::of("POST", "/api/ask", "anonymous", request.as_bytes())
}

pub fn chat(request: &str) -> Prompt {
    Prompt::chat(Chat::of(request), request.as_bytes())
}

/// A text, which is evaluated first.
fn text(request: &str) -> NewPaidRequest {
    NewPaidRequest { prompt: Prompt::text(request.to_owned()), ..asked(request) }
}

pub fn asked(request: &str) -> NewPaidRequest {
    NewPaidRequest {
        prompt: chat(request),
        model: None,
        max_output_tokens: None,
        digest: digest(request),
        identity: None,
        origin: None,
        sent: None,
    }
}

pub fn asked_from(origin: &str, request: &str) -> NewPaidRequest {
    NewPaidRequest { origin: Some(Origin::new(origin)), ..asked(request) }
}

fn waiting() -> Client {
    Client {
        listener: None,
        begun: CancellationToken::new(),
        gone: CancellationToken::new(),
        sent: Arc::new(AtomicUsize::new(0)),
        backend: Arc::default(),
    }
}

pub fn work(request: &str) -> PaidWork {
    PaidWork { id: None, digest: digest(request), prompt: chat(request), client: waiting() }
}

/// The proof of a payment, as it is after it was checked.
pub fn proof(server: &Server, offered: &OfferedRequest, preimage: Preimage) -> PaidRequest {
    let token = server.engine.sessions.l402_token(offered).unwrap();
    proven(server, &token, preimage).unwrap()
}

fn proven(server: &Server, token: &str, preimage: Preimage) -> Result<PaidRequest, EngineError> {
    let proof = PresentedProof::L402(format!("L402 {token}:{}", preimage.reveal()));
    server.engine.sessions.proven(&proof)
}

/// A payment for a request.
#[derive(Clone)]
pub struct Payment {
    pub offered: OfferedRequest,
    pub preimage: Preimage,
    pub proof: PaidRequest,
}

impl Payment {
    /// A request is offered, and paid for; the ledger knows it.
    pub async fn make(scene: &Scene, server: &Server, new: NewPaidRequest) -> Self {
        let offered = server.engine.sessions.offer_request(new).await.unwrap();
        let preimage = scene.pay(offered.invoice.payment_hash).await;
        poll_all(&server.engine).await;
        let proof = proof(server, &offered, preimage);
        Self { offered, preimage, proof }
    }

    pub async fn of(scene: &Scene, server: &Server, request: &str) -> Self {
        Self::make(scene, server, asked(request)).await
    }

    pub async fn redeem(&self, server: &Server, request: &str) -> Result<KeyedResponse, EngineError> {
        server.engine.sessions.redeem(&self.proof, work(request), Arc::new(Plainly)).await
    }

    pub async fn view(&self, server: &Server) -> PaymentView {
        server.engine.sessions.payment(&self.proof).await.unwrap()
    }

    pub async fn claim(&self, server: &Server) -> Result<PaymentView, EngineError> {
        let address = Some("alice@example.com".parse().unwrap());
        server.engine.sessions.refund_payment(&self.proof, address).await
    }

    pub async fn session(&self, scene: &Scene) -> Session {
        scene.store.session(self.offered.session).await.unwrap().unwrap()
    }

    /// Nothing is lost: what was paid is charged, refunded or rounded.
    pub async fn assert_whole(&self, scene: &Scene, server: &Server) {
        let (view, session) = (self.view(server).await, self.session(scene).await);
        let end = session.end().unwrap_or_default();
        let left = scene.store.account(AccountId::Session(session.id.0)).await.unwrap().unwrap();
        let whole =
            view.charged.get() + end.refund.to_msats().get() + end.rounding.get() + left.balance().get();
        assert_eq!(whole, view.paid.get(), "{view:?} {session:?}");
        assert!(end.rounding.get() < 1_000, "{session:?}");
        assert_eq!(left.held(), Msats::ZERO);
    }
}

fn refused<T: std::fmt::Debug>(refused: Result<T, EngineError>) -> PaidRequestError {
    match refused {
        Err(EngineError::PaidRequest(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn invalid<T: std::fmt::Debug>(refused: Result<T, EngineError>) -> InvalidProof {
    match refused {
        Err(EngineError::InvalidProof(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn one_payment_buys_one_answer_and_what_it_did_not_cost_is_refunded() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::make(&scene, &server, text("hello")).await;
    assert_eq!(paid.offered.invoice.amount, paid.offered.price.to_msats());
    assert_eq!(paid.view(&server).await.state, PaymentState::Paid);
    let ask = || PaidWork { prompt: Prompt::text("hello".to_owned()), ..work("hello") };
    let answer = server.engine.sessions.redeem(&paid.proof, ask(), Arc::new(Plainly)).await.unwrap();
    assert!(!answer.replayed);
    let view = paid.view(&server).await;
    assert_eq!(view.state, PaymentState::Used);
    assert!(view.charged > Msats::ZERO && view.refund.accrued.get() > 0, "{view:?}");
    let body = format!("{} complete Some({})", view.request.unwrap(), view.refund.accrued.get());
    assert_eq!(answer.response.body, body);
    paid.assert_whole(&scene, &server).await;
    // Again, on another server.
    let again = scene.server().engine.sessions.redeem(&paid.proof, ask(), Arc::new(Plainly)).await.unwrap();
    assert_eq!((again.response, again.replayed), (answer.response, true));
    assert_eq!((scene.backend.evaluations(), scene.backend.works()), (1, 1));
    // The rest is claimed.
    let claimed = paid.claim(&server).await.unwrap();
    assert_eq!((claimed.state, claimed.refund.has_destination), (PaymentState::Used, true));
    let mut server = server;
    server.start();
    let paid_out = async || {
        let refund = paid.view(&server).await.refund;
        (refund.state == ObligationState::Paid).then_some(())
    };
    crate::scene::eventually("the refund is paid", paid_out).await;
    server.stop(Duration::from_secs(5)).await;
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_proof_64_times_at_once_on_two_servers_is_done_and_charged_once() {
    let scene = Scene::open().await;
    let servers = [Arc::new(scene.server()), Arc::new(scene.server_elsewhere().await)];
    let paid = Payment::of(&scene, &servers[0], "hello").await;
    let mut redeeming = JoinSet::new();
    for n in 0..64 {
        let (server, paid) = (servers[n % 2].clone(), paid.clone());
        redeeming.spawn(async move { paid.redeem(&server, "hello").await });
    }
    let answers = redeeming.join_all().await;
    let answers: Vec<KeyedResponse> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| answer.response == answers[0].response));
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert_eq!(scene.backend.works(), 1);
    let requests = scene.store.session_requests(paid.offered.session, None, 99).await.unwrap();
    assert_eq!(requests.len(), 1);
    paid.assert_whole(&scene, &servers[0]).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_proof_for_another_request_is_refused_and_changes_nothing() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::of(&scene, &server, "hello").await;
    let other = Payment::of(&scene, &server, "something else").await;
    let before = paid.session(&scene).await;
    assert_eq!(refused(paid.redeem(&server, "hello!").await), PaidRequestError::AnotherRequest);
    assert_eq!(refused(paid.redeem(&server, "something else").await), PaidRequestError::AnotherRequest);
    // Also when only the row can tell: the token says no more than half of a digest.
    let mut near = digest("hello").to_bytes();
    near[31] ^= 1;
    let near = PaidWork { digest: RequestDigest::from_bytes(near), ..work("hello") };
    let answer = server.engine.sessions.redeem(&paid.proof, near, Arc::new(Plainly)).await;
    assert_eq!(refused(answer), PaidRequestError::AnotherRequest);
    assert_eq!(paid.session(&scene).await, before);
    assert_eq!(scene.backend.works(), 0);
    paid.redeem(&server, "hello").await.unwrap();
    assert_eq!(refused(paid.redeem(&server, "hello!").await), PaidRequestError::AnotherRequest);
    other.redeem(&server, "something else").await.unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_charges_nothing_and_the_same_proof_succeeds_later() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::of(&scene, &server, "hello").await;
    for ends in [Ends::FailedAfter, Ends::Refused, Ends::Misconfigured] {
        scene.backend.say_to_work(Answer::of(&["half"], ends));
        let failed = paid.redeem(&server, "hello").await;
        let expected = matches!(failed, Err(EngineError::WorkFailed | EngineError::WorkRefused));
        assert!(expected, "{ends:?}: {failed:?}");
        let view = paid.view(&server).await;
        assert_eq!((view.state, view.charged), (PaymentState::Paid, Msats::ZERO), "{ends:?}");
    }
    let answer = paid.redeem(&scene.server(), "hello").await.unwrap();
    assert!(!answer.replayed);
    assert_eq!(paid.redeem(&server, "hello").await.unwrap().response, answer.response);
    paid.assert_whole(&scene, &server).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_payment_is_claimed_after_a_failure_and_then_buys_nothing() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::of(&scene, &server, "hello").await;
    scene.backend.say_to_work(Answer::of(&["half"], Ends::FailedAfter));
    assert!(paid.redeem(&server, "hello").await.is_err());
    let claimed = paid.claim(&server).await.unwrap();
    assert_eq!((claimed.state, claimed.refund.accrued), (PaymentState::Returned, paid.offered.price));
    assert_eq!(refused(paid.redeem(&server, "hello").await), PaidRequestError::Returned);
    let again = paid.claim(&server).await.unwrap();
    assert_eq!(again.refund.accrued, paid.offered.price);
    assert_eq!(scene.backend.works(), 1);
    paid.assert_whole(&scene, &server).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_payment_is_not_claimed_while_its_request_runs() {
    let scene = Scene::open().await;
    let server = Arc::new(scene.server());
    let paid = Payment::of(&scene, &server, "hello").await;
    let mut gate = scene.backend.gate(Point::Work);
    let redeeming = tokio::spawn({
        let (server, paid) = (server.clone(), paid.clone());
        async move { paid.redeem(&server, "hello").await }
    });
    gate.reached().await;
    assert_eq!(paid.view(&server).await.state, PaymentState::Running);
    assert_eq!(refused(paid.claim(&server).await), PaidRequestError::Running);
    gate.open();
    redeeming.await.unwrap().unwrap();
    assert_eq!(paid.claim(&server).await.unwrap().state, PaymentState::Used);
    scene.finish().await;
}

/// A payment that comes when its invoice has expired.
async fn late(scene: &Scene, server: &Server) -> Payment {
    let wallet = scene.wallet_whose_clock_stands().await;
    let offered = server.engine.sessions.offer_request(asked("hello")).await.unwrap();
    scene.clock.advance(scene.settings.invoice_expiry + Duration::from_secs(1));
    poll_all(&server.engine).await;
    let stored = scene.store.session(offered.session).await.unwrap().unwrap();
    assert!(stored.end().is_some(), "it has ended with its invoice");
    let preimage = wallet.pay(&offered.invoice.payment_request.parse().unwrap()).await.unwrap();
    let proof = proof(server, &offered, preimage);
    Payment { offered, preimage, proof }
}

#[tokio::test(start_paused = true)]
async fn a_late_payment_is_used() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = late(&scene, &server).await;
    scene.clock.advance(Duration::from_secs(1));
    // Nobody but the proof says that it has arrived.
    let answer = paid.redeem(&server, "hello").await.unwrap();
    assert!(!answer.replayed);
    paid.assert_whole(&scene, &server).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_proof_finds_a_payment_that_nobody_has_looked_for_in_a_long_time() {
    for uses in [true, false] {
        let scene = Scene::open().await;
        let server = scene.server();
        let paid = late(&scene, &server).await;
        // The wallet was away all this time, and nobody asks it about such an old invoice any more.
        scene.clock.advance(scene.settings.late_payment_window + Duration::from_hours(24 * 30));
        poll_all(&server.engine).await;
        if uses {
            assert!(!paid.redeem(&server, "hello").await.unwrap().replayed);
        } else {
            assert_eq!(paid.claim(&server).await.unwrap().refund.accrued, paid.offered.price);
        }
        paid.assert_whole(&scene, &server).await;
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_payment_is_claimed() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = late(&scene, &server).await;
    scene.clock.advance(Duration::from_secs(1));
    let claimed = paid.claim(&server).await.unwrap();
    assert_eq!((claimed.state, claimed.refund.accrued), (PaymentState::Returned, paid.offered.price));
    paid.assert_whole(&scene, &server).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_payment_is_looked_up_when_its_proof_comes() {
    let scene = Scene::open().await;
    let server = scene.server();
    let offered = server.engine.sessions.offer_request(asked("hello")).await.unwrap();
    let preimage = scene.pay(offered.invoice.payment_hash).await;
    let paid = Payment { proof: proof(&server, &offered, preimage), offered, preimage };
    paid.redeem(&server, "hello").await.unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_the_wallet_does_not_report_yet_is_neither_used_nor_claimed() {
    let scene = Scene::open().await;
    let server = scene.server();
    let offered = server.engine.sessions.offer_request(asked("hello")).await.unwrap();
    let preimage = scene.pay(offered.invoice.payment_hash).await;
    let paid = Payment { proof: proof(&server, &offered, preimage), offered, preimage };
    for _ in 0..100 {
        server.wallet_faults().queue(Operation::InvoiceStatus, Fault::Fail);
    }
    assert_eq!(refused(paid.redeem(&server, "hello").await), PaidRequestError::NotArrived);
    assert_eq!(refused(paid.claim(&server).await), PaidRequestError::NotArrived);
    assert_eq!(paid.view(&server).await.state, PaymentState::Pending);
    // The wallet of another server answers.
    paid.redeem(&scene.server_elsewhere().await, "hello").await.unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn another_price_changes_nothing_for_what_was_offered() {
    let mut scene = Scene::open().await;
    let (server, backend) = (scene.server(), scene.backend.clone());
    let (paid, other) =
        (Payment::of(&scene, &server, "hello").await, Payment::of(&scene, &server, "hello, too").await);
    let usage = Usage { input_tokens: 10, output_tokens: 1_000, ..Usage::ZERO };
    let say = || backend.say_to_work(Answer::of(&["an answer"], Ends::Finished(Some(usage))));
    say();
    paid.redeem(&server, "hello").await.unwrap();
    // A bitcoin is worth a tenth, and everything is priced for fewer tokens and another model.
    scene.prices.set(Some("10000"));
    say();
    scene.settings.paid_request_output_tokens = 9;
    scene.settings.work_model = "sim-small".to_owned();
    let server = scene.server();
    other.redeem(&server, "hello, too").await.unwrap();
    let charged = (paid.view(&server).await.charged, other.view(&server).await.charged);
    assert_eq!(charged.0, charged.1);
    let requests = scene.store.session_requests(other.offered.session, None, 9).await.unwrap();
    assert_eq!(
        (requests[0].limit, requests[0].model.as_str()),
        (other.offered.price.to_msats(), "sim-large")
    );
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_price_is_that_of_the_output_that_is_asked_for_and_the_most_that_is_charged() {
    let mut scene = Scene::open().await;
    scene.settings.paid_request_output_tokens = 1_000;
    let server = scene.server();
    let usage = Usage { input_tokens: 9, output_tokens: 9_000, ..Usage::ZERO };
    let mut prices = Vec::new();
    for (request, most) in [("short", Some(200)), ("usual", None), ("long", Some(4_000))] {
        let new = NewPaidRequest { max_output_tokens: most, ..asked(request) };
        let paid = Payment::make(&scene, &server, new).await;
        prices.push(paid.offered.price.get());
        // A backend that goes on and on.
        scene.backend.say_to_work(Answer::of(&["an answer"], Ends::Finished(Some(usage))));
        paid.redeem(&server, request).await.unwrap();
        let requests = scene.store.session_requests(paid.offered.session, None, 9).await.unwrap();
        let price = paid.offered.price.to_msats();
        assert_eq!(requests[0].limit, price);
        assert!(requests[0].cost().unwrap().charged <= price, "{requests:?}");
        paid.assert_whole(&scene, &server).await;
    }
    assert!(prices.is_sorted() && prices[0] < prices[2] / 10, "{prices:?}");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_paid_for_is_finished_also_if_nobody_waits() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::of(&scene, &server, "hello").await;
    scene.backend.say_to_work(Answer::of(&["one ", "two ", "three"], Ends::Finished(None)));
    let new = work("hello");
    new.client.gone.cancel();
    server.engine.sessions.redeem(&paid.proof, new, Arc::new(Plainly)).await.unwrap();
    let requests = scene.store.session_requests(paid.offered.session, None, 9).await.unwrap();
    let RequestState::Complete { result, .. } = &requests[0].state else { panic!("{requests:?}") };
    assert_eq!((&*result.text, result.finish), ("one two three", FinishReason::Stop));
    assert!(paid.redeem(&server, "hello").await.unwrap().replayed);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_is_not_used_in_time_is_refunded() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::of(&scene, &server, "hello").await;
    let session = server.session_with_return("bob@example.com", 1_000).await;
    scene.pay(session.invoice).await;
    poll_all(&server.engine).await;
    scene.clock.advance(scene.settings.paid_request_idle.checked_sub(Duration::from_secs(1)).unwrap());
    server.engine.sweep().await.unwrap();
    assert_eq!(paid.view(&server).await.state, PaymentState::Paid);
    scene.clock.advance(Duration::from_secs(2));
    server.engine.sweep().await.unwrap();
    let view = paid.view(&server).await;
    assert_eq!((view.state, view.refund.accrued), (PaymentState::Expired, paid.offered.price));
    assert_eq!(refused(paid.redeem(&server, "hello").await), PaidRequestError::Expired);
    let claimed = paid.claim(&server).await.unwrap();
    assert!(claimed.refund.has_destination);
    let prepaid = scene.store.session(session.id).await.unwrap().unwrap();
    assert_eq!(prepaid.end(), None, "a prepaid session has more time");
    paid.assert_whole(&scene, &server).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_longer_stored_is_said_to_have_been_bought() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::of(&scene, &server, "hello").await;
    paid.redeem(&server, "hello").await.unwrap();
    scene.clock.advance(scene.settings.idempotency_keep + Duration::from_secs(1));
    server.engine.sweep().await.unwrap();
    assert_eq!(refused(paid.redeem(&server, "hello").await), PaidRequestError::Used);
    assert_eq!(scene.backend.works(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_always_fails_is_not_tried_for_ever() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::of(&scene, &server, "hello").await;
    for _ in 0..20 {
        scene.backend.say_to_work(Answer::of(&["half"], Ends::Refused));
        assert!(paid.redeem(&server, "hello").await.is_err());
    }
    assert_eq!(refused(paid.redeem(&server, "hello").await), PaidRequestError::Failing);
    assert_eq!(scene.backend.works(), 20);
    let claimed = paid.claim(&server).await.unwrap();
    assert_eq!((claimed.state, claimed.refund.accrued), (PaymentState::Returned, claimed.price));
    paid.assert_whole(&scene, &server).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_of_an_own_id_has_it() {
    let scene = Scene::open().await;
    let server = scene.server();
    let paid = Payment::of(&scene, &server, "hello").await;
    let id = Uuid::from_u128(77);
    let new = PaidWork { id: Some(id), ..work("hello") };
    server.engine.sessions.redeem(&paid.proof, new, Arc::new(Plainly)).await.unwrap();
    assert_eq!(paid.view(&server).await.request.unwrap().0, id);
    scene.finish().await;
}
