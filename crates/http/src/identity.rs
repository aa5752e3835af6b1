//! Who asks.
//!
//! An identity is presented as a token (the `X-Nostr-Token` header, or `nostr_token` in the body or the query), or by signing
//! the request (`Authorization: Nostr …`, NIP-98). Whoever presents nothing is anonymous. Whoever presents something that is
//! not valid is refused, and never taken for anonymous: they mean to be somebody.

use crate::problem::{Code, Problem};
use crate::query::Query;
use crate::state::AppState;
use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use actix_web::http::uri::{Authority, PathAndQuery};
use tithe_engine::EngineError;
use tithe_trust::{HttpAuth, HttpProof, InvalidProof, NostrPubkey, SignedRequest, check_http_auth};

/// The token's header.
pub(crate) const X_NOSTR_TOKEN: HeaderName = HeaderName::from_static("x-nostr-token");

/// The token's name in queries and bodies.
pub(crate) const NOSTR_TOKEN: &str = "nostr_token";

/// A request as it came, with the token that its body had.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Its head.
    pub(crate) request: &'a HttpRequest,
    /// Its body, as it was sent.
    pub(crate) body: &'a [u8],
    /// The token in its body.
    pub(crate) token: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// A request whose body, if any, is not looked at.
    pub(crate) const fn without_body(request: &'a HttpRequest) -> Self {
        Self { request, body: b"", token: None }
    }
}

/// Who asks; `None`: anonymous. A signed request is written down as used.
pub(crate) async fn of(state: &AppState, asked: Asked<'_>) -> Result<Option<NostrPubkey>, Problem> {
    let Some(presented) = presented(state, asked)? else { return Ok(None) };
    if let Some(proof) = presented.proof {
        let engine = state.engine.clone();
        state.run(async move { engine.identity_of_http_auth(proof).await }).await?;
    }
    Ok(Some(presented.pubkey))
}

/// Who asks, for a request that must change nothing: only this server remembers that a signed one was used.
pub(crate) fn of_reading(state: &AppState, request: &HttpRequest) -> Result<Option<NostrPubkey>, Problem> {
    let Some(presented) = presented(state, Asked::without_body(request))? else { return Ok(None) };
    if let Some(proof) = &presented.proof {
        state.engine.identity_of_reading(proof)?;
    }
    Ok(Some(presented.pubkey))
}

/// The hosts that signed logins may name, without ports.
pub(crate) fn hosts(state: &AppState, request: &HttpRequest) -> Vec<String> {
    let host = match &state.public_url {
        Some(public) => Some(public.host().to_owned()),
        None => local_host(request).map(|host| host.host().to_owned()),
    };
    host.into_iter().collect()
}

/// Somebody whose credentials are all valid, if the request was not signed with an event that was used before.
struct Presented {
    pubkey: NostrPubkey,
    proof: Option<HttpProof>,
}

/// Looks at every credential, however many are presented: no wrong one hides behind a right one.
fn presented(state: &AppState, asked: Asked<'_>) -> Result<Option<Presented>, Problem> {
    let query = Query::parse(asked.request.query_string())?;
    let header = only(asked.request.headers().get_all(&X_NOSTR_TOKEN), "X-Nostr-Token")?;
    let tokens = header.into_iter().chain(asked.token).chain(query.all(NOSTR_TOKEN));
    let keys = tokens.map(|token| state.engine.identity_of_token(token));
    let mut keys = keys.collect::<Result<Vec<_>, EngineError>>()?;
    let proof = signed(state, asked)?;
    keys.extend(proof.map(|proof| proof.pubkey));
    let Some((pubkey, others)) = keys.split_first() else { return Ok(None) };
    if others.iter().any(|other| other != pubkey) {
        return Err(invalid("several identities are presented, of different keys; present one"));
    }
    Ok(Some(Presented { pubkey: *pubkey, proof }))
}

/// Who has signed the request, if that is presented.
fn signed(state: &AppState, asked: Asked<'_>) -> Result<Option<HttpProof>, Problem> {
    let request = asked.request;
    // Other schemes present something else.
    let ours = request.headers().get_all(AUTHORIZATION).filter(|value| HttpAuth::is_meant(value.as_bytes()));
    let Some(value) = only(ours, "Authorization: Nostr")? else { return Ok(None) };
    let event = HttpAuth::parse(value)?;
    let urls = addresses(state, request)?;
    let signed = SignedRequest { urls: &urls, method: request.method().as_str(), body: asked.body };
    Ok(Some(check_http_auth(&event, &signed, state.engine.identity_time())?))
}

/// What the client may have called this request's address.
fn addresses(state: &AppState, request: &HttpRequest) -> Result<Vec<String>, Problem> {
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    if let Some(public) = &state.public_url {
        return Ok(vec![format!("{public}{path}")]);
    }
    let host = local_host(request).ok_or_else(|| {
        invalid(
            "this server does not know by what address it is reached, so it takes no signed requests but from its own \
             machine; its operator must set TITHE_PUBLIC_URL",
        )
    })?;
    // Whether a proxy in front speaks TLS is not known here.
    Ok(["http", "https"].map(|scheme| format!("{scheme}://{host}{path}")).into())
}

/// The host that the request names, if that is the machine itself. Any other name is only what the client says: whoever has
/// made somebody sign a request to their own site could send it here under that name.
fn local_host(request: &HttpRequest) -> Option<Authority> {
    let host = host(request)?;
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let is_local = name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_local.then_some(host)
}

/// The `Host` header, if there is one, and it is no more than a host and a port.
fn host(request: &HttpRequest) -> Option<Authority> {
    let mut hosts = request.headers().get_all(HOST);
    let host = hosts.next()?.to_str().ok()?;
    let host: Authority = host.parse().ok()?;
    (hosts.next().is_none() && !host.as_str().contains('@')).then_some(host)
}

/// The text of a header that may be given once.
fn only<'a>(
    mut values: impl Iterator<Item = &'a HeaderValue>,
    name: &str,
) -> Result<Option<&'a str>, Problem> {
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid(format!("{name} is given more than once")));
    }
    value.to_str().map(Some).map_err(|_| invalid(format!("{name} has characters other than printable ASCII")))
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidIdentity, detail)
}

impl From<InvalidProof> for Problem {
    fn from(wrong: InvalidProof) -> Self {
        invalid(wrong.to_string())
    }
}
