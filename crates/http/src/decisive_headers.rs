//! The headers that change what a request does: a proof of payment and an idempotency key are good for the request with the same ones.

use crate::paid_request::anthropic_headers;
use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};

/// The headers that the operator passes on to the service behind a mounted route, in lower case; a datum of its resource.
#[derive(Debug)]
pub(crate) struct DecisiveHeaders(pub(crate) Vec<String>);

/// The headers that change what a request does: those of Anthropic's API, and on a mounted route those that the operator has named.
pub(crate) fn decisive_headers(request: &HttpRequest) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let named = request.app_data::<DecisiveHeaders>().map_or(&[][..], |named| &named.0[..]);
    let is_named = move |name: &str| named.iter().any(|named| named == name);
    let more = request.headers().iter().filter(move |(name, _)| {
        // Those of Anthropic's API are there already.
        is_named(name.as_str()) && !name.as_str().starts_with("anthropic-")
    });
    anthropic_headers(request).chain(more)
}
