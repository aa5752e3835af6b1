//! Faults between the offer of a request whose payment is held and the end of that payment, one by one: after each of them, the customer
//! has paid for one answer, which their proof has, or has the payment back and is charged nothing; and the ledger and the wallet agree.
//!
//! The calls are in a table, which a test checks to be complete.

use crate::fault_columns::{
    COMMIT, CONNECT, DO, LOOK, LOOK_LATE, PART, backend, database, plan, tried, upstream, wallet,
};
use crate::held_requests::holding;
use crate::paid_requests::{Payment, Plainly, asked_from, chat, proof, work};
use crate::scene::{Answer, Call, CallFault, Ends, Port, Scene, Server, When};
use CallFault::{Away, Dies, Lost};
use When::{After, Before};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::metered::Prompt;
use tithe_engine::mounts::{Method, Mount, MountedCall, UpstreamCall};
use tithe_engine::sessions::{NewPaidRequest, OfferedRequest, PaidWork, PaymentState, ReadRequest, ReadSent};
use tithe_engine::{EngineError, PaidRequestError};
use tithe_free_tier::RequestHash;
use tithe_lightning::{Preimage, TestPayer, TestPaymentError};
use tithe_money::Msats;
use tithe_sessions::{KeptState, SentRequest, SessionRepository};

/// How long something that was away stays away.
const OUTAGE: Duration = Duration::from_secs(3);

/// How long the customer waits between two looks or tries, and how many there are.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
const TRIES: usize = 1_800;

/// How long the dead have to change something, when they live after all.
const AFTERLIFE: Duration = Duration::from_secs(10);

const REQUEST: &str = "hello";

/// What the customer buys, and what comes of it when nothing goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// An answer.
    Answer,
    /// The answer to a text, which is evaluated first.
    Text,
    /// A call of the service behind a mounted route. What the service may have done is not done again.
    Service,
    /// An answer that the model refuses to give.
    Failure,
    /// An answer, which is paid for when the offer has expired.
    Late,
}

impl Flow {
    const ALL: [Self; 5] = [Self::Answer, Self::Text, Self::Service, Self::Failure, Self::Late];

    /// Whether the payment is taken when nothing goes wrong.
    const fn is_answered(self) -> bool {
        matches!(self, Self::Answer | Self::Text | Self::Service)
    }

    /// What is asked for.
    fn prompt(self, mount: &Arc<Mount>) -> Prompt {
        match self {
            Self::Service => {
                let call = UpstreamCall {
                    method: Method::Post,
                    below: String::new(),
                    query: None,
                    headers: Vec::new(),
                    body: REQUEST.into(),
                };
                let call = MountedCall { mount: Arc::clone(mount), call };
                Prompt::call(call, RequestHash::of(REQUEST))
            }
            Self::Text => Prompt::text(REQUEST.to_owned()),
            Self::Answer | Self::Failure | Self::Late => chat(REQUEST),
        }
    }
}

/// Reads every kept request as one of a flow.
struct Reader {
    flow: Flow,
    mount: Arc<Mount>,
}

impl ReadSent for Reader {
    fn read(&self, _sent: &SentRequest) -> Option<ReadRequest> {
        Some(ReadRequest { prompt: self.flow.prompt(&self.mount), render: Arc::new(Plainly) })
    }
}

/// A call of a flow, and what goes wrong with it, one fault at a time.
#[derive(Clone, Copy)]
struct Step {
    /// What the call does, for whoever reads a failure.
    what: &'static str,
    flow: Flow,
    call: Call,
    /// Which of these calls, counted from 1.
    nth: u32,
    /// Which server makes it: the first, or, after the death of that, the second.
    server: usize,
    /// What has gone wrong at the first server, and makes this step necessary.
    after: Option<(Call, CallFault)>,
    faults: &'static [CallFault],
}

const fn step(what: &'static str, flow: Flow, call: Call, faults: &'static [CallFault]) -> Step {
    Step { what, flow, call, nth: 1, server: 0, after: None, faults }
}

const STEPS: &[Step] = &[
    // The offer.
    step("the offer is recorded", Flow::Answer, database("session_create"), COMMIT),
    step("the hold invoice is made", Flow::Answer, wallet("hold_invoice_create"), DO),
    step("the hold invoice is recorded", Flow::Answer, database("invoice_issue"), COMMIT),
    // The payment arrives.
    step("payments are listened to", Flow::Answer, wallet("payments_received"), LOOK),
    step("held payments are listened to", Flow::Answer, wallet("payments_held"), LOOK),
    step("the held payment is noted", Flow::Answer, database("payment_hold"), COMMIT),
    // The work.
    step("the request is claimed", Flow::Answer, database("kept_claim"), COMMIT),
    step("the backend begins", Flow::Answer, backend("stream"), DO),
    step("the answer begins", Flow::Answer, backend("event"), PART),
    Step { nth: 3, ..step("the answer goes on", Flow::Answer, backend("event"), PART) },
    step("a text is evaluated", Flow::Text, backend("complete"), DO),
    step("the service is connected to", Flow::Service, upstream("is_reachable"), CONNECT),
    step("the service is called", Flow::Service, upstream("call"), DO),
    step("the answer is stored", Flow::Answer, database("kept_finish"), COMMIT),
    step("what the service says is stored", Flow::Service, database("kept_finish"), COMMIT),
    // The payment is taken.
    step("the payment is taken", Flow::Answer, wallet("hold_invoice_settle"), DO),
    step("the record says that it is taken", Flow::Answer, wallet("invoice_status"), LOOK_LATE),
    step("the payment is credited and charged", Flow::Answer, database("payment_credit"), COMMIT),
    // The payment is given back.
    step("the failure is recorded", Flow::Failure, database("kept_finish"), COMMIT),
    step("the payment is given back", Flow::Failure, wallet("hold_invoice_cancel"), DO),
    step("the record says that nothing is held", Flow::Failure, wallet("invoice_status"), LOOK_LATE),
    step("the request is ended", Flow::Failure, database("kept_end"), COMMIT),
    step("the offer expires", Flow::Late, database("invoice_expire"), COMMIT),
    step("the late payment is given back", Flow::Late, wallet("hold_invoice_cancel"), DO),
    // After a fault.
    Step {
        after: Some((wallet("hold_invoice_settle"), Away)),
        ..step("the request is handed back", Flow::Answer, database("kept_lease_change"), COMMIT)
    },
    Step {
        nth: 2,
        after: Some((wallet("hold_invoice_settle"), Away)),
        ..step("the request is claimed again", Flow::Answer, database("kept_claim"), COMMIT)
    },
    Step {
        nth: 2,
        after: Some((wallet("hold_invoice_settle"), Lost { happens: false })),
        ..step("the payment is taken again", Flow::Answer, wallet("hold_invoice_settle"), DO)
    },
    Step {
        after: Some((backend("event"), Lost { happens: true })),
        ..step("what the failed work has cost is recorded", Flow::Answer, database("post"), COMMIT)
    },
    // After a death: what the dead server has begun is ended by another one.
    Step {
        server: 1,
        after: Some((backend("event"), Dies(Before))),
        ..step("the request of a dead server is claimed", Flow::Answer, database("kept_claim"), COMMIT)
    },
    Step {
        server: 1,
        after: Some((backend("event"), Dies(Before))),
        ..step("the request of a dead server is done again", Flow::Answer, backend("stream"), DO)
    },
    Step {
        server: 1,
        after: Some((database("kept_finish"), Dies(Before))),
        ..step("the second answer is stored", Flow::Answer, database("kept_finish"), COMMIT)
    },
    Step {
        server: 1,
        after: Some((upstream("call"), Dies(After))),
        ..step("the call of a dead server is given up", Flow::Service, database("kept_finish"), COMMIT)
    },
    Step {
        server: 1,
        after: Some((wallet("hold_invoice_settle"), Dies(Before))),
        ..step("another server takes the payment", Flow::Answer, wallet("hold_invoice_settle"), DO)
    },
    Step {
        server: 1,
        after: Some((database("payment_credit"), Dies(Before))),
        ..step("another server credits the payment", Flow::Answer, database("payment_credit"), COMMIT)
    },
    Step {
        server: 1,
        after: Some((wallet("hold_invoice_cancel"), Dies(Before))),
        ..step("another server gives the payment back", Flow::Failure, wallet("hold_invoice_cancel"), DO)
    },
    Step {
        server: 1,
        after: Some((wallet("hold_invoice_cancel"), Dies(After))),
        ..step("another server ends the request", Flow::Failure, database("kept_end"), COMMIT)
    },
];

/// Calls that do nothing for the request.
const OTHERS: [Call; 1] = [wallet("balance")];

/// Those of a request that has got an ordinary invoice, because the wallet has refused a hold invoice. They have a table of their own.
const PREPAID: [Call; 3] =
    [wallet("invoice_create"), database("session_request_begin"), database("session_request_finish")];

/// What has come of it for the customer.
enum Got {
    /// The payment was taken, and its proof has this answer.
    Answer(Box<Payment>, KeyedResponse),
    /// The payment has come back.
    Payment(OfferedRequest),
}

struct Trial {
    scene: Scene,
    flow: Flow,
    name: String,
    /// In the order of their deaths; the last one is alive.
    servers: Vec<Server>,
    /// What goes wrong, by server.
    plans: Vec<(usize, Call, u32, CallFault)>,
}

impl Trial {
    async fn open(name: String, flow: Flow) -> Self {
        let mut scene = holding().await;
        // Held payments are reported by their events. What the database has missed is found later.
        scene.settings.poll_interval = Duration::from_secs(5);
        scene.settings.wallet_timeout = Duration::from_secs(2);
        scene.settings.session_evaluation = true;
        // Time that passes costs time: the simulated wallet's listeners look at its file all the while.
        scene.settings.lease = Duration::from_secs(10);
        scene.settings.claim_interval = Duration::from_hours(1);
        scene.settings.readiness_interval = Duration::from_mins(1);
        if flow == Flow::Failure {
            for _ in 0..30 {
                scene.backend.say_to_work(Answer::of(&[], Ends::Refused));
            }
        }
        Self { scene, flow, name, servers: Vec::new(), plans: Vec::new() }
    }

    /// The server that the customer reaches: the one that lives, or a new one.
    async fn server(&mut self) -> usize {
        let number = self.servers.len();
        if self.servers.last().is_none_or(|server| server.power.is_off()) {
            let mut server = self.scene.server_elsewhere().await;
            let reader = Reader { flow: self.flow, mount: Arc::clone(&server.mount) };
            server.engine.sessions.read_sent_with(Arc::new(reader));
            for (_, call, nth, fault) in self.plans.iter().filter(|(of, ..)| *of == number) {
                plan(&self.scene, &server, *call, *nth, *fault, OUTAGE);
            }
            server.start();
            self.servers.push(server);
        }
        self.servers.len() - 1
    }

    /// Asks whichever server lives until one answers.
    async fn until_answered<T>(&mut self, ask: impl AsyncFn(&Server) -> Result<T, EngineError>) -> T {
        let mut last = None;
        for _ in 0..TRIES {
            let server = self.server().await;
            let server = &self.servers[server];
            tokio::select! {
                answer = ask(server) => match answer {
                    Ok(answer) => return answer,
                    Err(failure) => {
                        assert!(may_be_repeated(&failure), "{}: {failure:?}", self.name);
                        last = Some(failure);
                    }
                },
                () = server.power.goes_off() => {}
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
        panic!("{}: never answered: {last:?}", self.name)
    }

    /// The customer, from the offer to the end of the payment.
    async fn buy(&mut self) -> Got {
        let flow = self.flow;
        let offer = async |server: &Server| {
            let sent = SentRequest {
                method: "POST".to_owned(),
                path: "/api/ask".to_owned(),
                query: None,
                headers: Vec::new(),
                body: REQUEST.into(),
            };
            let (prompt, sent) = (flow.prompt(&server.mount), Some(Arc::new(sent)));
            let new = NewPaidRequest { prompt, sent, ..asked_from("192.0.2.1", REQUEST) };
            server.engine.sessions.offer_request(new).await
        };
        let offered = self.until_answered(offer).await;
        if flow == Flow::Late {
            self.scene.clock.advance(self.scene.settings.invoice_expiry + Duration::from_secs(1));
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let Some(preimage) = self.payment(&offered).await else { return Got::Payment(offered) };
        let server = self.server().await;
        let proof = proof(&self.servers[server], &offered, preimage);
        let payment = Payment { offered, preimage, proof };
        let answer = self.until_answered(async |server| redeem(server, &payment, flow).await).await;
        assert!(answer.replayed || !payment.offered.is_held, "{}: it was done before", self.name);
        Got::Answer(Box::new(payment), answer)
    }

    /// What the customer's wallet says of the payment in the end. Whoever dies meanwhile has a successor.
    async fn payment(&mut self, offered: &OfferedRequest) -> Option<Preimage> {
        let invoice = offered.invoice.payment_request.parse().unwrap();
        for _ in 0..TRIES {
            match self.scene.wallet.pay(&invoice).await {
                Ok(preimage) => return Some(preimage),
                Err(TestPaymentError::Returned(_)) => return None,
                Err(TestPaymentError::Held(_)) => {}
                Err(failure) => panic!("{}: {failure:?}", self.name),
            }
            self.server().await;
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
        panic!("{}: the payment does not end", self.name)
    }

    /// Waits until the session is over, and with it the kept request: the customer's wallet may know that before it is recorded.
    async fn session_ends(&mut self, got: &Got) {
        let session = match got {
            Got::Answer(payment, _) => payment.offered.session,
            Got::Payment(offered) => offered.session,
        };
        for _ in 0..TRIES {
            let store = &self.scene.store;
            let (kept, stored) = (store.kept_request(session).await, store.session(session).await);
            let has_ended = stored.unwrap().is_some_and(|session| session.end().is_some());
            if has_ended && kept.unwrap().is_none_or(|kept| kept.state == KeptState::Ended) {
                return;
            }
            self.server().await;
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
        panic!("{}: it does not end", self.name)
    }

    /// Exactly one of both: an answer and its charge, or the payment and nothing else.
    async fn check(&self, got: &Got) {
        let (name, scene, server) = (&self.name, &self.scene, self.servers.last().unwrap());
        let (offered, is_answered) = match got {
            Got::Answer(payment, answer) => {
                let again = redeem(server, payment, self.flow).await.unwrap();
                assert_eq!((&again.response, again.replayed), (&answer.response, true), "{name}");
                let view = payment.view(server).await;
                assert_eq!((view.state, view.paid), (PaymentState::Used, payment.offered.price.to_msats()));
                assert!(!view.charged.is_zero(), "{name}: {view:?}");
                payment.assert_whole(scene, server).await;
                (&payment.offered, true)
            }
            Got::Payment(offered) => {
                let invoice = offered.invoice.payment_request.parse().unwrap();
                let payment = scene.wallet.pay(&invoice).await;
                assert!(matches!(payment, Err(TestPaymentError::Returned(_))), "{name}: {payment:?}");
                let session = scene.store.session(offered.session).await.unwrap().unwrap();
                assert_eq!(session.paid_in, Msats::ZERO, "{name}");
                assert!(session.end().is_some(), "{name}: {:?}", session.state);
                (offered, false)
            }
        };
        let requests = scene.store.session_requests(offered.session, None, 9).await.unwrap();
        assert_eq!(requests.len(), usize::from(is_answered), "{name}: {requests:?}");
        let kept = scene.store.kept_request(offered.session).await.unwrap();
        assert!(kept.is_none_or(|kept| kept.state == KeptState::Ended && kept.sent.is_none()), "{name}");
        if self.flow == Flow::Service {
            let done = scene.service.load(Ordering::SeqCst);
            assert!(done <= 1 && done >= u32::from(is_answered), "{name}: done {done} times");
        }
    }

    /// The dead live after all; nothing changes by that. Returns the calls of all servers.
    async fn end(self, got: &Got) -> BTreeMap<Call, u32> {
        self.check(got).await;
        self.servers.iter().for_each(|server| server.power.mend());
        tokio::time::sleep(AFTERLIFE).await;
        self.check(got).await;
        let mut calls = BTreeMap::new();
        for server in &self.servers {
            for (call, times) in server.power.calls.seen() {
                *calls.entry(call).or_default() += times;
            }
        }
        drop(self.servers);
        self.scene.finish().await;
        calls
    }
}

async fn redeem(server: &Server, payment: &Payment, flow: Flow) -> Result<KeyedResponse, EngineError> {
    let work = PaidWork { prompt: flow.prompt(&server.mount), ..work(REQUEST) };
    server.engine.sessions.redeem(&payment.proof, work, Arc::new(Plainly)).await
}

/// Whether the same may be sent again, as a client understands it: the server, its wallet or its database has failed, or is busy.
const fn may_be_repeated(failure: &EngineError) -> bool {
    matches!(
        failure,
        EngineError::RequestInProgress
            | EngineError::PaidRequest(PaidRequestError::Running | PaidRequestError::NotArrived)
            | EngineError::NoWallet
            | EngineError::UpstreamFailed(_)
            | EngineError::Busy
            | EngineError::OutcomeUnknown
            | EngineError::Internal
    )
}

/// Whether the payment must be taken, or must go back; `None` if either may be: what does the work has failed, or may have.
fn must_be_answered(step: &Step) -> Option<bool> {
    if !step.flow.is_answered() {
        return Some(false);
    }
    let works = |call: &Call| matches!(call.port, Port::Backend | Port::Upstream);
    let fails = works(&step.call) || step.after.is_some_and(|(call, _)| works(&call));
    // The call of a service is not made again.
    (!fails && step.flow != Flow::Service).then_some(true)
}

/// One fault of one step. Returns all calls.
async fn trial(step: &Step, fault: CallFault) -> BTreeMap<Call, u32> {
    let Step { what, flow, call, nth, server, after, .. } = *step;
    let after_what = after.map(|after| format!(" after {after:?}")).unwrap_or_default();
    let name = format!("{what} ({flow:?}, {call:?} {nth}{after_what}): {fault:?}");
    let mut trial = Trial::open(name, flow).await;
    trial.plans.push((server, call, nth, fault));
    trial.plans.extend(after.map(|(call, fault)| (0, call, 1, fault)));
    let got = trial.buy().await;
    trial.session_ends(&got).await;
    let name = &trial.name;
    let struck = trial.servers.get(server).is_some_and(|server| server.power.calls.has_struck());
    assert!(struck, "{name}: it has not come about");
    let is_answered = matches!(got, Got::Answer(..));
    assert!(must_be_answered(step).is_none_or(|must| must == is_answered), "{name}: answered: {is_answered}");
    trial.end(&got).await
}

async fn all(rows: impl Fn(&&Step) -> bool) {
    let mut seen = BTreeSet::new();
    for (row, step) in STEPS.iter().enumerate().filter(|(_, step)| rows(step)) {
        for fault in tried(row, step.faults) {
            seen.extend(trial(step, fault).await.into_keys());
        }
    }
    let table: BTreeSet<_> = table(|_| true).into_iter().chain(PREPAID).collect();
    let missing: Vec<_> = seen.difference(&table).collect();
    assert!(missing.is_empty(), "calls that the table does not have: {missing:?}");
}

fn table(rows: impl Fn(&&Step) -> bool) -> BTreeSet<Call> {
    STEPS.iter().filter(rows).map(|step| step.call).chain(OTHERS).collect()
}

#[tokio::test(start_paused = true)]
async fn after_any_fault_a_held_request_is_answered_and_charged_once_or_neither() {
    all(|step| step.flow == Flow::Answer && step.after.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn after_any_second_fault_a_held_request_is_answered_and_charged_once_or_neither() {
    all(|step| step.flow == Flow::Answer && step.after.is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn after_any_fault_a_held_text_or_call_is_answered_and_charged_once_or_neither() {
    all(|step| matches!(step.flow, Flow::Text | Flow::Service)).await;
}

#[tokio::test(start_paused = true)]
async fn after_any_fault_the_payment_of_a_held_request_that_fails_or_is_late_goes_back() {
    all(|step| matches!(step.flow, Flow::Failure | Flow::Late)).await;
}

#[tokio::test(start_paused = true)]
async fn the_table_of_held_requests_has_every_call_into_the_world() {
    let mut seen = BTreeSet::new();
    for flow in Flow::ALL {
        let mut trial = Trial::open(format!("{flow:?}"), flow).await;
        let got = trial.buy().await;
        trial.session_ends(&got).await;
        assert_eq!(matches!(got, Got::Answer(..)), flow.is_answered(), "{flow:?}");
        let calls = trial.end(&got).await;
        for step in STEPS.iter().filter(|step| step.flow == flow && step.after.is_none()) {
            let times = calls.get(&step.call).copied().unwrap_or_default();
            assert!(
                times >= step.nth,
                "{flow:?}: {:?} is made {times} times, the table says {}",
                step.call,
                step.nth
            );
        }
        seen.extend(calls.into_keys());
    }
    assert_eq!(seen, table(|step| step.after.is_none()), "the calls that were seen, and those of the table");
}
