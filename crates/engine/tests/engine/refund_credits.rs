//! A refund that its customer wants in a session: all of it is there, once, and nothing is sent.

use crate::paid_requests::Payment;
use crate::scene::{Answer, Ends, Op, Scene, Server, When, eventually};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::sessions::PaymentState;
use tithe_engine::{EngineError, PaidRequestError};
use tithe_ledger::{AccountId, LedgerRepository, TransferKind};
use tithe_lightning::{Direction, Wallet};
use tithe_money::{Msats, Sats};
use tithe_payouts::{Destination, FeePolicy, Obligation, ObligationRepository, ObligationState, PayoutError};
use tithe_paywall::payment::RefundStatus;
use tithe_pricing::Usage;
use tithe_sessions::{Session, SessionError, SessionId, SessionRepository, StateName};
use uuid::Uuid;

const DEPOSIT: u64 = 1_000;

/// A session that is paid for.
async fn session(scene: &Scene, server: &Server) -> SessionId {
    let opened = server.session_with_return("bob@example.com", DEPOSIT).await;
    scene.pay(opened.invoice).await;
    crate::scene::poll_all(&server.engine).await;
    server.session_active(opened.id).await;
    opened.id
}

async fn row(scene: &Scene, id: SessionId) -> Session {
    scene.store.session(id).await.unwrap().unwrap()
}

async fn balance(scene: &Scene, id: SessionId) -> Msats {
    scene.store.account(AccountId::Session(id.0)).await.unwrap().unwrap().balance()
}

async fn owed(scene: &Scene, paid: &Payment) -> Obligation {
    scene.store.obligation(AccountId::Session(paid.offered.session.0)).await.unwrap().unwrap()
}

/// A payment of which all is owed, because its request has failed.
async fn unused(scene: &Scene, server: &Server) -> Payment {
    let paid = Payment::of(scene, server, "hello").await;
    scene.backend.say_to_work(Answer::of(&["half"], Ends::FailedAfter));
    assert!(paid.redeem(server, "hello").await.is_err());
    paid
}

async fn claim(server: &Server, paid: &Payment, to: Destination) -> Result<ObligationState, EngineError> {
    server.engine.sessions.refund_payment(&paid.proof, Some(to)).await.map(|view| view.refund.state)
}

/// Why a session cannot get a refund.
fn unsuitable<T: std::fmt::Debug>(refused: Result<T, EngineError>) -> String {
    match refused {
        Err(EngineError::Payout(PayoutError::Session(why))) => why,
        other => panic!("{other:?}"),
    }
}

fn to(id: SessionId) -> Destination {
    Destination::Session(id.0)
}

async fn until_credited(scene: &Scene, paid: &Payment) {
    let credited = async || (owed(scene, paid).await.state() == ObligationState::Paid).then_some(());
    eventually("the refund is credited", credited).await;
}

async fn outgoing(scene: &Scene) -> usize {
    let wallet = scene.wallet_whose_clock_stands().await;
    let listed = wallet.payments_settled(tithe_clock::Timestamp::UNIX_EPOCH).await.unwrap();
    listed.iter().filter(|payment| payment.direction == Direction::Outgoing).count()
}

/// That the session has its deposit and this refund, and that this is booked once.
async fn assert_credited(scene: &Scene, id: SessionId, paid: &Payment, refund: Sats) {
    let whole = Msats::new(DEPOSIT * 1_000 + refund.to_msats().get()).unwrap();
    let session = row(scene, id).await;
    assert_eq!((balance(scene, id).await, session.paid_in, session.topped_up_to), (whole, whole, whole));
    let owed = owed(scene, paid).await;
    assert_eq!((owed.due, owed.accrued, owed.payment_hash()), (Sats::ZERO, refund, None));
    let transfers = scene.transfers().await;
    let credited = transfers.iter().filter(|transfer| transfer.kind == TransferKind::RefundCredited);
    let credited: Vec<Msats> = credited.map(|transfer| transfer.amount).collect();
    assert_eq!(credited, [refund.to_msats()]);
    assert_eq!(outgoing(scene).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_bought_nothing_is_credited_as_a_whole_and_once() {
    let scene = Scene::open().await;
    let server = scene.started();
    let (id, other) = (session(&scene, &server).await, session(&scene, &server).await);
    let paid = unused(&scene, &server).await;
    assert_eq!(claim(&server, &paid, to(id)).await.unwrap(), ObligationState::Pending);
    until_credited(&scene, &paid).await;
    assert_credited(&scene, id, &paid, paid.offered.price).await;
    // Asking again is safe; another destination is for nothing, and the payment buys nothing any more.
    assert_eq!(claim(&server, &paid, to(id)).await.unwrap(), ObligationState::Paid);
    for destination in [to(other), Destination::Address("alice@example.com".parse().unwrap())] {
        let refused = claim(&server, &paid, destination).await;
        // Nothing is due: the payment is as it was.
        assert!(matches!(refused, Ok(ObligationState::Paid)), "{refused:?}");
    }
    let refused = paid.redeem(&server, "hello").await;
    assert!(matches!(refused, Err(EngineError::PaidRequest(PaidRequestError::Returned))), "{refused:?}");
    assert_credited(&scene, id, &paid, paid.offered.price).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_is_too_small_for_a_payment_is_credited() {
    let mut scene = Scene::open().await;
    scene.settings.payout_fees =
        FeePolicy { base: Sats::new(100_000).unwrap(), ..scene.settings.payout_fees };
    let server = scene.started();
    let id = session(&scene, &server).await;
    let paid = Payment::of(&scene, &server, "hello").await;
    let usage = Usage { input_tokens: 10, output_tokens: 3, ..Usage::ZERO };
    scene.backend.say_to_work(Answer::of(&["one"], Ends::Finished(Some(usage))));
    paid.redeem(&server, "hello").await.unwrap();
    let view = paid.view(&server).await;
    assert_eq!((view.state, view.refund.quote.payable), (PaymentState::Used, Sats::ZERO));
    assert!(view.refund.quote.due > Sats::ZERO);
    claim(&server, &paid, to(id)).await.unwrap();
    until_credited(&scene, &paid).await;
    assert_credited(&scene, id, &paid, view.refund.quote.due).await;
    paid.assert_whole(&scene, &server).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_takes_no_refund_is_refused_and_nothing_changes() {
    let scene = Scene::open().await;
    let mut server = scene.started();
    let closed = session(&scene, &server).await;
    server.engine.sessions.close(closed, None).await.unwrap();
    let unpaid = server.session_with_return("bob@example.com", DEPOSIT).await.id;
    let paid = unused(&scene, &server).await;
    let one_request = Payment::of(&scene, &server, "something else").await.offered.session;
    server.stop(Duration::from_secs(5)).await;
    for (id, expected) in [
        (closed, SessionError::NotActive(StateName::Closed)),
        (unpaid, SessionError::NotActive(StateName::AwaitingPayment)),
        (one_request, SessionError::OneRequestOnly),
        (paid.offered.session, SessionError::OneRequestOnly),
    ] {
        let refused = claim(&server, &paid, to(id)).await;
        assert_eq!(unsuitable(refused), expected.to_string());
    }
    let refused = claim(&server, &paid, Destination::Session(Uuid::from_u128(7))).await;
    assert_eq!(unsuitable(refused), "there is none of this id");
    assert_eq!(paid.view(&server).await.state, PaymentState::Paid);
    paid.redeem(&server, "hello").await.unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_before_it_gets_the_refund_leaves_it_due() {
    let scene = Scene::open().await;
    let mut server = scene.started();
    let id = session(&scene, &server).await;
    let paid = unused(&scene, &server).await;
    server.stop(Duration::from_secs(5)).await;
    claim(&server, &paid, to(id)).await.unwrap();
    server.engine.sessions.close(id, None).await.unwrap();
    let _working = scene.started();
    let forgotten = async || owed(&scene, &paid).await.destination.is_none().then_some(());
    eventually("the session is forgotten", forgotten).await;
    let left = owed(&scene, &paid).await;
    assert_eq!((left.due, left.state()), (paid.offered.price, ObligationState::Pending));
    assert!(left.problem.is_some_and(|problem| problem.contains("closed")), "it says why");
    paid.claim(&server).await.unwrap();
    until_credited(&scene, &paid).await;
    assert!(outgoing(&scene).await >= 1, "it is paid elsewhere");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_the_wallet_has_made_after_all_is_not_credited_too() {
    let mut scene = Scene::open().await;
    scene.settings.payout_timeout = Duration::from_secs(4);
    scene.settings.payout_doubt = Duration::from_secs(10);
    let server = scene.started();
    let id = session(&scene, &server).await;
    let paid = unused(&scene, &server).await;
    server.next_payment_is_called_failed();
    paid.claim(&server).await.unwrap();
    let failed = async || (owed(&scene, &paid).await.failures > 0).then_some(());
    eventually("the wallet says that it has failed", failed).await;
    // The customer, who is told so, wants it in the session.
    let _refused_if_it_is_known_by_now = claim(&server, &paid, to(id)).await;
    until_credited(&scene, &paid).await;
    assert_eq!((outgoing(&scene).await, balance(&scene, id).await.get()), (1, DEPOSIT * 1_000));
    scene.finish().await;
}

/// The server dies at a commit of the claim or the credit, another one goes on, and the first comes back.
#[tokio::test(start_paused = true)]
async fn a_death_at_any_step_credits_exactly_once() {
    // The claim closes the session of the payment; the credit is the second commit.
    for (nth, when) in [(1, When::Before), (1, When::After), (2, When::Before), (2, When::After)] {
        let scene = Scene::open().await;
        let mut seller = scene.started();
        let id = session(&scene, &seller).await;
        let paid = unused(&scene, &seller).await;
        seller.stop(Duration::from_secs(5)).await;
        let mut first = scene.server_elsewhere().await;
        first.power.cut_at(Op::Commit, nth, when);
        first.start();
        let first = Arc::new(first);
        let claiming = tokio::spawn({
            let (first, paid) = (first.clone(), paid.clone());
            async move { claim(&first, &paid, to(id)).await }
        });
        tokio::time::timeout(Duration::from_mins(10), first.power.goes_off())
            .await
            .unwrap_or_else(|_| panic!("never came to commit {nth}"));
        let second = scene.started();
        claim(&second, &paid, to(id)).await.unwrap();
        until_credited(&scene, &paid).await;
        first.power.mend();
        tokio::time::sleep(Duration::from_secs(15)).await;
        let _answered = claiming.await.unwrap();
        assert_credited(&scene, id, &paid, paid.offered.price).await;
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_servers_credit_many_refunds_once_each() {
    let scene = Scene::open().await;
    let mut seller = scene.started();
    let id = session(&scene, &seller).await;
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(unused(&scene, &seller).await);
    }
    seller.stop(Duration::from_secs(5)).await;
    for paid in &all {
        claim(&seller, paid, to(id)).await.unwrap();
    }
    let _first = scene.started();
    let mut elsewhere = scene.server_elsewhere().await;
    elsewhere.start();
    let mut refunds = 0;
    for paid in &all {
        until_credited(&scene, paid).await;
        refunds += paid.offered.price.to_msats().get();
    }
    assert_eq!(balance(&scene, id).await.get(), DEPOSIT * 1_000 + refunds);
    assert_eq!(row(&scene, id).await.paid_in, balance(&scene, id).await);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_session_of_the_scheme_payment_cannot_be_paid_is_credited_and_its_close_claims_no_payment() {
    let scene = crate::deposits::hasty().await;
    let server = scene.started();
    let id = session(&scene, &server).await;
    let deposit = crate::deposits::Deposit::opened(&scene, &server).await;
    // The return invoice expires before the session ends.
    scene.clock.advance(Duration::from_hours(24 * 61));
    server.engine.sessions.sweep().await.unwrap();
    assert_eq!(deposit.close(&server).await.unwrap().status, RefundStatus::Failed);
    // The other session has ended meanwhile, too.
    let opening = deposit.opening(&server, deposit.return_invoice.as_str());
    let refused = server.engine.sessions.refund_deposit(&opening, Some(to(id))).await;
    assert!(unsuitable(refused).contains("expired"));
    let id = session(&scene, &server).await;
    server.engine.sessions.refund_deposit(&opening, Some(to(id))).await.unwrap();
    let credited = async || {
        let view = server.engine.sessions.deposit(&opening).await.unwrap();
        (view.refund.state == ObligationState::Paid).then_some(view.refund.accrued)
    };
    let refund = eventually("the refund is credited", credited).await;
    assert_eq!(balance(&scene, id).await.get(), DEPOSIT * 1_000 + refund.to_msats().get());
    let closed = deposit.close(&server).await.unwrap();
    assert_eq!((closed.status, closed.refund), (RefundStatus::Skipped, Sats::ZERO));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_jobs_refund_and_a_sessions_rest_are_credited_too() {
    let scene = Scene::open().await;
    let server = scene.started();
    let (id, ending) = (session(&scene, &server).await, session(&scene, &server).await);
    let (job, token) = server.create_claimable("hello").await;
    let refund = scene.pay_through(job).await.refund.amount();
    server.engine.jobs.refund(job, None, Some(&token), to(id)).await.unwrap();
    server.engine.sessions.close(ending, Some(to(id))).await.unwrap();
    let wanted = (2 * DEPOSIT + refund.get()) * 1_000;
    let credited = async || (balance(&scene, id).await.get() == wanted).then_some(());
    eventually("both are credited", credited).await;
    let own = server.engine.sessions.close(id, Some(to(id))).await;
    assert_eq!(unsuitable(own), SessionError::NotActive(StateName::Closed).to_string());
    let refused = server.engine.jobs.refund(job, None, Some(&token), to(ending)).await;
    assert!(matches!(refused, Err(EngineError::Payout(PayoutError::NothingDue))), "{refused:?}");
    scene.finish().await;
}
