//! The API's document, and its rendering.

use crate::discovery;
use crate::openapi;
use crate::problem::{Code, Problem};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ACCEPT_ENCODING, AcceptEncoding, CACHE_CONTROL, CONTENT_ENCODING, ETAG, Encoding, Header, IF_NONE_MATCH,
};
use actix_web::middleware::{Compress, Next, from_fn};
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{Error, HttpRequest, HttpResponse, Resource, guard};
use sha2::{Digest, Sha256};
use std::sync::{Arc, LazyLock};
use tithe_engine::mounts::Mount;
use utoipa_swagger_ui::Config;

/// For how long a page need not be requested again, and that it must be looked at again then.
const CACHED: &str = "public, max-age=300, must-revalidate";

/// The documents that a server has of itself.
pub(crate) struct Documents {
    whole: (Vec<u8>, String),
    /// The payable operations alone, for registries that read no more than 64 KB (draft-payment-discovery-00, appendix "Registries").
    payable: (Vec<u8>, String),
}

impl Documents {
    /// The documents of a server with these mounted routes.
    pub(crate) fn new(mounts: &[Arc<Mount>]) -> Self {
        let (mut payable, mut whole) = (openapi::payable(), openapi::served_json());
        if !mounts.is_empty() {
            discovery::announce(&mut payable, mounts);
            let mut document = serde_json::from_str(&whole).unwrap_or_default();
            discovery::announce(&mut document, mounts);
            whole = document.to_string();
        }
        Self { whole: tagged(whole), payable: tagged(payable.to_string()) }
    }
}

static PAGES: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/openapi.json")));

/// Registers the document and its pages.
pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(
            readable("/openapi.json")
                .wrap(Compress::default())
                .wrap(from_fn(always_acceptable))
                .route(reading().to(document)),
        )
        .service(
            readable("/openapi-payable.json")
                .wrap(Compress::default())
                .wrap(from_fn(always_acceptable))
                .route(reading().to(payable)),
        )
        .service(web::redirect("/docs", "/docs/"))
        .service(
            readable("/docs/{file:.*}")
                .wrap(Compress::default())
                .wrap(from_fn(always_acceptable))
                .route(reading().to(page)),
        );
}

/// A client that excludes every encoding of ours, plain text too, gets plain text (RFC 9110, section 12.5.3).
async fn always_acceptable(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    let ours = [Encoding::identity(), Encoding::gzip()];
    let accepted = AcceptEncoding::parse(&request);
    if accepted.is_ok_and(|accepted| accepted.negotiate(ours.iter()).is_none()) {
        request.headers_mut().remove(ACCEPT_ENCODING);
    }
    next.call(request).await
}

fn readable(path: &str) -> Resource {
    let other = |request: HttpRequest| async move {
        Err::<HttpResponse, _>(Problem::method(request.method().as_str(), "GET, HEAD"))
    };
    web::resource(path).default_service(web::to(other))
}

fn reading() -> actix_web::Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

async fn document(request: HttpRequest, documents: Data<Documents>) -> HttpResponse {
    let (text, tag) = &documents.whole;
    cached(&request, tag, "application/json", text.clone())
}

async fn payable(request: HttpRequest, documents: Data<Documents>) -> HttpResponse {
    let (text, tag) = &documents.payable;
    cached(&request, tag, "application/json", text.clone())
}

async fn page(request: HttpRequest, file: Path<String>) -> Result<HttpResponse, Problem> {
    let found = utoipa_swagger_ui::serve(&file, Arc::clone(&PAGES)).ok().flatten();
    let found = found.ok_or_else(|| Problem::new(Code::NotFound, "unknown page of the documentation"))?;
    let mut text = found.bytes.into_owned();
    if found.content_type.starts_with("text/html") {
        let page = String::from_utf8_lossy(&text);
        text = page.replace("<title>Swagger UI</title>", "<title>Tithe API</title>").into_bytes();
    }
    let mut response = cached(&request, &tag_of(&text), &found.content_type, text);
    if found.gzpipped {
        response
            .headers_mut()
            .insert(CONTENT_ENCODING, actix_web::http::header::HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// A text with its tag.
fn tagged(text: String) -> (Vec<u8>, String) {
    let text = text.into_bytes();
    let tag = tag_of(&text);
    (text, tag)
}

fn tag_of(text: &[u8]) -> String {
    let hash = Sha256::digest(text);
    format!("W/\"{}\"", hex::encode(hash.get(..16).unwrap_or_default()))
}

fn cached(request: &HttpRequest, tag: &str, content_type: &str, text: Vec<u8>) -> HttpResponse {
    let known = request.headers().get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let is_known = known.split(',').any(|known| known.trim() == tag);
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((CACHE_CONTROL, CACHED)).insert_header((ETAG, tag));
    if is_known { response.finish() } else { response.content_type(content_type).body(text) }
}
