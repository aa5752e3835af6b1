//! `tools/call`: the same request as `POST /api/ask`, in another envelope.

use super::super::plain_answer::{PlainAnswer, PlainReply};
use super::error::RpcError;
use super::message::Call;
use super::payment::{self, RECEIPT};
use super::reply;
use super::revision::Revision;
use super::tool::{Asked, InvalidCall};
use crate::credentials::Incoming;
use crate::idempotency;
use crate::licence::check_licence;
use crate::limits::{Payer, UnpaidRequest};
use crate::offers::Offering;
use crate::paid_request::{PaidBy, PaidFor};
use crate::payers;
use crate::payment_proof;
use crate::problem::{Code, Problem};
use crate::state::AppState;
use crate::wanted::Wanted;
use actix_web::body::{BoxBody, to_bytes};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tithe_engine::metered::Prompt;
use tithe_engine::sessions::PresentedProof;
use tithe_engine::{EngineError, InvalidProof};
use tithe_paywall::payment::Refused;

/// Has a call done.
///
/// # Errors
/// Problems of the request as one of HTTP: credentials in its headers that are wrong.
pub(super) async fn run(
    state: &AppState,
    request: &HttpRequest,
    body: &[u8],
    (call, revision): (&Call, Revision),
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(call).and_then(|asked| Ok((asked.canonical()?, asked)));
    let (canonical, asked) = match asked {
        Ok(asked) => asked,
        Err(InvalidCall::Tool(detail)) => {
            return Ok(RpcError::invalid_params(&detail).respond(Some(&call.id)));
        }
        Err(InvalidCall::Arguments(detail)) => {
            return Ok(reply::respond(call, revision, failed(&detail, None)));
        }
    };
    let proof = match payment::proof(call) {
        Ok(proof) => proof,
        Err(error) => return Ok(error.respond(Some(&call.id))),
    };
    let unproven = proof.as_ref().and_then(|proof| unproven(state, proof));
    if let Some(EngineError::InvalidProof(InvalidProof::Challenge(Refused::Payload(wrong)))) = &unproven {
        return Ok(payment::malformed(wrong).respond(Some(&call.id)));
    }
    let in_header = request.headers().get_all(AUTHORIZATION).any(payment_proof::is_meant);
    let was_tried = proof.is_some() || in_header;
    match done(state, request, (body, canonical.as_bytes()), asked, (proof, unproven)).await {
        // What the headers say is wrong. Whoever sent it may have paid, and is offered nothing.
        Err(problem) if problem.status() == 401 => Err(problem),
        Err(problem) => wrapped(call, revision, was_tried, problem.error_response()).await,
        Ok(response) => wrapped(call, revision, was_tried, response).await,
    }
}

/// Does what was asked, as the request of a whole answer, unless the proof in the message proves nothing.
async fn done(
    state: &AppState,
    request: &HttpRequest,
    (body, canonical): (&[u8], &[u8]),
    asked: Asked,
    (proof, unproven): (Option<PresentedProof>, Option<EngineError>),
) -> Result<HttpResponse, Problem> {
    let key = idempotency::read(request, canonical, state.engine.settings())?;
    let incoming = Incoming::with_body(request, body, None)?.with_bearer().with_proofs();
    let incoming = incoming.with_call(canonical, proof);
    let wanted = wanted(asked);
    match unproven {
        Some(failure) => Err(refuse(state, request, &incoming, failure, &wanted).await?),
        None => payers::have_done(state, request, &incoming, key, wanted).await,
    }
}

/// The request that is to be done for whoever pays.
fn wanted(asked: Asked) -> Wanted<PlainAnswer> {
    let Asked { request, model, max_output_tokens } = asked;
    let reply = Arc::new(PlainReply::new());
    Wanted {
        id: None,
        prompt: Prompt::text(request),
        model,
        max_output_tokens,
        is_stream: false,
        of_session: Arc::<PlainReply>::clone(&reply),
        of_others: reply,
        format: PlainAnswer,
        problem: Problem::from,
    }
}

/// Why the proof of a message proves nothing, as far as that needs no look-up.
fn unproven(state: &AppState, proof: &PresentedProof) -> Option<EngineError> {
    let sessions = &state.engine.sessions;
    match payment_proof::of_session(proof) {
        Some(authorization) => sessions.session_credential(authorization).err(),
        None => sessions.proven(proof).err(),
    }
}

/// The problem of a message whose credential proves nothing, with an offer: the draft demands fresh challenges ("Payment Verification
/// Failure"). As a proof in a header, it would be a 401 without an offer.
async fn refuse(
    state: &AppState,
    request: &HttpRequest,
    incoming: &Incoming<'_>,
    failure: EngineError,
    wanted: &Wanted<PlainAnswer>,
) -> Result<Problem, Problem> {
    incoming.proof()?;
    if incoming.session(state)?.is_some() {
        return Err(payment_proof::several_payers());
    }
    let install = incoming.install(state)?;
    let identity = incoming.identify(state)?.identity_by_token();
    let by = PaidBy { install: install.as_ref().map(|install| install.id), identity };
    check_licence(state, install).await?;
    let problem = Problem::from(failure);
    if problem.code() != Code::InvalidPaymentProof {
        return Ok(problem);
    }
    state.refuse_while_draining()?;
    let detail = format!(
        "{problem}; nothing was charged. If the invoice of this credential was paid, do not pay again: send the challenge and the \
         preimage of that payment"
    );
    let problem = Problem::new(Code::PaymentEnded, detail)
        .with_extension("reason", "invalid_proof")
        .with_extension("balanceSats", 0);
    let paid_for = PaidFor::new(request, by, incoming.paid_body());
    let offered =
        Offering::new(state, request, incoming, wanted, identity).add_to(problem, &paid_for, state).await;
    let payer = Payer::Unknown(state.limits.client(request));
    Ok(offered.if_unpaid(UnpaidRequest { payer, hash: wanted.prompt.hash() }))
}

/// The response to a plain request as that to a call. Its headers stay, but for those of another envelope.
async fn wrapped(
    call: &Call,
    revision: Revision,
    was_tried: bool,
    response: HttpResponse,
) -> Result<HttpResponse, Problem> {
    let (response, body) = response.into_parts();
    let body = to_bytes(body).await.map_err(|_| Problem::from(EngineError::Internal))?;
    let text = String::from_utf8_lossy(&body);
    let fields: Value = serde_json::from_str(&text).unwrap_or_default();
    let status = response.status();
    let challenges = payment::challenges(response.headers());
    if payment::is_of_credential(&fields) {
        let detail = fields.get("detail").and_then(Value::as_str).unwrap_or(&text);
        return Ok(payment::malformed(&detail).respond(Some(&call.id)));
    }
    let (status, message) = if status == StatusCode::PAYMENT_REQUIRED && !challenges.is_empty() {
        payment::error(&challenges, &fields, was_tried).message(Some(&call.id))
    } else {
        let result = if status.is_success() {
            succeeded(&text, &fields, payment::receipt(response.headers()))
        } else {
            failed(fields.get("detail").and_then(Value::as_str).unwrap_or(&text), Some(&fields))
        };
        (StatusCode::OK, reply::message(call, revision, result))
    };
    let mut response = response.set_body(BoxBody::new(message));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.remove(WWW_AUTHENTICATE);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

/// The result of a call that was done: the answer for the model, and all that is known of it for the client.
fn succeeded(body: &str, fields: &Value, receipt: Option<Value>) -> Map<String, Value> {
    let text = fields.get("result").and_then(Value::as_str).unwrap_or(body);
    let mut result = result(text, Some(fields), false);
    if let Some(receipt) = receipt {
        result.insert("_meta".to_owned(), json!({ RECEIPT: receipt }));
    }
    result
}

/// The result of a call that was not done, as models read it; with the problem, if there is one.
fn failed(detail: &str, problem: Option<&Value>) -> Map<String, Value> {
    result(detail, problem, true)
}

fn result(text: &str, structured: Option<&Value>, is_error: bool) -> Map<String, Value> {
    let mut result = Map::new();
    result.insert("content".to_owned(), json!([{ "type": "text", "text": text }]));
    if let Some(structured) = structured.filter(|structured| structured.is_object()) {
        result.insert("structuredContent".to_owned(), structured.clone());
    }
    result.insert("isError".to_owned(), is_error.into());
    result
}
