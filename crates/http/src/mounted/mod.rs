//! Mounted routes: requests that a service of the operator's answers, for whoever pays for them.

mod answer;
mod payer;
mod reserved;
mod stored;

pub use reserved::{InvalidMounts, check_mounts};

use crate::credentials::Incoming;
use crate::decisive_headers::DecisiveHeaders;
use crate::payment_sessions::{managed, without_body};
use crate::problem::{Code, Problem};
use crate::routes::plain_answer::wants_stream;
use crate::state::AppState;
use crate::telemetry::RoutePattern;
use crate::wanted::Wanted;
use crate::{body, idempotency, passed_on};
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use answer::MountedAnswer;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use stored::StoreCalled;
use tithe_engine::metered::Prompt;
use tithe_engine::mounts::{Method, Mount, MountedCall, UpstreamCall};
use tithe_engine::sessions::RenderRequest;
use tithe_free_tier::RequestHash;
use tithe_sessions::SentRequest;

/// Registers the mounted routes.
pub(crate) fn configure(mounts: &[Arc<Mount>]) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let mounts = mounts.to_vec();
    move |config| {
        for mount in mounts {
            let below = if mount.path.is_tree() { "/{below:.*}" } else { "" };
            let pattern = format!("{}{below}", mount.path.base());
            let resource = web::resource(pattern)
                .app_data(RoutePattern::new(&mount.path.to_string()))
                .app_data(DecisiveHeaders(mount.passed_headers.clone()));
            let handler = move |state: Data<AppState>, request: HttpRequest, payload: Payload| {
                let mount = Arc::clone(&mount);
                async move { answer(&state, &request, payload, mount).await.map_err(Problem::private) }
            };
            config.service(resource.default_service(web::to(handler)));
        }
    }
}

async fn answer(
    state: &AppState,
    request: &HttpRequest,
    payload: Payload,
    mount: Arc<Mount>,
) -> Result<HttpResponse, Problem> {
    let below = mount.path.below(request.uri().path()).map_err(|wrong| Problem::field("path", wrong))?;
    let below =
        below.ok_or_else(|| Problem::new(Code::NotFound, "unknown path: expected one below this route"))?;
    let method = Method::named(request.method().as_str()).filter(|method| mount.methods.contains(method));
    let Some(method) = method else {
        return without_body(state, request, &allowed(&mount)).await;
    };
    if let Some(response) = managed(state, request).await? {
        return Ok(response);
    }
    let bytes = body::read_as_sent(mount.request_bytes_max, request, payload).await?;
    let incoming = Incoming::with_body(request, &bytes, None)?.with_bearer().with_proofs();
    let key = idempotency::read(request, &bytes, state.engine.settings())?;
    let key = key.map(|key| key.covering(request.query_string().as_bytes()));
    let call = UpstreamCall {
        method,
        below: below.to_owned(),
        query: passed_on::query(request.query_string()),
        headers: passed_on::headers(request, &mount.passed_headers),
        body: bytes.clone(),
    };
    let store = Arc::new(StoreCalled);
    let id = state.engine.new_id();
    let wanted = Wanted {
        id: Some(id),
        prompt: Prompt::call(MountedCall { mount: Arc::clone(&mount), call }, hash_of(request, &bytes)),
        model: None,
        max_output_tokens: None,
        is_stream: wants_stream(request) || says_stream(&bytes),
        of_session: Arc::<StoreCalled>::clone(&store),
        of_others: store,
        format: MountedAnswer::new(id),
        problem: Problem::from,
    };
    payer::have_called(state, request, &incoming, key, wanted, &mount).await
}

/// The methods of a route: those of its service, and those with which clients of sessions of the scheme `Payment` come without a request.
fn allowed(mount: &Mount) -> String {
    let of_service = mount.methods.iter().map(|method| method.as_str());
    let methods: BTreeSet<&str> = of_service.chain(["GET", "HEAD"]).collect();
    methods.into_iter().collect::<Vec<_>>().join(", ")
}

/// What is asked by a request that was kept, and what renders its stored answer; `None` if it is none of this route.
pub(crate) fn read(mount: &Arc<Mount>, sent: &SentRequest) -> Option<(Prompt, Arc<dyn RenderRequest>)> {
    let method = Method::named(&sent.method).filter(|method| mount.methods.contains(method))?;
    let below = mount.path.below(&sent.path).ok()??;
    let headers = sent.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes()));
    let call = UpstreamCall {
        method,
        below: below.to_owned(),
        query: sent.query.clone(),
        headers: headers.collect(),
        body: sent.body.clone().into(),
    };
    let path = match &sent.query {
        Some(query) => format!("{}?{query}", sent.path),
        None => sent.path.clone(),
    };
    let hash = hash(&sent.method, &path, &sent.body);
    let render: Arc<dyn RenderRequest> = Arc::new(StoreCalled);
    Some((Prompt::call(MountedCall { mount: Arc::clone(mount), call }, hash), render))
}

fn hash_of(request: &HttpRequest, body: &[u8]) -> RequestHash {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    hash(request.method().as_str(), path, body)
}

/// The SHA-256 of a request: its method, a space, its path with the query, a line feed, and its body.
fn hash(method: &str, path: &str, body: &[u8]) -> RequestHash {
    let hash = Sha256::new()
        .chain_update(method)
        .chain_update(b" ")
        .chain_update(path)
        .chain_update(b"\n")
        .chain_update(body);
    RequestHash::from_bytes(hash.finalize().into())
}

/// Whether a body asks for a stream as OpenAI's API does.
fn says_stream(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Flags {
        #[serde(default)]
        stream: bool,
    }
    // serde reads a list as the fields in their order.
    let is_object = body.trim_ascii_start().starts_with(b"{");
    is_object && serde_json::from_slice(body).is_ok_and(|Flags { stream }| stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_asks_for_a_stream_with_a_flag() {
        for (body, stream) in [
            (r#"{"stream":true}"#, true),
            (r#"{"a":1,"stream":true}"#, true),
            (r#"{"stream":false}"#, false),
            (r#"{"stream":"true"}"#, false),
            ("{}", false),
            ("", false),
            ("[true]", false),
        ] {
            assert_eq!(says_stream(body.as_bytes()), stream, "{body}");
        }
    }
}
