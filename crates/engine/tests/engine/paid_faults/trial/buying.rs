//! The customer of one request.

use super::{Replied, TRIES, Trial, may_be_repeated};
use crate::paid_faults::steps::{Flow, Then};
use crate::paid_requests::{Payment, asked_from, proof, work};
use crate::scene::Server;
use futures_util::FutureExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tithe_chat::{Chat, EmbeddingTask};
use tithe_engine::metered::Prompt;
use tithe_engine::mounts::{Method, MountedCall, UpstreamCall};
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{
    FinishedRequest, NewPaidRequest, OfferedRequest, PaidWork, PaymentState, PaymentView, RenderRequest,
};
use tithe_engine::{EngineError, PaidRequestError};
use tithe_free_tier::RequestHash;
use tithe_lightning::TestPayer;
use tithe_payouts::ObligationState;
use tithe_sessions::SessionRepository;

const REQUEST: &str = "hello";

/// What the customer of one request got.
pub(super) struct Got {
    pub(super) payment: Payment,
    pub(super) answer: Option<StoredResponse>,
}

impl Trial {
    /// The customer of one request.
    pub(super) async fn buy(&mut self) -> Got {
        let flow = self.flow;
        let late = self.scene.wallet_whose_clock_stands().await;
        let offered = self.until_answered(|server| offer(server, flow).boxed()).await;
        let id = offered.session;
        let invoice = offered.invoice.payment_request.parse().unwrap();
        let preimage = if flow == Flow::PaysLate {
            self.scene.clock.advance(self.scene.settings.invoice_expiry + Duration::from_secs(1));
            self.ended(id).await;
            late.pay(&invoice).await.unwrap()
        } else {
            self.scene.wallet.pay(&invoice).await.unwrap()
        };
        let server = self.server().await;
        let payment = Payment { proof: proof(&server, &offered, preimage), offered, preimage };
        if flow.is_reported() {
            self.credited(id).await;
        }
        if flow == Flow::Leaves {
            self.scene.clock.advance(self.scene.settings.paid_request_idle + Duration::from_secs(1));
            self.ended(id).await;
        }
        let answer = if flow.is_sent() { self.redeem(&payment).await } else { None };
        self.claim(&payment).await;
        Got { payment, answer }
    }

    /// Sends the request with its proof: until there is an answer, or until something has gone wrong, as this customer does.
    async fn redeem(&mut self, payment: &Payment) -> Option<StoredResponse> {
        for _ in 0..TRIES {
            let (paid, flow) = (payment.clone(), self.flow);
            let redeem = |server: Arc<Server>| async move { redeem(&server, &paid, flow).await }.boxed();
            match self.send(redeem).await {
                Ok(Ok(answer)) if answer.response.status == FAILED => return None,
                Ok(Ok(answer)) => return Some(answer.response),
                // Its server was gone, and the service may have done it.
                Ok(Err(EngineError::PaidRequest(PaidRequestError::Lost))) if flow == Flow::BuysCall => {
                    return None;
                }
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
    pub(super) async fn claim(&mut self, payment: &Payment) -> PaymentView {
        let payment = payment.clone();
        let view = self.until_answered(|server| {
            let payment = payment.clone();
            async move { server.engine.sessions.payment(&payment.proof).await }.boxed()
        });
        let view = view.await;
        if view.state == PaymentState::Used && view.refund.accrued.get() == 0 {
            return view;
        }
        self.until_answered(|server| {
            let payment = payment.clone();
            async move { payment.claim(&server).await }.boxed()
        })
        .await
    }

    pub(super) async fn check_bought(&self, got: &Got, view: &PaymentView) {
        let (name, payment, scene) = (&self.name, &got.payment, &self.scene);
        // What was paid is charged, refunded or rounded.
        let server = &self.servers[0];
        payment.assert_whole(scene, server).await;
        assert_eq!(view.paid, payment.offered.price.to_msats(), "{name}: {view:?}");
        let requests = scene.store.session_requests(payment.offered.session, None, 99).await.unwrap();
        let answered = requests.iter().filter(|request| request.cost().is_some()).count();
        assert!(answered <= 1, "{name}: {requests:?}");
        match &got.answer {
            Some(answer) => {
                assert_eq!((answered, view.state), (1, PaymentState::Used), "{name}");
                let again = redeem(server, payment, self.flow).await.unwrap();
                assert_eq!((&again.response, again.replayed), (answer, true), "{name}");
            }
            None if answered == 1 => assert_eq!(view.state, PaymentState::Used, "{name}"),
            None => {
                assert!(
                    matches!(view.state, PaymentState::Returned | PaymentState::Expired),
                    "{name}: {view:?}"
                );
                assert_eq!((view.refund.accrued, view.charged.get()), (payment.offered.price, 0), "{name}");
            }
        }
        if self.flow == Flow::BuysCall {
            let done = scene.service.load(Ordering::SeqCst);
            assert!(done <= 1 && usize::try_from(done).unwrap() >= answered, "{name}: {done} times");
        }
        let is_payable = answered == 0 || !self.flow.is_fixed_price();
        assert_eq!(view.refund.accrued.get() > 0, is_payable, "{name}: {view:?}");
        assert_eq!(view.refund.state == ObligationState::Paid, is_payable, "{name}: {view:?}");
        self.check_books(usize::from(is_payable)).await;
    }
}

/// What is asked for.
fn prompt(server: &Server, flow: Flow) -> Prompt {
    match flow {
        Flow::BuysCall => {
            let call = UpstreamCall {
                method: Method::Post,
                below: String::new(),
                query: None,
                headers: Vec::new(),
                body: REQUEST.into(),
            };
            let call = MountedCall { mount: server.mount.clone(), call };
            Prompt::call(call, RequestHash::of(REQUEST))
        }
        Flow::BuysText => Prompt::text(REQUEST.to_owned()),
        Flow::BuysEmbeddings => {
            Prompt::embeddings(EmbeddingTask::of(vec![REQUEST.to_owned()]), REQUEST.as_bytes())
        }
        _ => Prompt::chat(Chat::of(REQUEST), REQUEST.as_bytes()),
    }
}

async fn offer(server: Arc<Server>, flow: Flow) -> Result<OfferedRequest, EngineError> {
    let model = (flow == Flow::BuysEmbeddings).then(|| "sim-embedding".to_owned());
    let new = NewPaidRequest { prompt: prompt(&server, flow), model, ..asked_from("192.0.2.1", REQUEST) };
    server.engine.sessions.offer_request(new).await
}

async fn redeem(server: &Server, payment: &Payment, flow: Flow) -> Replied {
    let work = PaidWork { prompt: prompt(server, flow), ..work(REQUEST) };
    server.engine.sessions.redeem(&payment.proof, work, Arc::new(Rendered)).await
}

/// The status of a stored response that says that there is no answer.
pub(super) const FAILED: u16 = 502;

/// Says which request it was and what came of it.
#[derive(Debug)]
struct Rendered;

impl RenderRequest for Rendered {
    fn render(&self, finished: &FinishedRequest) -> StoredResponse {
        let refund = finished.end.map(|end| end.refund.get());
        let body = format!("{} {} {refund:?}", finished.request.id, finished.request.state_name());
        let status = if finished.request.cost().is_some() { 200 } else { FAILED };
        StoredResponse { status, body }
    }
}
