//! One trial: a customer buys one request, or spends a deposit; one call of the server's goes wrong, and everything is put right again.

mod buying;
mod spending;

use super::steps::{Flow, Step, Then};
use super::stores::{Place, StoreKind};
use crate::scene::{Answer, Call, CallFault, Ends, Scene, Server};
use buying::{FAILED, Got};
use futures_util::future::BoxFuture;
use spending::Spent;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::sessions::{PaymentSessionError, PaymentState, PaymentView};
use tithe_engine::{EngineError, PaidRequestError};
use tithe_ledger::AccountId;
use tithe_lightning::{Direction, Wallet};
use tithe_money::UsdMicros;
use tithe_payouts::{ObligationRepository, ObligationState};
use tithe_pricing::Usage;
use tithe_sessions::{SessionId, SessionRepository};
use tokio::task::JoinHandle;

/// How long something that was away stays away.
const OUTAGE: Duration = Duration::from_millis(300);

/// How long the customer waits between two tries: on the scene's clock, and in the time of the runtime.
const BETWEEN_TRIES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(20));

/// How often it is looked whether a payment has been credited by itself.
const REPORT_TRIES: usize = 50;

/// How long the scene's clock stands while a request is under way, and between its jumps after that.
const LONG_REQUEST: Duration = Duration::from_millis(500);

/// How often something is tried before it is taken to be lost.
const TRIES: usize = 2_500;

/// A fixed cost of each request, so that the price of embeddings can be paid out, in millionths of a dollar.
const FIXED_COST: u64 = 20_000;

/// A fault of a step.
#[derive(Clone, Copy)]
pub struct Case {
    pub step: &'static Step,
    pub fault: CallFault,
    pub then: Then,
}

impl Case {
    pub fn name(&self, kind: StoreKind) -> String {
        let Step { what, flow, call, nth, after, .. } = self.step;
        let after = after.map(|after| format!(" after {after:?}")).unwrap_or_default();
        format!("{kind:?}: {what} ({flow:?}, {call:?} {nth}{after}): {:?}, then {:?}", self.fault, self.then)
    }
}

type Replied = Result<KeyedResponse, EngineError>;

pub struct Trial {
    scene: Scene,
    place: Place,
    name: String,
    flow: Flow,
    then: Then,
    /// In the order of their deaths; the last one is alive.
    servers: Vec<Arc<Server>>,
    /// What goes wrong, by server.
    plans: Vec<(usize, Call, u32, CallFault)>,
    /// What puts right again what has gone wrong.
    mending: Vec<JoinHandle<()>>,
    /// The requests with the proof that a dead server has not answered.
    unanswered: Vec<JoinHandle<Replied>>,
}

/// The customer, when there is nothing left to do but to wait for the money.
enum Customer {
    OfRequest(Box<Got>),
    OfSession(Box<Spent>),
}

impl Customer {
    fn account(&self) -> AccountId {
        match self {
            Self::OfRequest(got) => AccountId::Session(got.payment.offered.session.0),
            Self::OfSession(spent) => spent.account(),
        }
    }

    /// What has become of the payment. On a machine that has much to do, a database may be busy.
    async fn view(&self, server: &Server) -> PaymentView {
        for _ in 0..TRIES {
            let view = match self {
                Self::OfRequest(got) => server.engine.sessions.payment(&got.payment.proof).await,
                Self::OfSession(spent) => spent.view(server).await,
            };
            match view {
                Ok(view) => return view,
                Err(failure) => assert!(may_be_repeated(&failure), "{failure:?}"),
            }
            tokio::time::sleep(BETWEEN_TRIES.1).await;
        }
        panic!("never answered")
    }

    /// Checks an answer that the customer has not waited for.
    fn check_late(&self, late: Replied, before: &PaymentView, name: &str) {
        let Ok(late) = late else { return };
        match self {
            Self::OfRequest(_) if late.response.status == FAILED => {}
            Self::OfRequest(got) => match &got.answer {
                Some(answer) => assert_eq!(late.response, *answer, "{name}"),
                None => assert_eq!(before.state, PaymentState::Used, "{name}"),
            },
            Self::OfSession(spent) => spent.check_late(&late.response, name),
        }
    }
}

impl Trial {
    async fn open(kind: StoreKind, name: String, flow: Flow, then: Then) -> Self {
        let (mut scene, place) = (Scene::open().await, kind.place().await);
        let settings = &mut scene.settings;
        settings.claim_interval = Duration::from_hours(1);
        let is_polled = matches!(flow, Flow::Leaves | Flow::PaysLate);
        settings.poll_interval = if is_polled { Duration::from_millis(100) } else { Duration::from_hours(1) };
        settings.reconcile_interval = Duration::ZERO;
        settings.sweep_interval = Duration::from_millis(300);
        settings.payout_interval = Duration::from_millis(200);
        settings.wallet_timeout = Duration::from_secs(2);
        settings.payout_timeout = Duration::from_secs(2);
        settings.work_timeout = Duration::from_secs(5);
        settings.session_evaluation = true;
        settings.fixed_cost = UsdMicros::new(FIXED_COST).unwrap();
        let usage = Usage { input_tokens: 10, output_tokens: 3, ..Usage::ZERO };
        for _ in 0..30 {
            let answer = Answer::of(&["one ", "two ", "three"], Ends::Finished(Some(usage)));
            scene.backend.say_to_work(answer);
        }
        scene.wallet.faults().silence_settlements(!flow.is_reported());
        let (servers, plans, mending, unanswered) = (vec![], vec![], vec![], vec![]);
        Self { scene, place, name, flow, then, servers, plans, mending, unanswered }
    }

    /// The calls of a flow in which nothing goes wrong.
    pub async fn without_faults(flow: Flow) -> BTreeMap<Call, u32> {
        let mut trial = Self::open(StoreKind::Memory, format!("{flow:?}"), flow, Then::Repeats).await;
        let customer = trial.customer().await;
        trial.is_paid_out(&customer).await;
        let calls = trial.servers[0].power.calls.seen();
        trial.end(&customer).await;
        calls
    }

    /// Runs a case, and checks what has come of it. Returns all calls of all servers; `None` if the fault has not come about, which happens
    /// where time is real and the machine is slow.
    pub async fn run(kind: StoreKind, case: Case) -> Option<BTreeSet<Call>> {
        let Case { step, fault, then } = case;
        let mut trial = Self::open(kind, case.name(kind), step.flow, then).await;
        trial.plans.push((step.server, step.call, step.nth, fault));
        trial.plans.extend(step.after.map(|(call, fault)| (0, call, 1, fault)));
        let customer = trial.customer().await;
        trial.is_paid_out(&customer).await;
        let struck = trial.servers.get(step.server).is_some_and(|server| server.power.calls.has_struck());
        assert!(struck || kind != StoreKind::Memory, "{}: it has not come about", trial.name);
        let calls = trial.servers.iter().flat_map(|server| server.power.calls.seen().into_keys()).collect();
        trial.end(&customer).await;
        struck.then_some(calls)
    }

    /// The server that the customer reaches: the one that lives, or a new one.
    async fn server(&mut self) -> Arc<Server> {
        if let Some(server) = self.servers.last().filter(|server| !server.power.is_off()) {
            return server.clone();
        }
        if !self.servers.is_empty() {
            // The leases of the dead one run out.
            self.scene.clock.advance(self.scene.settings.lease + Duration::from_secs(1));
        }
        if let Some(store) = self.place.store().await {
            self.scene.set_store(store);
        }
        let mut server = self.scene.server();
        let (number, database) = (self.servers.len(), &self.scene.store_faults);
        for (_, call, nth, fault) in self.plans.iter().filter(|(of, ..)| *of == number) {
            server.power.calls.plan(*call, *nth, *fault, database.clone());
        }
        let (power, database) = (server.power.clone(), database.clone());
        self.mending.push(tokio::spawn(async move {
            power.calls.strikes().await;
            tokio::time::sleep(OUTAGE).await;
            power.calls.mend();
            database.mend();
        }));
        server.start();
        self.servers.push(Arc::new(server));
        self.servers[number].clone()
    }

    /// Sends a request; `None` when the server dies before it answers.
    async fn send<T: Send + 'static>(
        &mut self,
        request: impl FnOnce(Arc<Server>) -> BoxFuture<'static, T>,
    ) -> Result<T, JoinHandle<T>> {
        let server = self.server().await;
        let mut sent = tokio::spawn(request(server.clone()));
        loop {
            tokio::select! {
                answer = &mut sent => return Ok(answer.unwrap()),
                () = server.power.goes_off() => return Err(sent),
                // It may wait for the lease of another one.
                () = tokio::time::sleep(LONG_REQUEST) => self.scene.clock.advance(BETWEEN_TRIES.0),
            }
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
    async fn customer(&mut self) -> Customer {
        match self.flow {
            Flow::Spends => Customer::OfSession(Box::new(self.spend().await)),
            _ => Customer::OfRequest(Box::new(self.buy().await)),
        }
    }

    /// Waits for the session to end by itself.
    async fn ended(&mut self, id: SessionId) {
        for _ in 0..TRIES {
            let session = self.scene.store.session(id).await.unwrap().unwrap();
            if session.end().is_some() {
                return;
            }
            // The server that sweeps may have died.
            self.server().await;
            self.wait().await;
        }
        panic!("{}: it has not ended", self.name);
    }

    /// Waits for a payment to be credited by its event, but not for ever: a listener that was not there yet does not hear of it.
    async fn credited(&mut self, id: SessionId) {
        for _ in 0..REPORT_TRIES {
            let session = self.scene.store.session(id).await.unwrap().unwrap();
            if !session.paid_in.is_zero() || self.servers[0].power.calls.has_struck() {
                return;
            }
            tokio::time::sleep(BETWEEN_TRIES.1).await;
        }
    }

    /// Waits until the customer's wallet has what is owed.
    async fn is_paid_out(&mut self, customer: &Customer) {
        let mut owed = None;
        for _ in 0..TRIES {
            owed = self.scene.store.obligation(customer.account()).await.unwrap();
            let Some(owed) = &owed else { return };
            if owed.state() == ObligationState::Paid {
                return;
            }
            if owed.destination.is_none() {
                // It was refused for good: the customer names one again.
                match customer {
                    Customer::OfRequest(got) => {
                        self.claim(&got.payment).await;
                    }
                    Customer::OfSession(spent) => self.claim_deposit(spent).await,
                }
            }
            self.server().await;
            self.wait().await;
        }
        panic!("{}: never paid: {owed:?}", self.name)
    }

    /// The dead live after all; nothing changes by that, and everything is checked.
    async fn end(mut self, customer: &Customer) {
        let name = self.name.clone();
        let alive = self.server().await;
        for mending in std::mem::take(&mut self.mending) {
            mending.abort();
        }
        self.scene.store_faults.mend();
        self.servers.iter().for_each(|server| server.power.calls.mend());
        let before = customer.view(&alive).await;
        self.servers.iter().for_each(|server| server.power.mend());
        for late in std::mem::take(&mut self.unanswered) {
            let late = tokio::time::timeout(Duration::from_secs(30), late).await;
            let late = late.unwrap_or_else(|_| panic!("{name}: the late answer never comes")).unwrap();
            customer.check_late(late, &before, &name);
        }
        for _ in 0..20 {
            self.wait().await;
        }
        let after = customer.view(&alive).await;
        let money = |view: &PaymentView| (view.state, view.paid, view.charged, view.refund.accrued);
        assert_eq!(money(&after), money(&before), "{name}");
        match customer {
            Customer::OfRequest(got) => self.check_bought(got, &after).await,
            Customer::OfSession(spent) => self.check_spent(spent, &after).await,
        }
        drop(alive);
        for server in std::mem::take(&mut self.servers) {
            stop(server).await;
        }
        self.scene.finish().await;
    }

    /// Checks that so many payments were sent, and that the ledger says the same of them as the wallet.
    async fn check_books(&self, sent: usize) {
        let (name, scene) = (&self.name, &self.scene);
        let listed = scene.wallet.payments_settled(tithe_clock::Timestamp::UNIX_EPOCH).await.unwrap();
        let outgoing = listed.iter().filter(|it| it.direction == Direction::Outgoing).count();
        assert_eq!(outgoing, sent, "{name}: {listed:?}");
        let report = self.servers[0].engine.reconciliation.report().await.unwrap();
        assert!(report.is_sound() && report.balances.surplus == 0, "{name}: {report:?}");
        assert_eq!(report.differences, [], "{name}");
    }
}

/// Ends a server's background tasks.
async fn stop(mut server: Arc<Server>) {
    Arc::get_mut(&mut server).unwrap().stop(Duration::ZERO).await;
}

/// Whether the same may be sent again, as a client understands it: the server, its wallet or its backend has failed, or is busy.
const fn may_be_repeated(failure: &EngineError) -> bool {
    matches!(
        failure,
        EngineError::RequestInProgress
            | EngineError::PaidRequest(PaidRequestError::Running | PaidRequestError::NotArrived)
            | EngineError::PaymentSession(PaymentSessionError::NotArrived)
            | EngineError::WorkFailed
            | EngineError::UpstreamFailed(_)
            | EngineError::NoBackend
            | EngineError::NoWallet
            | EngineError::Busy
            | EngineError::OutcomeUnknown
            | EngineError::Internal
    )
}
