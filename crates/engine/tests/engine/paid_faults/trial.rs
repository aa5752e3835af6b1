//! One trial: a customer buys one request, one call of the server's goes wrong, and everything is put right again.

use super::steps::{Flow, Step};
use super::stores::{Kept, StoreKind};
use crate::paid_requests::{Payment, asked_from, proof};
use crate::scene::{Answer, Call, CallFault, Ends, Scene, Server};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{OfferedRequest, PaymentState, PaymentView};
use tithe_engine::{EngineError, PaidRequestError};
use tithe_ledger::AccountId;
use tithe_lightning::{Direction, Wallet};
use tithe_payouts::{ObligationRepository, ObligationState};
use tithe_pricing::Usage;
use tithe_sessions::SessionRepository;
use tokio::task::JoinHandle;

const REQUEST: &str = "hello";

/// How long something that was away stays away.
const OUTAGE: Duration = Duration::from_millis(300);

/// How long the customer waits between two tries: on the scene's clock, and in the time of the runtime.
const BETWEEN_TRIES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(20));

/// How often something is tried before it is taken to be lost.
const TRIES: usize = 1_000;

/// What the customer does once something has gone wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Sends the same again.
    Repeats,
    /// Wants the money.
    Claims,
}

/// A fault of a step.
#[derive(Clone, Copy)]
pub struct Case {
    pub step: &'static Step,
    pub fault: CallFault,
    pub then: Then,
}

impl Case {
    fn name(&self, kind: StoreKind) -> String {
        let Step { what, flow, call, nth, after, .. } = self.step;
        let after = after.map(|after| format!(" after {after:?}")).unwrap_or_default();
        format!("{kind:?}: {what} ({flow:?}, {call:?} {nth}{after}): {:?}, then {:?}", self.fault, self.then)
    }
}

type Replied = Result<KeyedResponse, EngineError>;

pub struct Trial {
    scene: Scene,
    _kept: Kept,
    name: String,
    flow: Flow,
    then: Then,
    first: Arc<Server>,
    second: Option<Arc<Server>>,
    /// The requests with the proof that a dead server has not answered.
    unanswered: Vec<JoinHandle<Replied>>,
}

/// What the customer got.
struct Got {
    payment: Payment,
    answer: Option<StoredResponse>,
}

impl Trial {
    async fn open(kind: StoreKind, name: String, flow: Flow, then: Then) -> Self {
        let (mut scene, kept) = kind.scene().await;
        let settings = &mut scene.settings;
        settings.claim_interval = Duration::from_hours(1);
        settings.poll_interval = Duration::from_hours(1);
        settings.reconcile_interval = Duration::ZERO;
        settings.sweep_interval = Duration::from_millis(100);
        settings.payout_interval = Duration::from_millis(50);
        settings.wallet_timeout = Duration::from_secs(1);
        settings.payout_timeout = Duration::from_secs(1);
        settings.payout_doubt = Duration::from_secs(30);
        settings.work_timeout = Duration::from_secs(3);
        let usage = Usage { input_tokens: 10, output_tokens: 3, ..Usage::ZERO };
        for _ in 0..30 {
            let answer = Answer::of(&["one ", "two ", "three"], Ends::Finished(Some(usage)));
            scene.backend.say_to_work(answer);
        }
        let is_reported = !matches!(flow, Flow::BuysUnreported | Flow::Claims);
        scene.wallet.faults().silence_settlements(!is_reported);
        let mut first = scene.server();
        first.start();
        Self { scene, _kept: kept, name, flow, then, first: Arc::new(first), second: None, unanswered: vec![] }
    }

    /// The calls of a flow in which nothing goes wrong.
    pub async fn without_faults(flow: Flow) -> BTreeMap<Call, u32> {
        let mut trial = Self::open(StoreKind::Memory, format!("{flow:?}"), flow, Then::Repeats).await;
        let got = trial.buy().await;
        trial.is_paid_out(&got).await;
        let calls = trial.first.power.calls.seen();
        trial.end(&got).await;
        calls
    }

    /// Runs a case, and checks what has come of it.
    pub async fn run(kind: StoreKind, case: Case) {
        let name = case.name(kind);
        let mut trial = Self::open(kind, name.clone(), case.step.flow, case.then).await;
        let (power, database) = (&trial.first.power, &trial.scene.store_faults);
        power.calls.plan(case.step.call, case.step.nth, case.fault, database.clone());
        if let Some((call, fault)) = case.step.after {
            power.calls.plan(call, 1, fault, database.clone());
        }
        let mending = tokio::spawn({
            let (power, database) = (power.clone(), database.clone());
            async move {
                power.calls.strikes().await;
                tokio::time::sleep(OUTAGE).await;
                power.calls.mend();
                database.mend();
            }
        });
        let got = trial.buy().await;
        trial.is_paid_out(&got).await;
        assert!(trial.first.power.calls.has_struck(), "{name}: it has not come about");
        mending.await.unwrap();
        trial.end(&got).await;
    }

    /// The server that the customer reaches.
    fn server(&mut self) -> Arc<Server> {
        if !self.first.power.is_off() {
            return self.first.clone();
        }
        let second = self.second.get_or_insert_with(|| {
            // The leases of the dead one run out.
            self.scene.clock.advance(self.scene.settings.lease + Duration::from_secs(1));
            let mut second = self.scene.server();
            second.start();
            Arc::new(second)
        });
        second.clone()
    }

    /// Sends a request; `None` when the server dies before it answers.
    async fn send<T: Send + 'static>(
        &mut self,
        request: impl FnOnce(Arc<Server>) -> BoxFuture<'static, T>,
    ) -> Result<T, JoinHandle<T>> {
        let server = self.server();
        let mut sent = tokio::spawn(request(server.clone()));
        tokio::select! {
            answer = &mut sent => Ok(answer.unwrap()),
            () = server.power.goes_off() => Err(sent),
        }
    }

    /// Sends a request until it is answered.
    async fn until_answered<T: Send + 'static>(
        &mut self,
        request: impl Fn(Arc<Server>) -> BoxFuture<'static, Result<T, EngineError>>,
    ) -> T {
        let mut last = None;
        for _ in 0..TRIES {
            match self.send(&request).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(failure)) => {
                    assert!(may_be_repeated(&failure), "{}: {failure:?}", self.name);
                    last = Some(failure);
                }
                Err(_dead) => {}
            }
            self.wait().await;
        }
        panic!("{}: never answered: {last:?}", self.name)
    }

    async fn wait(&self) {
        let (advance, sleep) = BETWEEN_TRIES;
        self.scene.clock.advance(advance);
        tokio::time::sleep(sleep).await;
    }

    /// The customer, from the offer to the end.
    async fn buy(&mut self) -> Got {
        let offered = self.until_answered(|server| offer(server).boxed()).await;
        let preimage = self.scene.pay(offered.invoice.payment_hash).await;
        let payment = Payment { proof: proof(&self.first, &offered, preimage), offered, preimage };
        match self.flow {
            Flow::Buys | Flow::BuysUnreported => {
                if self.flow == Flow::Buys {
                    // It is credited by its event, if nothing goes wrong.
                    self.credited(&payment).await;
                }
                let answer = self.redeem(&payment).await;
                self.claim(&payment).await;
                Got { payment, answer }
            }
            Flow::Claims => {
                self.claim(&payment).await;
                Got { payment, answer: None }
            }
            Flow::Leaves => {
                self.credited(&payment).await;
                self.scene.clock.advance(self.scene.settings.paid_request_idle + Duration::from_secs(1));
                for _ in 0..100 {
                    let session = self.scene.store.session(payment.offered.session).await.unwrap().unwrap();
                    if session.end().is_some() {
                        break;
                    }
                    // Its sweep may have died with it.
                    self.server();
                    self.wait().await;
                }
                self.claim(&payment).await;
                Got { payment, answer: None }
            }
        }
    }

    /// Waits for a payment to be credited by itself, but not for ever.
    async fn credited(&self, payment: &Payment) {
        for _ in 0..100 {
            let session = self.scene.store.session(payment.offered.session).await.unwrap().unwrap();
            if !session.paid_in.is_zero() || self.first.power.calls.has_struck() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends the request with its proof: until there is an answer, or until something has gone wrong, as this customer does.
    async fn redeem(&mut self, payment: &Payment) -> Option<StoredResponse> {
        for _ in 0..TRIES {
            let paid = payment.clone();
            let redeem = |server: Arc<Server>| async move { paid.redeem(&server, REQUEST).await }.boxed();
            match self.send(redeem).await {
                Ok(Ok(answer)) => return Some(answer.response),
                Ok(Err(failure)) => assert!(may_be_repeated(&failure), "{}: {failure:?}", self.name),
                Err(dead) => self.unanswered.push(dead),
            }
            if self.then == Then::Claims {
                return None;
            }
            self.wait().await;
        }
        panic!("{}: never answered", self.name)
    }

    /// Claims what is left, to a Lightning address.
    async fn claim(&mut self, payment: &Payment) -> PaymentView {
        let payment = payment.clone();
        self.until_answered(|server| {
            let payment = payment.clone();
            async move { payment.claim(&server).await }.boxed()
        })
        .await
    }

    /// Waits until the customer's wallet has what is owed.
    async fn is_paid_out(&mut self, got: &Got) {
        let account = AccountId::Session(got.payment.offered.session.0);
        let mut owed = None;
        for _ in 0..TRIES {
            owed = self.scene.store.obligation(account).await.unwrap();
            let owed = owed.as_ref().unwrap();
            if owed.state() == ObligationState::Paid {
                return;
            }
            if owed.destination.is_none() {
                // It was refused for good: the customer names one again.
                self.claim(&got.payment).await;
            }
            self.server();
            self.wait().await;
        }
        panic!("{}: never paid: {owed:?}", self.name)
    }

    /// The dead live after all; nothing changes by that, and everything is checked.
    async fn end(mut self, got: &Got) {
        let (name, payment) = (self.name.clone(), &got.payment);
        let alive = self.server();
        let before = payment.view(&alive).await;
        self.first.power.mend();
        for late in std::mem::take(&mut self.unanswered) {
            let late = tokio::time::timeout(Duration::from_secs(30), late).await;
            let late = late.unwrap_or_else(|_| panic!("{name}: the late answer never comes")).unwrap();
            match (late, &got.answer) {
                (Ok(late), Some(answer)) => assert_eq!(late.response, *answer, "{name}"),
                (Ok(_), None) => assert_eq!(before.state, PaymentState::Used, "{name}"),
                (Err(_), _) => {}
            }
        }
        for _ in 0..20 {
            self.wait().await;
        }
        let after = payment.view(&alive).await;
        let money = |view: &PaymentView| (view.state, view.paid, view.charged, view.refund.accrued);
        assert_eq!(money(&after), money(&before), "{name}");
        self.check(got, &after).await;
        drop(alive);
        for server in [Some(self.first), self.second].into_iter().flatten() {
            stop(server).await;
        }
        self.scene.finish().await;
    }

    async fn check(&self, got: &Got, view: &PaymentView) {
        let (name, payment, scene) = (&self.name, &got.payment, &self.scene);
        // What was paid is charged, refunded or rounded.
        payment.assert_whole(scene, &self.first).await;
        assert_eq!(view.paid, payment.offered.price.to_msats(), "{name}: {view:?}");
        let requests = scene.store.session_requests(payment.offered.session, None, 99).await.unwrap();
        let answered = requests.iter().filter(|request| request.cost().is_some()).count();
        assert!(answered <= 1, "{name}: {requests:?}");
        match &got.answer {
            Some(answer) => {
                assert_eq!((answered, view.state), (1, PaymentState::Used), "{name}");
                let again = payment.redeem(&self.first, REQUEST).await.unwrap();
                assert_eq!((&again.response, again.replayed), (answer, true), "{name}");
            }
            None if answered == 1 => assert_eq!(view.state, PaymentState::Used, "{name}"),
            None => {
                assert!(matches!(view.state, PaymentState::Returned | PaymentState::Expired), "{name}: {view:?}");
                assert_eq!((view.refund.accrued, view.charged.get()), (payment.offered.price, 0), "{name}");
            }
        }
        assert_eq!(view.refund.state, ObligationState::Paid, "{name}: {view:?}");
        // It was sent once, and the ledger says the same of it as the wallet.
        let listed = scene.wallet.payments_settled(tithe_clock::Timestamp::UNIX_EPOCH).await.unwrap();
        let outgoing = listed.iter().filter(|it| it.direction == Direction::Outgoing).count();
        assert_eq!(outgoing, 1, "{name}: {listed:?}");
        let report = self.first.engine.reconciliation.report().await.unwrap();
        assert!(report.is_sound() && report.balances.surplus == 0, "{name}: {report:?}");
        assert_eq!(report.differences, [], "{name}");
    }
}

/// Ends a server's background tasks.
async fn stop(mut server: Arc<Server>) {
    Arc::get_mut(&mut server).unwrap().stop(Duration::ZERO).await;
}

async fn offer(server: Arc<Server>) -> Result<OfferedRequest, EngineError> {
    server.engine.sessions.offer_request(asked_from("192.0.2.1", REQUEST)).await
}

/// Whether the same may be sent again, as a client understands it: the server, its wallet or its backend has failed, or is busy.
const fn may_be_repeated(failure: &EngineError) -> bool {
    matches!(
        failure,
        EngineError::RequestInProgress
            | EngineError::PaidRequest(PaidRequestError::Running | PaidRequestError::NotArrived)
            | EngineError::WorkFailed
            | EngineError::NoBackend
            | EngineError::NoWallet
            | EngineError::Busy
            | EngineError::OutcomeUnknown
            | EngineError::Internal
    )
}
