//! The OpenAPI document.

use crate::routes::{self, for_each_route};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};

macro_rules! document {
    ($($served:ident $module:ident::$handler:ident as $path:ident,)*) => {
        #[derive(OpenApi)]
        #[openapi(
            info(
                title = "Tithe",
                description = "AI work for sats. Amounts in `…Sats` fields are whole satoshis, amounts in `…Msats` \
                    fields are exact millisatoshis, and amounts in `…Usd` fields are decimal US dollars. Times are \
                    RFC 3339 in UTC. Every response has an `X-Request-Id` header, except the empty 400 response \
                    to a malformed HTTP request. Errors are problem details (RFC 9457) with a stable `code`.",
                license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
            ),
            tags(
                (name = "Jobs", description = "Jobs are paid in two steps: a small evaluation fee, then the work."),
                (name = "Identity", description = "Identities and the trust that they have earned. Every endpoint accepts \
                    an identity; a request without one is anonymous, and a request with invalid credentials is \
                    rejected with 401 `invalid_identity`. If a request carries several credentials, all must be valid \
                    and belong to the same identity."),
                (name = "Pool", description = "The pool pays for the work of trusted identities."),
                (name = "Invoices", description = "Invoices and their payment state."),
                (name = "Operations", description = "Health checks and the documentation of problems."),
                (name = "Development", description = "Endpoints that exist only with `TITHE_DEV=1`."),
            ),
            // An identity is optional unless a route specifies otherwise.
            security((), ("NostrToken" = []), ("NostrTokenInQuery" = []), ("NostrSignature" = [])),
            paths($(routes::$module::$handler),*)
        )]
        struct ApiDocument;
    };
}

for_each_route!(document);

/// The OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = ApiDocument::openapi();
    let schemes = document.components.get_or_insert_default();
    for (name, scheme) in [
        (
            "NostrToken",
            ApiKey::Header(ApiKeyValue::with_description(
                "X-Nostr-Token",
                "The token that `POST /api/identity/verify` returns. A JSON body can carry it as `nostr_token` \
                 instead.",
            )),
        ),
        (
            "NostrTokenInQuery",
            ApiKey::Query(ApiKeyValue::with_description(
                "nostr_token",
                "The same token as a query parameter.",
            )),
        ),
        (
            "NostrSignature",
            // OpenAPI has no HTTP authentication scheme for NIP-98.
            ApiKey::Header(ApiKeyValue::with_description(
                "Authorization",
                "`Nostr <base64 of an event>`: a signed event (NIP-98) that covers the full URL, the method, and \
                 the SHA-256 of the body if there is one. It is valid for one request, within one minute of its \
                 creation.",
            )),
        ),
    ] {
        schemes.add_security_scheme(name, SecurityScheme::ApiKey(scheme));
    }
    document
}

/// The OpenAPI document as JSON, with a trailing newline.
///
/// # Panics
/// Never: the document is fixed at compile time, and a test serializes it.
#[must_use]
#[expect(clippy::expect_used, reason = "the document is fixed at compile time, and a test serializes it")]
pub fn openapi_json() -> String {
    let mut json = document().to_pretty_json().expect("the document is JSON");
    json.push('\n');
    json
}
