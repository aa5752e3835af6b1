//! Request ids: each answer has one, each log line of its request too.

use crate::state::AppState;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use std::time::Instant;
use tithe_clock::Entropy;
use tracing::{Instrument, Level, event, info_span};
use uuid::Uuid;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: Uuid;
}

/// The id of the request that is being answered.
pub(crate) fn current() -> String {
    CURRENT.try_with(Uuid::to_string).unwrap_or_default()
}

/// Gives the request an id and logs its end. The log has no query and no body: requests' texts are nobody's business.
pub(crate) async fn middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    let entropy: Option<&dyn Entropy> =
        request.app_data::<web::Data<AppState>>().map(|state| state.engine.ports().entropy.as_ref());
    let id =
        uuid::Builder::from_random_bytes(entropy.map(<dyn Entropy>::bytes).unwrap_or_default()).into_uuid();
    let span = info_span!("request", %id);
    let (method, path, began) = (request.method().clone(), request.path().to_owned(), Instant::now());
    // Handlers' errors have become answers in here already: a problem's body carries the id.
    let answered = CURRENT.scope(id, next.call(request));
    let mut response = answered.instrument(span.clone()).await?;
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(X_REQUEST_ID.clone(), value);
    }
    let (status, took) = (response.status().as_u16(), began.elapsed());
    // A line for every good answer costs a busy server a fifth of what it could do: TITHE_LOG=info,tithe_http=debug shows them.
    span.in_scope(|| match status {
        500.. => event!(Level::WARN, %method, path, status, ?took, "answered"),
        400.. => event!(Level::INFO, %method, path, status, ?took, "answered"),
        _ => event!(Level::DEBUG, %method, path, status, ?took, "answered"),
    });
    Ok(response)
}
