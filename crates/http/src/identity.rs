//! Who asks. Anonymous, so far: a credential that is presented and cannot be valid is refused, never ignored.

use crate::problem::{Code, Problem};
use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

/// Fails when the request presents an identity in its headers, or `token` in its body or query.
pub(crate) fn anonymous(request: &HttpRequest, token: Option<&str>) -> Result<(), Problem> {
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let nostr = authorization
        .and_then(|value| value.get(..6))
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("nostr "));
    if nostr || token.is_some() || request.headers().contains_key("X-Nostr-Token") {
        let detail = "the identity presented is not one that this server has issued a token for";
        return Err(Problem::new(Code::InvalidIdentity, detail));
    }
    Ok(())
}
