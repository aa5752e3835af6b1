//! Requests that are done while their payment is held: it is taken for the answer, and given back if there is none.

use crate::paid_requests::{Plainly, asked, chat, proof, work};
use crate::scene::{
    Answer, Call, CallFault, Ends, Op, Point, Port, Scene, Server, When, eventually, poll_all, somebody,
};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Clock;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::metered::Prompt;
use tithe_engine::records::{TextOwner, TextsFound};
use tithe_engine::sessions::{
    NewPaidRequest, OfferedRequest, PaymentState, PaymentView, ReadRequest, ReadSent,
};
use tithe_ledger::TransferKind;
use tithe_lightning::{InvoiceState, Preimage, TestPayer, TestPaymentError};
use tithe_money::Msats;
use tithe_sessions::{KeptRequest, KeptState, SentRequest, Session, SessionRepository, SessionState};
use tithe_wallet_sim::{Fault, Operation};
use tokio::task::JoinSet;

pub const SETTLE: Call = Call { port: Port::Wallet, name: "hold_invoice_settle" };
pub const CANCEL: Call = Call { port: Port::Wallet, name: "hold_invoice_cancel" };

/// Reads a body as a chat, or as a text, which is evaluated first.
struct Reading(fn(&str) -> Prompt);

impl ReadSent for Reading {
    fn read(&self, sent: &SentRequest) -> Option<ReadRequest> {
        let text = std::str::from_utf8(&sent.body).ok()?;
        Some(ReadRequest { prompt: (self.0)(text), render: Arc::new(Plainly) })
    }
}

pub fn sent(request: &str) -> SentRequest {
    SentRequest {
        method: "POST".to_owned(),
        path: "/api/ask".to_owned(),
        query: None,
        headers: Vec::new(),
        body: request.as_bytes().to_vec(),
    }
}

/// A request that may be kept.
pub fn keepable(request: &str) -> NewPaidRequest {
    NewPaidRequest { sent: Some(Arc::new(sent(request))), ..asked(request) }
}

/// A scene whose operator wants requests to be held.
pub async fn holding() -> Scene {
    let mut scene = Scene::open().await;
    scene.settings.hold_requests = true;
    scene
}

/// A server that reads what it keeps.
pub fn reading(server: Server) -> Server {
    server.engine.sessions.read_sent_with(Arc::new(Reading(chat)));
    server
}

/// A server that evaluates what it keeps before it does it.
pub fn evaluating(server: Server) -> Server {
    server.engine.sessions.read_sent_with(Arc::new(Reading(|text| Prompt::text(text.to_owned()))));
    server
}

pub fn started(scene: &Scene) -> Server {
    let mut server = reading(scene.server());
    server.start();
    server
}

pub async fn offer(server: &Server, request: &str) -> OfferedRequest {
    server.engine.sessions.offer_request(keepable(request)).await.unwrap()
}

/// The customer's wallet: it pays, or says what has become of its payment.
pub async fn payment(scene: &Scene, offered: &OfferedRequest) -> Result<Preimage, TestPaymentError> {
    scene.wallet.pay(&offered.invoice.payment_request.parse().unwrap()).await
}

/// The customer pays, and their wallet waits.
pub async fn pay_held(scene: &Scene, offered: &OfferedRequest) {
    assert!(offered.is_held);
    assert!(matches!(payment(scene, offered).await, Err(TestPaymentError::Held(_))));
}

pub async fn kept(scene: &Scene, offered: &OfferedRequest) -> Option<KeptRequest> {
    scene.store.kept_request(offered.session).await.unwrap()
}

pub async fn until_kept(
    scene: &Scene,
    offered: &OfferedRequest,
    wanted: impl Fn(&KeptState) -> bool,
) -> KeptRequest {
    let look = async || kept(scene, offered).await.filter(|kept| wanted(&kept.state));
    eventually("the kept request is as wanted", look).await
}

pub async fn session(scene: &Scene, offered: &OfferedRequest) -> Session {
    scene.store.session(offered.session).await.unwrap().unwrap()
}

/// The payer gets the preimage.
pub async fn taken(scene: &Scene, offered: &OfferedRequest) -> Preimage {
    eventually("the payment is taken", async || payment(scene, offered).await.ok()).await
}

/// The payer gets the money back, and has bought nothing.
pub async fn assert_given_back(scene: &Scene, offered: &OfferedRequest) {
    let returned = async || match payment(scene, offered).await {
        Err(TestPaymentError::Returned(_)) => Some(()),
        Err(TestPaymentError::Held(_)) => None,
        other => panic!("{other:?}"),
    };
    eventually("the payment goes back", returned).await;
    let ended = async || {
        let kept = kept(scene, offered).await;
        kept.is_none_or(|kept| kept.state == KeptState::Ended && kept.sent.is_none()).then_some(())
    };
    eventually("nothing of it is kept", ended).await;
    let session = session(scene, offered).await;
    assert_eq!(session.paid_in, Msats::ZERO);
    assert!(scene.store.session_requests(session.id, None, 9).await.unwrap().is_empty());
}

/// What nobody has paid for of a request, in msats.
pub async fn uncollected(scene: &Scene) -> u64 {
    let transfers = scene.transfers().await;
    transfers.iter().filter(|it| it.kind == TransferKind::Uncollected).map(|it| it.amount.get()).sum()
}

pub async fn redeem(
    server: &Server,
    offered: &OfferedRequest,
    preimage: Preimage,
    request: &str,
) -> KeyedResponse {
    let paid = proof(server, offered, preimage);
    server.engine.sessions.redeem(&paid, work(request), Arc::new(Plainly)).await.unwrap()
}

async fn view(server: &Server, offered: &OfferedRequest, preimage: Preimage) -> PaymentView {
    server.engine.sessions.payment(&proof(server, offered, preimage)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_is_done_before_its_payment_is_taken_and_its_proof_has_the_answer() {
    let scene = holding().await;
    let server = started(&scene);
    let offered = offer(&server, "hello").await;
    let mut gate = scene.backend.gate(Point::Work);
    pay_held(&scene, &offered).await;
    gate.reached().await;
    assert!(matches!(until_kept(&scene, &offered, |_| true).await.state, KeptState::Held { .. }));
    assert_eq!(
        session(&scene, &offered).await.state,
        SessionState::AwaitingPayment,
        "nobody has received it"
    );
    assert_eq!(server.wallet_balance().await, Msats::ZERO);
    gate.open();
    let preimage = taken(&scene, &offered).await;
    let answer = redeem(&server, &offered, preimage, "hello").await;
    assert!(answer.replayed, "it was done before");
    let view = view(&server, &offered, preimage).await;
    assert_eq!((view.state, view.paid), (PaymentState::Used, offered.price.to_msats()));
    assert!(!view.charged.is_zero() && !view.refund.accrued.is_zero(), "what was not used is due");
    let body = format!("{} complete Some({})", view.request.unwrap(), view.refund.accrued.get());
    assert_eq!(answer.response.body, body, "it says what was charged and refunded afterwards");
    assert_eq!((scene.backend.works(), uncollected(&scene).await), (1, 0));
    assert!(matches!(scene.invoice(offered.invoice.payment_hash).await.state, InvoiceState::Paid { .. }));
    let kept = kept(&scene, &offered).await.unwrap();
    assert_eq!((kept.state, kept.sent), (KeptState::Ended, None));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_gives_the_payment_back_and_the_customer_can_ask_again() {
    for ends in [Ends::Refused, Ends::Finished(None)] {
        let scene = holding().await;
        let server = started(&scene);
        let offered = offer(&server, "hello").await;
        scene.backend.say_to_work(Answer::of(&[], ends));
        pay_held(&scene, &offered).await;
        assert_given_back(&scene, &offered).await;
        assert!(matches!(session(&scene, &offered).await.state, SessionState::Expired(_)));
        let again = offer(&server, "hello").await;
        assert_ne!(again.session, offered.session);
        pay_held(&scene, &again).await;
        let preimage = taken(&scene, &again).await;
        assert!(redeem(&server, &again, preimage, "hello").await.replayed);
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_comes_after_the_offer_has_ended_is_given_back() {
    for swept in [false, true] {
        let scene = holding().await;
        let server = if swept { started(&scene) } else { reading(scene.server()) };
        let offered = offer(&server, "hello").await;
        scene.clock.advance(offered.invoice.expires_at.since(scene.clock.now()) + Duration::from_secs(1));
        if swept {
            let gone = async || kept(&scene, &offered).await.is_none().then_some(());
            eventually("the text is deleted", gone).await;
        }
        // The wallet takes payments for longer.
        pay_held(&scene, &offered).await;
        let _server = if swept { server } else { started(&scene) };
        assert_given_back(&scene, &offered).await;
        assert_eq!(scene.backend.works(), 0);
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_settlement_or_a_cancellation_is_tried_until_the_wallets_record_says_that_it_is_done() {
    let faults = [
        CallFault::Away,
        CallFault::Lost { happens: true },
        CallFault::Lost { happens: false },
        CallFault::Silent { happens: true },
        CallFault::Silent { happens: false },
        CallFault::Refused,
    ];
    for fault in faults {
        for fails in [false, true] {
            let scene = holding().await;
            let server = started(&scene);
            let call = if fails { CANCEL } else { SETTLE };
            server.power.calls.plan(call, 1, fault, scene.store_faults.clone());
            let offered = offer(&server, "hello").await;
            if fails {
                scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
            }
            pay_held(&scene, &offered).await;
            if fails {
                assert_given_back(&scene, &offered).await;
            } else {
                let preimage = taken(&scene, &offered).await;
                assert!(redeem(&server, &offered, preimage, "hello").await.replayed, "{fault:?}");
                assert_eq!((scene.backend.works(), uncollected(&scene).await), (1, 0), "{fault:?}");
            }
            assert!(server.power.calls.has_struck(), "{fault:?}");
            scene.finish().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn work_whose_payment_had_gone_back_is_not_delivered_and_is_the_operators_loss() {
    let scene = holding().await;
    let server = started(&scene);
    server.power.calls.plan(SETTLE, 1, CallFault::Goes(When::Before), scene.store_faults.clone());
    let offered = offer(&server, "hello").await;
    pay_held(&scene, &offered).await;
    until_kept(&scene, &offered, |state| matches!(state, KeptState::Settling { .. })).await;
    // The wallet is away until the payment has gone back by itself.
    scene.clock.advance(Duration::from_hours(3));
    tokio::time::sleep(Duration::from_mins(1)).await;
    let waiting = kept(&scene, &offered).await.unwrap();
    assert!(matches!(waiting.state, KeptState::Settling { .. }), "nothing is given up");
    server.power.calls.mend();
    assert_given_back(&scene, &offered).await;
    assert!(uncollected(&scene).await > 0);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_proof_64_times_at_once_between_settlement_and_credit_replays_one_answer_on_two_servers() {
    let scene = holding().await;
    let mut worker = reading(scene.server_elsewhere().await);
    // It dies when the wallet has taken the payment, and before the ledger knows: at its fourth commit.
    worker.power.cut_at(Op::Commit, 4, When::Before);
    worker.start();
    let servers = [Arc::new(reading(scene.server())), Arc::new(reading(scene.server_elsewhere().await))];
    let offered = offer(&servers[1], "hello").await;
    pay_held(&scene, &offered).await;
    worker.power.goes_off().await;
    let preimage = taken(&scene, &offered).await;
    assert!(matches!(scene.invoice(offered.invoice.payment_hash).await.state, InvoiceState::Pending));
    let mut redeeming = JoinSet::new();
    for n in 0..64 {
        let (server, offered, preimage) = (servers[n % 2].clone(), offered.clone(), preimage);
        redeeming.spawn(async move { redeem(&server, &offered, preimage, "hello").await });
    }
    let answers = redeeming.join_all().await;
    assert!(answers.iter().all(|answer| answer.replayed && answer.response == answers[0].response));
    let requests = scene.store.session_requests(offered.session, None, 9).await.unwrap();
    assert_eq!((scene.backend.works(), requests.len(), uncollected(&scene).await), (1, 1, 0));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn two_servers_do_a_request_once() {
    let scene = holding().await;
    let mut servers = [reading(scene.server_elsewhere().await), reading(scene.server_elsewhere().await)];
    servers.iter_mut().for_each(Server::start);
    let mut offers = Vec::new();
    for n in 0..8 {
        offers.push(offer(&servers[n % 2], &format!("hello {n}")).await);
    }
    for offered in &offers {
        pay_held(&scene, offered).await;
    }
    for (n, offered) in offers.iter().enumerate() {
        let preimage = taken(&scene, offered).await;
        assert!(redeem(&servers[(n + 1) % 2], offered, preimage, &format!("hello {n}")).await.replayed);
    }
    assert_eq!((scene.backend.works(), uncollected(&scene).await), (8, 0));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_text_that_is_forgotten_is_not_worked_on_and_its_payment_goes_back() {
    let scene = holding().await;
    let server = started(&scene);
    let customer = somebody(1);
    let new = NewPaidRequest { identity: Some(customer), ..keepable("hello") };
    let offered = server.engine.sessions.offer_request(new).await.unwrap();
    for owner in [TextOwner::Identity(customer), TextOwner::Session(offered.session)] {
        let found = server.engine.texts.found(owner).await.unwrap();
        assert_eq!(found, TextsFound { session_requests: 1, ..TextsFound::default() });
    }
    let forgotten = server.engine.texts.forget(TextOwner::Identity(customer)).await.unwrap();
    assert_eq!(forgotten.now.session_requests, 1);
    assert!(kept(&scene, &offered).await.is_none_or(|kept| kept.sent.is_none()));
    pay_held(&scene, &offered).await;
    assert_given_back(&scene, &offered).await;
    assert_eq!(scene.backend.works(), 0);
    // One that runs needs its text: it is deleted when it has ended.
    let running = offer(&server, "hello").await;
    let mut gate = scene.backend.gate(Point::Work);
    pay_held(&scene, &running).await;
    gate.reached().await;
    let forgotten = server.engine.texts.forget(TextOwner::Session(running.session)).await.unwrap();
    assert_eq!(forgotten.now.running, 1);
    scene.clock.advance(Duration::from_secs(5));
    gate.open();
    let preimage = taken(&scene, &running).await;
    let deleted = async || {
        let answer = redeem(&server, &running, preimage, "hello").await;
        answer.response.is_deleted().then_some(())
    };
    eventually("the answer is deleted as well, although it came later", deleted).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn held_payments_are_found_by_polling_too() {
    let scene = holding().await;
    let mut server = reading(scene.server());
    // Its events of held payments never come.
    for _ in 0..999 {
        server.wallet_faults().queue(Operation::PaymentsHeld, Fault::Fail);
    }
    server.start();
    let offered = offer(&server, "hello").await;
    pay_held(&scene, &offered).await;
    let preimage = taken(&scene, &offered).await;
    assert!(redeem(&server, &offered, preimage, "hello").await.replayed);
    poll_all(&server.engine).await;
    scene.finish().await;
}
