//! The page that Prometheus reads. The route exists only if `TITHE_METRICS_TOKEN` is set.

use crate::credentials::Incoming;
use crate::problem::{Code, Problem, ProblemBody};
use crate::state::AppState;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

/// Read metrics
///
/// All metrics of the server as they are now, in the text format of Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "Operations", operation_id = "readMetrics",
    security(("MetricsToken" = [])),
    responses(
        (status = 200, description = "the metrics", body = String, content_type = "text/plain"),
        (status = 401, description = "missing or invalid metrics token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "the server has no metrics token", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn page(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    shown(&state, &request).await.map_err(Problem::private)
}

async fn shown(state: &AppState, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let Some((token, page)) = &state.metrics else {
        return Err(Problem::new(Code::NotFound, "the server has no metrics token"));
    };
    let incoming = Incoming::without_body(request)?.with_bearer();
    if !incoming.bearer().is_some_and(|secret| token.is(secret)) {
        let detail = "missing or invalid metrics token: expected Authorization: Bearer <TITHE_METRICS_TOKEN of the server>";
        return Err(Problem::new(Code::InvalidAdminToken, detail));
    }
    page.response().await
}
