//! Having a service called, for whoever pays for it.

use super::answer::MountedAnswer;
use crate::credentials::Incoming;
use crate::idempotency;
use crate::licence::check_licence;
use crate::limits::{Payer, UnpaidRequest};
use crate::offers::Offering;
use crate::paid_request::{PaidBy, PaidFor};
use crate::payers::{for_payment, for_session, unpaid};
use crate::payment_proof;
use crate::payment_sessions;
use crate::problem::{Code, Problem};
use crate::state::AppState;
use crate::wanted::Wanted;
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;
use tithe_engine::mounts::Mount;
use tithe_engine::{EngineError, PaymentNeeded};

/// Has a service called for the first of these who pays: a session, of macaroons or of the scheme `Payment`; a payment for this one request.
/// Whatever credentials the request carries must all be valid. If nobody pays, an invoice is offered, unless the service cannot be reached.
pub(super) async fn have_called(
    state: &AppState,
    request: &HttpRequest,
    incoming: &Incoming<'_>,
    key: Option<idempotency::Key>,
    wanted: Wanted<MountedAnswer>,
    mount: &Arc<Mount>,
) -> Result<HttpResponse, Problem> {
    let session = incoming.session(state)?;
    let proof = incoming.proof()?;
    let install = incoming.install(state)?;
    match (session, proof) {
        (Some(_), Some(_)) => Err(payment_proof::several_payers()),
        (Some(access), None) => {
            incoming.identify(state)?;
            check_licence(state, install).await?;
            for_session(state, request, access, key, wanted).await
        }
        (None, Some(proof)) => match payment_proof::of_session(&proof) {
            Some(authorization) => {
                let presented = (authorization, install);
                payment_sessions::have_done(state, request, incoming, presented, wanted).await
            }
            None => for_payment(state, request, incoming, (proof, install), wanted).await,
        },
        (None, None) => {
            let identity = incoming.identify(state)?.identity_by_token();
            let by = PaidBy { install: install.as_ref().map(|install| install.id), identity };
            check_licence(state, install).await?;
            state.refuse_while_draining()?;
            check_reachable(state, mount).await?;
            let required = mount.price.most().map_err(EngineError::from)?;
            let needed = PaymentNeeded { required, credits: None };
            let problem = unpaid(&state.engine, needed, None).await;
            let offering = Offering::new(state, request, incoming, &wanted, identity);
            let paid_for = PaidFor::new(request, by, incoming.body());
            let offered = offering.add_to(problem, &paid_for, state).await;
            let payer = Payer::Unknown(state.limits.client(request));
            Err(offered.if_unpaid(UnpaidRequest { payer, hash: wanted.prompt.hash() }))
        }
    }
}

/// Nobody is asked to pay for what cannot be done.
async fn check_reachable(state: &AppState, mount: &Arc<Mount>) -> Result<(), Problem> {
    let mount = Arc::clone(mount);
    let looking = state.runtime.spawn(async move { mount.upstream.is_reachable().await });
    if looking.await.unwrap_or(false) {
        return Ok(());
    }
    let detail = "the service behind this route cannot be reached; nothing was charged; try again later";
    Err(Problem::new(Code::NoBackend, detail))
}
