//! Who asks. Anonymous, so far: a credential that is presented and cannot be valid is refused, never ignored.

use crate::problem::{Code, Problem};
use crate::query::Query;
use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

/// Fails when the request presents an identity in its headers or query, or `token` from its body.
pub(crate) fn anonymous(request: &HttpRequest, token: Option<&str>) -> Result<(), Problem> {
    let query = Query::parse(request.query_string())?;
    // A value that is not even text is still presented.
    let nostr = request.headers().get_all(AUTHORIZATION).any(|value| {
        let scheme = value.as_bytes().split(u8::is_ascii_whitespace).next();
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"nostr"))
    });
    let header = request.headers().contains_key("X-Nostr-Token");
    if nostr || header || token.is_some() || query.get("nostr_token").is_some() {
        let detail = "the identity presented is not one that this server has issued a token for";
        return Err(Problem::new(Code::InvalidIdentity, detail));
    }
    Ok(())
}
