//! The OpenAPI document.

use crate::routes;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};

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
        (name = "Identity", description = "Who asks, and the trust that they have earned. Any route takes an identity; whoever presents none is \
            anonymous, and whoever presents one that is not valid is refused with 401 `invalid_identity`. When several are \
            presented, all must be valid and of the same key."),
        (name = "Pool", description = "What pays for the work of those who are trusted."),
        (name = "Invoices", description = "Where payments stand."),
        (name = "Operations", description = "Whether the server lives and can serve."),
        (name = "Development", description = "Only with `TITHE_DEV=1`."),
    ),
    // Nobody has to say who they are, but where a route says so.
    security((), ("NostrToken" = []), ("NostrTokenInQuery" = []), ("NostrSignature" = [])),
    paths(
        routes::estimate::estimate,
        routes::jobs::create,
        routes::jobs::read,
        routes::events::events,
        routes::identity::challenge,
        routes::identity::verify,
        routes::identity::me,
        routes::pool::read,
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
    let schemes = document.components.get_or_insert_default();
    for (name, scheme) in [
        (
            "NostrToken",
            ApiKey::Header(ApiKeyValue::with_description(
                "X-Nostr-Token",
                "The token that `POST /api/identity/verify` gives. A JSON body may have it as `nostr_token`.",
            )),
        ),
        (
            "NostrTokenInQuery",
            ApiKey::Query(ApiKeyValue::with_description("nostr_token", "The same token in the query.")),
        ),
        (
            "NostrSignature",
            // OpenAPI has no scheme of HTTP authentication for it.
            ApiKey::Header(ApiKeyValue::with_description(
                "Authorization",
                "`Nostr <base64 of an event>`: the request signed by itself (NIP-98), with the whole URL, the method, and the \
                 SHA-256 of the body if there is one. It is good for one request, within a minute.",
            )),
        ),
    ] {
        schemes.add_security_scheme(name, SecurityScheme::ApiKey(scheme));
    }
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
