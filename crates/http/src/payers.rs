//! Finding out who pays for a request, and having it done.

use crate::answering::{AnswerFormat, Answering};
use crate::credentials::{Caller, Incoming};
use crate::idempotency::{self, Begun};
use crate::licence::check_licence;
use crate::limits::{Payer, UnpaidRequest};
use crate::offers::{self, Offering};
use crate::paid_request::{PaidBy, PaidFor};
use crate::payment_proof;
use crate::payment_sessions;
use crate::problem::{self, Code, Problem};
use crate::receipts;
use crate::state::AppState;
use crate::wanted::Wanted;
use crate::wire::CreditsBody;
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;
use tithe_engine::asks::NewAsk;
use tithe_engine::credits::PresentedInstall;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::sessions::{NewWork, PaidWork, PresentedProof, SessionAccess};
use tithe_engine::{Engine, EngineError, PaymentNeeded};
use tithe_ledger::credits::InstallId;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// Has a request done for the first of these who pays: a session, of macaroons or of the scheme `Payment`; a payment for this one request, the plan of an install, the pool.
/// Whatever credentials the request carries must all be valid. If nobody pays, an invoice is offered.
pub(crate) async fn have_done<F: AnswerFormat>(
    state: &AppState,
    request: &HttpRequest,
    incoming: &Incoming<'_>,
    key: Option<idempotency::Key>,
    wanted: Wanted<F>,
) -> Result<HttpResponse, Problem> {
    let session = incoming.session(state)?;
    let proof = incoming.proof()?;
    let install = incoming.install(state)?;
    if let Some(access) = session {
        if proof.is_some() {
            return Err(payment_proof::several_payers());
        }
        // Other credentials beside the macaroon must be valid.
        incoming.identify(state)?;
        check_licence(state, install).await?;
        return for_session(state, request, access, key, wanted).await;
    }
    if let Some(proof) = proof {
        if let Some(authorization) = payment_proof::of_session(&proof) {
            let presented = (authorization, install);
            return payment_sessions::have_done(state, request, incoming, presented, wanted).await;
        }
        return for_payment(state, request, incoming, (proof, install), wanted).await;
    }
    let hash = wanted.prompt.hash();
    state.refuse_while_draining()?;
    let id = install.as_ref().map(|install| install.id);
    let (caller, key) = match idempotency::begin_of_payer(incoming, key, id, state).await? {
        Begun::New(caller, key) => (caller, key),
        Begun::Answered(keyed) => return Ok(replayed(wanted, keyed)),
    };
    let by = PaidBy { install: id, identity: caller.identity_by_token() };
    let Caller { identity, signature } = caller;
    let offering = Offering::new(state, request, incoming, &wanted, by.identity);
    let paid_for = PaidFor::new(request, by, incoming.paid_body());
    let payer = id.map(InstallId::uuid).or_else(|| identity.and_then(distinct));
    let Wanted { id, prompt, model, max_output_tokens, is_stream, of_others, format, problem, .. } = wanted;
    let (answering, client) = Answering::new(state, request, payer, is_stream, F::is_sent)?;
    let origin = offers::origin(state, request);
    let presented = install.clone();
    let new = NewAsk { id, install, identity, signature, origin, prompt, model, max_output_tokens, client };
    let engine = Arc::clone(&state.engine);
    let work = async move {
        match engine.asks.ask(new, key.map(|key| *key), of_others).await {
            Err(EngineError::PaymentNeeded(needed)) => Err(unpaid(&engine, needed, presented).await),
            done => done.map_err(problem),
        }
    };
    let payer = payer.map_or_else(|| Payer::Unknown(state.limits.client(request)), Payer::Known);
    match answering.with(state, format, work).await {
        Err(problem) if problem.status() == 402 => {
            let offered = offering.add_to(problem, &paid_for, state).await;
            Err(offered.if_unpaid(UnpaidRequest { payer, hash }))
        }
        answered => answered,
    }
}

/// Has the request done that a payment was made for: once, whatever idempotency keys come with its proof.
pub(crate) async fn for_payment<F: AnswerFormat>(
    state: &AppState,
    request: &HttpRequest,
    incoming: &Incoming<'_>,
    (proof, install): (PresentedProof, Option<PresentedInstall>),
    wanted: Wanted<F>,
) -> Result<HttpResponse, Problem> {
    // Other credentials beside the proof must be valid.
    let identity = incoming.identify(state)?.identity_by_token();
    let paid = state.engine.sessions.proven(&proof)?;
    let by = PaidBy { install: install.as_ref().map(|install| install.id), identity };
    check_licence(state, install).await?;
    state.refuse_while_draining()?;
    let offering = Offering::new(state, request, incoming, &wanted, identity);
    let paid_for = PaidFor::new(request, by, incoming.paid_body());
    let digest = paid_for.digest();
    let unpaid = UnpaidRequest { payer: Payer::Known(paid.session.0), hash: wanted.prompt.hash() };
    let Wanted { id, prompt, is_stream, of_session, format, problem, .. } = wanted;
    let (answering, client) = Answering::new(state, request, Some(paid.session.0), is_stream, F::is_sent)?;
    let work = PaidWork { id, digest, prompt, client };
    let (sessions, redeemed) = (state.engine.sessions.clone(), paid.clone());
    let work = async move { sessions.redeem(&redeemed, work, of_session).await.map_err(problem) };
    match answering.with(state, format, work).await {
        Ok(mut response) => {
            // What was redirected is charged, too.
            if response.status().is_success() || response.status().is_redirection() {
                receipts::add(state, &paid, &mut response).await;
            }
            Ok(response)
        }
        // The proof is genuine and buys nothing here: clients of L402 send it with whatever they ask next.
        Err(problem) if problem.status() == 402 => {
            let problem = if problem.code() == Code::ProofForAnotherRequest {
                let difference = paid_for.difference(|digest| paid.is_for(*digest));
                problem.with_detail(format!("the proof is for another request: {difference}"))
            } else {
                problem
            };
            Err(offering.add_to(problem, &paid_for, state).await.if_unpaid(unpaid))
        }
        Err(problem) => Err(problem),
    }
}

/// Half of a public key is as distinct as an id.
fn distinct(identity: NostrPubkey) -> Option<Uuid> {
    Uuid::from_slice(identity.to_bytes().get(..16)?).ok()
}

/// Has a request done and charges it to a session.
pub(crate) async fn for_session<F: AnswerFormat>(
    state: &AppState,
    request: &HttpRequest,
    access: SessionAccess,
    key: Option<idempotency::Key>,
    wanted: Wanted<F>,
) -> Result<HttpResponse, Problem> {
    let key = key.map(|key| key.in_scope(access.scope()));
    state.refuse_while_draining()?;
    let Wanted { id, prompt, model, max_output_tokens, is_stream, of_session, format, problem, .. } = wanted;
    let (answering, client) = Answering::new(state, request, Some(access.session.0), is_stream, F::is_sent)?;
    let session = access.session;
    let unpaid = UnpaidRequest { payer: Payer::Known(session.0), hash: prompt.hash() };
    let least = state.engine.settings().session_payment_min;
    let new = NewWork { id, access, prompt, model, max_output_tokens, client, replenish: None };
    let sessions = state.engine.sessions.clone();
    let work = async move {
        let failure = match sessions.request(new, key, of_session).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let EngineError::InsufficientBalance { required, available } = failure else {
            return Err(problem(failure).about_session(session, least));
        };
        let offered = sessions.offer_top_up(session, required.saturating_sub(available)).await;
        let problem = problem(failure).about_session(session, least);
        Err(offered.iter().fold(problem, Problem::offering))
    };
    answering.with(state, format, work).await.map_err(|problem| problem.if_unpaid(unpaid))
}

fn replayed<F: AnswerFormat>(wanted: Wanted<F>, keyed: KeyedResponse) -> HttpResponse {
    let mut format = wanted.format;
    if wanted.is_stream { format.at_once(keyed) } else { format.whole(keyed) }
}

/// The problem that nobody pays for a request, with what the install has left, if its plan is why.
pub(crate) async fn unpaid(
    engine: &Engine,
    needed: PaymentNeeded,
    install: Option<PresentedInstall>,
) -> Problem {
    let least = engine.settings().session_payment_min.get();
    let required = needed.required.to_sats_rounding_up().map_or(u64::MAX, tithe_money::Sats::get);
    let unpaid = Problem::from(EngineError::PaymentNeeded(needed))
        .with_extension(problem::TOP_UP, problem::deposit(required.max(least)));
    let Some(install) = install.filter(|_| needed.credits.is_some()) else { return unpaid };
    let Ok(left) = engine.credits.balance(&install).await else { return unpaid };
    let credits = serde_json::to_value(CreditsBody::from(&left.balance));
    unpaid.with_extension("credits", credits.unwrap_or_default())
}
