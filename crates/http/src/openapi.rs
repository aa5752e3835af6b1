//! The OpenAPI document.

use crate::routes;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tithe",
        description = "AI work for sats. Amounts that end in `Sats` are whole sats, those in `Msats` exact millisats, \
            `…Usd` decimal dollars as numbers. Times are RFC 3339, UTC. Every answer of a route has `X-Request-Id`; what is no HTTP is cut off with a bare 400. Errors are \
            problems (RFC 9457) with a stable `code`."
    ),
    tags(
        (name = "Jobs", description = "Work that is paid in two steps: a small evaluation fee, then the work."),
        (name = "Invoices", description = "Where payments stand."),
        (name = "Operations", description = "Whether the server lives and can serve."),
        (name = "Development", description = "Only with `TITHE_DEV=1`."),
    ),
    paths(
        routes::estimate::estimate,
        routes::jobs::create,
        routes::jobs::read,
        routes::events::events,
        routes::invoices::read,
        routes::dev::pay,
        routes::health::alive,
        routes::health::ready,
        routes::problems::read,
    )
)]
struct ApiDocument;

/// The OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = ApiDocument::openapi();
    // The derive writes an empty one where the crate names none.
    document.info.license = None;
    document
}

/// The OpenAPI document as JSON, with a line break at its end.
///
/// # Panics
/// Never: the document is made at compile time, and a test prints it.
#[must_use]
#[expect(clippy::expect_used, reason = "the document is fixed at compile time, and a test prints it")]
pub fn openapi_json() -> String {
    let mut json = document().to_pretty_json().expect("the document is JSON");
    json.push('\n');
    json
}
