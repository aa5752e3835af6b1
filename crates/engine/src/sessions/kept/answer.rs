//! The answer to a kept request, as it is stored until its payment is taken.

use super::super::request::Running;
use super::super::request_finish::{FinishedRequest, RenderRequest, RequestOutcome};
use crate::metered::Delivered;
use tithe_money::Msats;
use tithe_sessions::{
    ChargeBasis, KeptAnswer, RequestEnded, RequestId, RequestState, Session, SessionEnd, SessionRequest,
};
use tithe_trust::Tier;

/// The answer as it is stored until the payment is taken; `None` if there is nothing to pay for. What will be charged is known by now: no
/// more than the price, of which the pool pays nothing.
pub(super) fn answer_of(
    id: RequestId,
    running: &Running,
    outcome: RequestOutcome,
    tier: Tier,
    render: &dyn RenderRequest,
) -> Option<KeptAnswer> {
    let (request, session) = (&running.request, &running.session);
    let basis = ChargeBasis {
        request_sha256: running.prompt.hash().to_bytes(),
        btc_price: running.quotes.work.terms.btc.price,
    };
    let ended_with = |cost: Msats| RequestEnded {
        cost,
        charged: cost.min(request.limit),
        absorbed: Msats::ZERO,
        basis: Some(basis),
    };
    let (state, answer, is_fault, ended) = match outcome {
        RequestOutcome::Completed { result, answer, cost } => {
            let ended = ended_with(cost);
            (RequestState::Complete { result, ended }, Some(answer), false, ended)
        }
        RequestOutcome::Rejected { reason, cost } => {
            let ended = ended_with(cost);
            (RequestState::Rejected { reason, ended }, None, true, ended)
        }
        RequestOutcome::Unreadable { reason, cost } => {
            let ended = ended_with(cost);
            (RequestState::Rejected { reason, ended }, None, false, ended)
        }
        RequestOutcome::Failed { .. } | RequestOutcome::Lost { .. } => return None,
    };
    let is_work = answer.as_ref().is_some_and(Delivered::is_work);
    let finished = FinishedRequest {
        request: SessionRequest { id, state: state.clone(), ..request.clone() },
        answer,
        // What is left is refunded.
        balance: Msats::ZERO,
        held: Msats::ZERO,
        end: Some(end_of(session, ended.charged)),
        tier,
    };
    let response = render.render(&finished);
    Some(KeptAnswer { state, status: response.status, body: response.body, is_work, is_fault })
}

/// How a session of one request ends when so much of its price is charged.
fn end_of(session: &Session, charged: Msats) -> SessionEnd {
    let left = session.deposit.to_msats().saturating_sub(charged);
    let refund = left.to_sats_rounding_down();
    SessionEnd { refund, rounding: left.saturating_sub(refund.to_msats()) }
}
