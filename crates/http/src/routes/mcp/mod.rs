//! MCP: `POST /mcp`, its Streamable HTTP without sessions and without streams, for one tool.

mod call;
mod error;
mod message;
mod origins;
mod payment;
mod reply;
mod revision;
mod tool;

pub(crate) use origins::AllowedOrigins;

use crate::body;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{McpRequestBody, McpResponseBody};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use error::RpcError;
use message::{Call, Message, NoMessage};
use revision::Revision;
use serde_json::{Map, Value, json};

/// For how long clients may keep what says what the server can do, in milliseconds: as long as the OpenAPI document.
const KEEP_MS: u64 = 300_000;

const INSTRUCTIONS: &str = "AI work for sats over Lightning. The tool `ask` costs sats; /openapi.json describes the rest of the API.";

/// Call a tool (MCP)
///
/// The server's MCP (Model Context Protocol), Streamable HTTP of the revisions 2025-03-26 to 2026-07-28, without sessions and streams: one message of JSON-RPC in, one out.
/// Its tool `ask` does what `POST /api/ask` does, for the same payers. A call that nobody pays for is the error -32042, with challenges of the
/// scheme `Payment` (draft-payment-transport-mcp-00): pay one, and call again with the credential in `params._meta["org.paymentauth/credential"]`.
/// The status is 200 whatever becomes of a call.
#[utoipa::path(
    post, path = "/mcp", tag = "Requests", operation_id = "mcp",
    security(
        (), ("Macaroon" = []), ("PaymentProof" = []), ("InstallId" = []), ("InstallId" = [], "Licence" = []), ("NostrToken" = []), ("NostrTokenInQuery" = []),
        ("NostrSignature" = []),
    ),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "repeating a call with the same key returns the same answer for 24 hours, and is paid for once"),
        ("MCP-Protocol-Version" = Option<String>, Header, description = "the revision of MCP; without it, 2025-03-26"),
    ),
    request_body = McpRequestBody,
    responses(
        (status = 200, description = "the response to a request", body = McpResponseBody),
        (status = 202, description = "a notification was received"),
        (status = 400, description = "no message, a revision that is not spoken, or headers that differ from the message", body = McpResponseBody),
        (status = 401, description = "an invalid macaroon, proof of payment, licence or identity in a header", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "the origin is not one of `TITHE_CORS_ORIGINS`", body = McpResponseBody),
        (status = 404, description = "unknown method, if the request says its revision in `_meta` (2026-07-28)", body = McpResponseBody),
    )
)]
pub(crate) async fn post(
    state: Data<AppState>,
    origins: Data<AllowedOrigins>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    if !origins.allow(request.headers()) {
        return Ok(RpcError::origin().respond(None));
    }
    let body = body::read(&request, payload).await.map_err(Problem::private)?;
    match Message::read(&body) {
        Ok(Message::Call(call)) => answer(&state, &request, &body, &call).await.map_err(Problem::private),
        Ok(Message::Notice) => Ok(HttpResponse::Accepted().finish()),
        Err(NoMessage { id, error }) => Ok(error.respond(id.as_ref())),
    }
}

async fn answer(
    state: &AppState,
    request: &HttpRequest,
    body: &[u8],
    call: &Call,
) -> Result<HttpResponse, Problem> {
    let revision = match Revision::of(request.headers(), call) {
        Ok(revision) => revision,
        Err(error) => return Ok(error.respond(Some(&call.id))),
    };
    let result = match call.method.as_str() {
        "tools/call" => return call::run(state, request, body, (call, revision)).await,
        "tools/list" => kept(json!({ "tools": [tool::definition()] })),
        "server/discover" => kept(discovered(state)),
        // 2026-07-28 has neither.
        "initialize" if revision == Revision::Initialized => initialized(state, call),
        "ping" if revision == Revision::Initialized => json!({}),
        unknown => {
            return Ok(
                RpcError::method_not_found(unknown, revision.status_of_unknown()).respond(Some(&call.id))
            );
        }
    };
    let result = if let Value::Object(result) = result { result } else { Map::new() };
    Ok(reply::respond(call, revision, result))
}

/// What the server can do. The set of its tools does not change.
fn capabilities(state: &AppState) -> Value {
    json!({ "tools": {}, "experimental": { "payment": payment::capability(state) } })
}

fn initialized(state: &AppState, call: &Call) -> Value {
    json!({
        "protocolVersion": Revision::agreed(call),
        "capabilities": capabilities(state),
        "serverInfo": reply::server_info(),
        "instructions": INSTRUCTIONS,
    })
}

fn discovered(state: &AppState) -> Value {
    let supported: Vec<&str> = revision::supported().collect();
    json!({
        "supportedVersions": supported,
        "capabilities": capabilities(state),
        "instructions": INSTRUCTIONS,
    })
}

/// Says that a result is the same for everybody, and for how long it may be kept (2026-07-28, "Caching").
fn kept(mut result: Value) -> Value {
    if let Value::Object(result) = &mut result {
        result.insert("ttlMs".to_owned(), KEEP_MS.into());
        result.insert("cacheScope".to_owned(), "public".into());
    }
    result
}
