//! The headers that change what a request does: a proof of payment and an idempotency key are good for the request with the same ones.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};

/// The headers that the operator passes on to the service behind a mounted route, in lower case; a datum of its resource.
#[derive(Debug)]
pub(crate) struct DecisiveHeaders(pub(crate) Vec<String>);

/// The headers that belong to Anthropic's API. They are passed on to its backends, and change what a request costs.
pub(crate) fn anthropic_headers(request: &HttpRequest) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    request.headers().iter().filter(|(name, _)| name.as_str().starts_with("anthropic-"))
}

/// The headers that change what a request does: on a mounted route those that the operator has named, and else those of Anthropic's API.
pub(crate) fn decisive_headers(request: &HttpRequest) -> Vec<(&HeaderName, &HeaderValue)> {
    let Some(named) = request.app_data::<DecisiveHeaders>() else {
        return anthropic_headers(request).collect();
    };
    let is_named = |name: &HeaderName| named.0.iter().any(|named| named == name.as_str());
    request.headers().iter().filter(|(name, _)| is_named(name)).collect()
}
