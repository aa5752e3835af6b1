//! The OpenAPI document.

use crate::discovery;
use crate::payment_sessions;
use crate::routes::{self, for_each_route};
use crate::wire::{NoOfferBody, OfferBody, SessionClosedBody, SessionToppedUpBody};
use utoipa::OpenApi;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::link::Link;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, HttpMethod, Ref, RefOr, Response, ResponseBuilder, Server};

macro_rules! document {
    ($($served:ident $module:ident::$handler:ident as $path:ident,)*) => {
        #[derive(OpenApi)]
        #[openapi(
            info(
                title = "Tithe",
                description = "AI work for sats. Amounts in `…Sats` fields are whole satoshis, amounts in `…Msats` \
                    fields are exact millisatoshis, and amounts in `…Usd` fields are decimal US dollars. Times are \
                    RFC 3339 in UTC. Every response has an `X-Request-Id` header, except the empty responses \
                    to a malformed HTTP request (400), one whose headers do not come in time (408) and one with too large \
                    headers (431). Errors are problem details (RFC 9457) with a stable `code`.",
                license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
            ),
            tags(
                (name = "Jobs", description = "Jobs are paid in two steps: a small evaluation fee, then the work."),
                (name = "Sessions", description = "A session is a prepaid balance that many requests draw on. Its macaroon is \
                    the credential."),
                (name = "Requests", description = "Requests that are paid for by whoever can: a session, the plan of an install, \
                    or the pool."),
                (name = "AI API", description = "The APIs of OpenAI and Anthropic, for their clients: the base URL is this server, the key \
                    is the macaroon of a session. Errors have the shape of the API that is spoken."),
                (name = "Bootstrap", description = "Nodes that are made for you once they are paid for."),
                (name = "Identity", description = "Identities and the trust that they have earned. Every endpoint accepts \
                    an identity; a request without one is anonymous, and a request with invalid credentials is \
                    rejected with 401 `invalid_identity`. If a request carries several credentials, all must be valid \
                    and belong to the same identity."),
                (name = "Pool", description = "The pool pays for the work of trusted identities."),
                (name = "Invoices", description = "Invoices and their payment state."),
                (name = "Operations", description = "Health checks and the documentation of problems."),
                (name = "Administration", description = "Endpoints for the operator, which exist only with \
                    `TITHE_ADMIN_TOKEN`."),
                (name = "Development", description = "Endpoints that exist only with `TITHE_DEV=1`."),
            ),
            // An identity is optional unless a route specifies otherwise.
            security((), ("NostrToken" = []), ("NostrTokenInQuery" = []), ("NostrSignature" = [])),
            paths($(routes::$module::$handler),*),
            // They are in extension fields of problems, and in operations that are added below.
            components(schemas(OfferBody, NoOfferBody, SessionClosedBody, SessionToppedUpBody))
        )]
        struct ApiDocument;
    };
}

for_each_route!(document);

/// The OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = ApiDocument::openapi();
    document.servers = Some(vec![Server::new("/")]);
    payment_sessions::extend(&mut document);
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations_of(item) {
            complete(operation, path, &method);
            link(operation);
        }
    }
    discovery::extend(&mut document);
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
        (
            "InstallId",
            ApiKey::Header(ApiKeyValue::with_description(
                "X-Install-Id",
                "The id of an installation of an app: a UUID in lower case that the app has made at random. Whoever knows it can use \
                 the credits of the install.",
            )),
        ),
        (
            "ApiKey",
            ApiKey::Header(ApiKeyValue::with_description(
                "X-Api-Key",
                "The macaroon of a session, where Anthropic's clients put their key.",
            )),
        ),
        (
            "Licence",
            ApiKey::Header(ApiKeyValue::with_description(
                "X-License",
                "The licence that proves the plan of the install. Without one, the plan is `core`.",
            )),
        ),
    ] {
        schemes.add_security_scheme(name, SecurityScheme::ApiKey(scheme));
    }
    let mut owner_secret = Http::new(HttpAuthScheme::Bearer);
    owner_secret.description = Some(
        "`Bearer <secret>`: the claim token of the job or bootstrap, which `POST /api/jobs` or `POST /api/bootstrap` returns, or the preimage of the payment."
            .to_owned(),
    );
    schemes.add_security_scheme("OwnerSecret", SecurityScheme::Http(owner_secret));
    let mut macaroon = Http::new(HttpAuthScheme::Bearer);
    macaroon.description = Some(
        "`Bearer <macaroon>`: the macaroon that `POST /api/sessions` returned, or one that was narrowed from it. \
         `L402 <macaroon>:<preimage>` works too."
            .to_owned(),
    );
    schemes.add_security_scheme("Macaroon", SecurityScheme::Http(macaroon));
    schemes.add_security_scheme(
        "PaymentProof",
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
            "Authorization",
            "`L402 <token>:<preimage>` (or `LSAT`), or `Payment <base64url of a credential>`: the proof that the invoice of a 402 was paid \
             for this request. It buys the request once; repeating it repeats the answer.",
        ))),
    );
    let mut admin = Http::new(HttpAuthScheme::Bearer);
    admin.description = Some(
        "`Bearer <token>`: the operator's token, which the server has as `TITHE_ADMIN_TOKEN`.".to_owned(),
    );
    schemes.add_security_scheme("AdminToken", SecurityScheme::Http(admin));
    let mut metrics = Http::new(HttpAuthScheme::Bearer);
    metrics.description =
        Some("`Bearer <token>`: the token that the server has as `TITHE_METRICS_TOKEN`.".to_owned());
    schemes.add_security_scheme("MetricsToken", SecurityScheme::Http(metrics));
    document
}

/// The operations of a path, each with whether it sends a body.
fn operations_of(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    [
        (HttpMethod::Get, item.get.as_mut()),
        (HttpMethod::Post, item.post.as_mut()),
        (HttpMethod::Delete, item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation?)))
}

/// Adds what is the same for all operations: the problems that any request can meet, and the headers of responses.
fn complete(operation: &mut Operation, path: &str, method: &HttpMethod) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        if let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema {
            match parameter.name.as_str() {
                "Idempotency-Key" => (schema.min_length, schema.max_length) = (Some(1), Some(255)),
                "keyId" => schema.pattern = Some("^[0-9a-f]{32}$".to_owned()),
                "paymentHash" => schema.pattern = Some("^[0-9a-fA-F]{64}$".to_owned()),
                _ => {}
            }
            // A parameter is absent, or a value; never null.
            if let SchemaType::Array(types) = &schema.schema_type
                && let Some(kind) = types.iter().find(|kind| **kind != Type::Null)
            {
                schema.schema_type = SchemaType::Type(kind.clone());
            }
        }
    }
    let responses = &mut operation.responses.responses;
    let mut add = |status: &str, description: &str| {
        if !responses.contains_key(status) {
            responses.insert(status.to_owned(), RefOr::T(problem(description)));
        }
    };
    if path != "/healthz" && path != "/readyz" {
        add("414", "URL longer than 32 KiB");
        add("429", "too many requests from this address");
    }
    add("405", "the path does not support this method");
    add("500", "internal error; the request id is in the body");
    if *method == HttpMethod::Post {
        add("413", "body larger than 1 MiB");
        add("415", "the body is not JSON, or is in an unknown encoding");
    }
    if path.starts_with("/api/") {
        add("400", "malformed query");
    }
    if path.starts_with("/api/") || path.starts_with("/dev/") {
        add("503", "the server or something that it needs is unavailable");
    }
    let is_keyed = operation
        .parameters
        .iter()
        .flatten()
        .any(|it| matches!(it, RefOr::T(it) if it.name == "Idempotency-Key"));
    for (status, response) in responses.iter_mut() {
        let RefOr::T(response) = response else { continue };
        let mut header = |name: &str, kind: Type, description: &str| {
            let schema = ObjectBuilder::new().schema_type(kind).build();
            let header = HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build();
            response.headers.entry(name.to_owned()).or_insert(RefOr::T(header));
        };
        header("X-Request-Id", Type::String, "the id of the request");
        if matches!(status.as_str(), "409" | "429" | "503") {
            header("Retry-After", Type::Integer, "after how many seconds to try again");
        }
        if status == "401" {
            header(
                "WWW-Authenticate",
                Type::String,
                "the scheme of the credentials: `Nostr` for signed requests (NIP-98), `Bearer` for macaroons and the admin token",
            );
        }
        if status == "405" {
            header("Allow", Type::String, "the methods that the path supports");
        }
        if is_keyed && status.starts_with('2') {
            header("Idempotency-Replayed", Type::String, "`true` if the response was given before");
        }
    }
}

/// Adds what a client can do next with a response: the operation that takes something of its body.
fn link(operation: &mut Operation) {
    const JOB: (&str, &str) = ("jobId", "$response.body#/jobId");
    let by_operation: &[(&str, &str, &str, (&str, &str))] = &[
        ("createJob", "201", "readJob", JOB),
        ("createJob", "201", "followJob", JOB),
        ("createJob", "201", "readInvoice", ("paymentHash", "$response.body#/evalInvoice/paymentHash")),
        ("createJob", "201", "payForTest", ("paymentHash", "$response.body#/evalInvoice/paymentHash")),
        ("readJob", "200", "readInvoice", ("paymentHash", "$response.body#/workInvoice/paymentHash")),
        ("readJob", "200", "payForTest", ("paymentHash", "$response.body#/workInvoice/paymentHash")),
        ("readJob", "200", "followJob", JOB),
        ("buyNode", "201", "readNode", ("bootstrapJobId", "$response.body#/bootstrapJobId")),
        ("buyNode", "201", "payForTest", ("paymentHash", "$response.body#/invoice/paymentHash")),
    ];
    let id = operation.operation_id.as_deref().unwrap_or_default();
    for (_, status, to, (parameter, value)) in by_operation.iter().filter(|(from, ..)| *from == id) {
        let Some(RefOr::T(response)) = operation.responses.responses.get_mut(*status) else { continue };
        let link = Link::builder().operation_id(*to).parameter(*parameter, *value).build();
        response.links.insert((*to).to_owned(), RefOr::T(link));
    }
}

/// A problem response.
fn problem(description: &str) -> Response {
    let body = Ref::from_schema_name("ProblemBody");
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", ContentBuilder::new().schema(Some(body)).build())
        .build()
}

/// The OpenAPI document as it is served: JSON without line breaks, about half of what [`openapi_json`] takes.
///
/// # Panics
/// Never: the document is fixed at compile time, and a test serializes it.
#[expect(clippy::expect_used, reason = "the document is fixed at compile time, and a test serializes it")]
pub(crate) fn served_json() -> String {
    document().to_json().expect("the document is JSON")
}

/// The OpenAPI document of the operations that can be paid for by themselves, without mounted routes.
pub(crate) fn payable() -> serde_json::Value {
    discovery::payable(serde_json::from_str(&served_json()).unwrap_or_default())
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
