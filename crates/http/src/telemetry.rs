//! The metrics of HTTP, and what measures requests.

use crate::problem::Problem;
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use metrics::{SharedString, counter, gauge, histogram};
use std::sync::Arc;
use std::time::Instant;
use tithe_engine::declare_metrics;
use tithe_engine::telemetry::Metric;

declare_metrics! {
    REQUESTS: counter "tithe_http_requests_total"
        {method, route, status} "Requests that were answered. The route `other` is what is not in the OpenAPI document.";
    REQUEST_SECONDS: seconds "tithe_http_request_seconds"
        {method, route} "How long it took until the answer, or the first part of a stream, could be sent.";
    IN_FLIGHT: gauge "tithe_http_requests_in_flight"
        {} "Requests that are not answered yet. A stream is answered when it begins.";
    PROBLEMS: counter "tithe_http_problems_total"
        {code} "Problems that requests were answered with, by code.";
}

/// Describes the metrics of HTTP to the recorder.
pub fn describe() {
    METRICS.iter().for_each(Metric::describe);
}

/// The label of what is no documented route, or no known method.
const OTHER: &str = "other";

/// The path of a route, as it is documented. Each resource has it as data, so that nothing has to be matched again.
#[derive(Clone)]
pub(crate) struct RoutePattern(Arc<str>);

impl RoutePattern {
    pub(crate) fn new(path: &str) -> Self {
        Self(path.into())
    }
}

/// A request that is not answered yet.
struct InFlight;

impl InFlight {
    fn begin() -> Self {
        gauge!(IN_FLIGHT).increment(1.0);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!(IN_FLIGHT).decrement(1.0);
    }
}

/// Measures requests.
pub(crate) async fn middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    let (method, began) = (label(request.method()), Instant::now());
    let in_flight = InFlight::begin();
    let answered = next.call(request).await;
    drop(in_flight);
    let (status, failure, route) = match &answered {
        Ok(response) => {
            let route = response.request().app_data::<RoutePattern>();
            (response.status(), response.response().error(), route.map(|route| Arc::clone(&route.0)))
        }
        Err(failure) => (failure.as_response_error().status_code(), Some(failure), None),
    };
    let route = route.map_or(SharedString::const_str(OTHER), SharedString::from_shared);
    histogram!(REQUEST_SECONDS, "method" => method, "route" => route.clone()).record(began.elapsed());
    counter!(REQUESTS, "method" => method, "route" => route, "status" => status_label(status)).increment(1);
    if let Some(problem) = failure.and_then(|failure| failure.as_error::<Problem>()) {
        counter!(PROBLEMS, "code" => problem.code().as_str()).increment(1);
    }
    answered
}

/// A method as the value of a label.
fn label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => OTHER,
    }
}

/// A status code as the value of a label.
fn status_label(status: StatusCode) -> SharedString {
    match status.as_u16() {
        200 => SharedString::const_str("200"),
        201 => SharedString::const_str("201"),
        202 => SharedString::const_str("202"),
        402 => SharedString::const_str("402"),
        429 => SharedString::const_str("429"),
        503 => SharedString::const_str("503"),
        other => SharedString::from_owned(other.to_string()),
    }
}
