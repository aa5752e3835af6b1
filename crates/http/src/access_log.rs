//! Assigns request ids and logs responses.

use crate::problem::{Code, Shape};
use crate::request_id;
use crate::state::AppState;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use std::time::Instant;
use tithe_clock::Entropy;
use tithe_engine::log::millis;
use tracing::{Instrument, Level, event, info_span};

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Assigns an id to the request and logs the response. The query and the body are not logged, because they contain
/// customers' texts and tokens.
pub(crate) async fn middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    let entropy: Option<&dyn Entropy> =
        request.app_data::<web::Data<AppState>>().map(|state| state.engine.ports().entropy.as_ref());
    let id =
        uuid::Builder::from_random_bytes(entropy.map(<dyn Entropy>::bytes).unwrap_or_default()).into_uuid();
    let span = info_span!("request", request_id = %id);
    let (method, path, began) = (request.method().clone(), logged(request.path()), Instant::now());
    let state = request.app_data::<web::Data<AppState>>();
    let client = state.and_then(|state| state.limits.address(request.request()));
    let client_ip = client.map(|client| client.to_string());
    // Handlers' errors become responses inside this scope, so that the body of a problem contains the request id.
    let shape = Shape::of(request.path(), request.headers());
    let answered = request_id::scope(id, shape.scope(next.call(request)));
    let mut response = answered.instrument(span.clone()).await?;
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        if shape == Shape::Anthropic {
            // Where Anthropic's clients look for it.
            response.headers_mut().insert(REQUEST_ID.clone(), value.clone());
        }
        response.headers_mut().insert(X_REQUEST_ID.clone(), value);
    }
    let (status, duration_ms) = (response.status().as_u16(), millis(began.elapsed()));
    let code = response.response().extensions().get::<Code>().map(|code| code.facts().0);
    // Logging every successful response costs a busy server a fifth of its throughput, so these are logged at debug
    // level (TITHE_LOG=info,tithe_http=debug).
    span.in_scope(|| match status {
        500.. => event!(Level::WARN, client_ip, %method, path, status, code, duration_ms, "response sent"),
        400.. => event!(Level::INFO, client_ip, %method, path, status, code, duration_ms, "response sent"),
        _ => event!(Level::DEBUG, client_ip, %method, path, status, duration_ms, "response sent"),
    });
    Ok(response)
}

/// The longest path that is logged, in characters: no path of the API is longer.
const PATH_CHARS_MAX: usize = 200;

/// A path as it may be logged: whoever knows the id of an install can use its credits.
fn logged(path: &str) -> String {
    const OF_INSTALL: &str = "/api/admin/installs/";
    if path.starts_with(OF_INSTALL) {
        return format!("{OF_INSTALL}{{installId}}");
    }
    path.chars().take(PATH_CHARS_MAX).collect()
}
