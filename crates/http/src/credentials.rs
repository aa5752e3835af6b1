//! The only module that resolves the credentials of a request.
//!
//! A client authenticates with a token (the `X-Nostr-Token` header, or `nostr_token` in the body or the query) or by
//! signing the request (`Authorization: Nostr …`, NIP-98). A request without credentials is anonymous. A request with
//! invalid credentials is rejected and never treated as anonymous. This module collects the credentials; the engine
//! verifies them. An install presents its id (`X-Install-Id`) and perhaps a licence (`X-License`), a session its macaroon, a
//! payment its proof ([`crate::payment_proof`]), and the operator a token.

use crate::payment_proof;
use crate::problem::{Code, Problem};
use crate::query::{NotUtf8, Query};
use crate::state::AppState;
use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use actix_web::http::uri::{Authority, PathAndQuery};
use tithe_engine::credits::PresentedInstall;
use tithe_engine::identities::{Credentials, Presented, RequestSignature, SignedCredential};
use tithe_engine::sessions::{PresentedProof, SessionAccess};
use tithe_ledger::credits::InstallId;
use tithe_lightning::Preimage;
use tithe_trust::{HttpAuth, NostrPubkey};

/// The header that carries the token.
pub(crate) const X_NOSTR_TOKEN: HeaderName = HeaderName::from_static("x-nostr-token");

/// The header that carries the id of an install.
const X_INSTALL_ID: &str = "X-Install-Id";

/// The header that Anthropic's clients put their key into.
const X_API_KEY: &str = "X-Api-Key";

/// What clients of the AI API send as their key when an install or an identity pays: they cannot leave it out.
const NO_KEY: &str = "none";

/// The header that carries the licence of an install.
const X_LICENSE: &str = "X-License";

/// The names of the token in queries and bodies: its own, and what it would be called like all other fields. Whoever writes that must
/// not be served as anonymous.
pub(crate) const NOSTR_TOKEN_NAMES: [&str; 2] = ["nostr_token", "nostrToken"];

/// The sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The identity; `None` means anonymous.
    pub(crate) identity: Option<NostrPubkey>,
    /// The signature of the request, for the command that begins it.
    pub(crate) signature: RequestSignature,
}

impl From<Option<Presented>> for Caller {
    fn from(presented: Option<Presented>) -> Self {
        let signature = presented.map_or_else(RequestSignature::default, |presented| presented.signature);
        Self { identity: presented.map(|presented| presented.pubkey), signature }
    }
}

impl Caller {
    /// The identity, unless it has signed the request. The signature is in `Authorization`, where a client that pays puts its proof
    /// instead: a payment cannot be bound to it.
    pub(crate) fn identity_by_token(&self) -> Option<NostrPubkey> {
        self.identity.filter(|_| self.signature.0.is_none())
    }

    /// The scope of the caller's idempotency keys: keys of different callers never collide. `None` means that callers without
    /// credentials share one.
    pub(crate) fn scope(identity: Option<NostrPubkey>) -> Option<String> {
        identity.map(|pubkey| format!("nostr:{pubkey}"))
    }
}

/// A request as it was received, parsed once.
pub(crate) struct Incoming<'a> {
    request: &'a HttpRequest,
    query: Query,
    body: &'a [u8],
    body_token: Option<&'a str>,
    takes_bearer: bool,
    takes_api_key: bool,
    takes_proofs: bool,
    /// The call, if the body is a message that wraps it.
    call: Option<CallInMessage<'a>>,
}

/// A call in a message of JSON-RPC, which has more in it: another id each time, and what proves the payment.
struct CallInMessage<'a> {
    canonical: &'a [u8],
    proof: Option<PresentedProof>,
}

impl<'a> Incoming<'a> {
    /// Parses a request without reading its body.
    pub(crate) fn without_body(request: &'a HttpRequest) -> Result<Self, Problem> {
        Self::with_body(request, b"", None)
    }

    /// Parses a request with its body and the token that the body contains.
    pub(crate) fn with_body(
        request: &'a HttpRequest,
        body: &'a [u8],
        body_token: Option<&'a str>,
    ) -> Result<Self, Problem> {
        let query =
            Query::parse(request.query_string()).map_err(|NotUtf8 { parameter }| match parameter {
                None => Problem::field("query", "expected parameter names in UTF-8"),
                // A token that is not UTF-8 is an invalid token.
                Some(name) if NOSTR_TOKEN_NAMES.contains(&name.as_str()) => {
                    invalid(format!("{name}: expected UTF-8"))
                }
                Some(name) => Problem::field(&name, "expected UTF-8"),
            })?;
        Ok(Self {
            request,
            query,
            body,
            body_token,
            takes_bearer: false,
            takes_api_key: false,
            takes_proofs: false,
            call: None,
        })
    }

    /// The body.
    pub(crate) const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Whether the body contains a token.
    pub(crate) const fn has_body_token(&self) -> bool {
        self.body_token.is_some()
    }

    /// Says which call the body wraps, in its canonical form, and the proof of payment that came with it in the message.
    pub(crate) fn with_call(mut self, canonical: &'a [u8], proof: Option<PresentedProof>) -> Self {
        self.call = Some(CallInMessage { canonical, proof });
        self
    }

    /// What a payment for the request is bound to: the body, or the call in it.
    pub(crate) fn paid_body(&self) -> &'a [u8] {
        self.call.as_ref().map_or(self.body, |call| call.canonical)
    }

    /// The parameters of the query.
    pub(crate) const fn query(&self) -> &Query {
        &self.query
    }

    /// Identifies the caller. A signature is not consumed here: a request that changes nothing may be repeated.
    pub(crate) fn identify(&self, state: &AppState) -> Result<Caller, Problem> {
        let presented = state.engine.identities.identify(&self.credentials(state)?)?;
        Ok(Caller::from(presented))
    }

    /// Accepts `Authorization: Bearer` too, for [`Self::bearer`].
    pub(crate) const fn with_bearer(mut self) -> Self {
        self.takes_bearer = true;
        self
    }

    /// The secret of an `Authorization: Bearer` header, if there is exactly one: a claim token or a preimage. Whatever else it is
    /// proves nothing and is ignored.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let mut secrets = self.request.headers().get_all(AUTHORIZATION).filter_map(|value| {
            let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("Bearer").then_some(secret.trim())
        });
        let secret = secrets.next()?;
        secrets.next().is_none().then_some(secret)
    }

    /// The claim token of an `Authorization: Bearer` header; `None` without one.
    pub(crate) fn claim_token(&self) -> Result<Option<&str>, Problem> {
        let values = self.request.headers().get_all(AUTHORIZATION);
        let ours = values.filter(|value| !HttpAuth::is_meant(value.as_bytes()));
        let Some(text) = only(ours, "a claim token")? else { return Ok(None) };
        match text.trim().split_once(' ') {
            Some((scheme, secret)) if scheme.eq_ignore_ascii_case("Bearer") => Ok(Some(secret.trim())),
            _ => {
                let detail = "invalid credentials: expected Authorization: Bearer <claim token>";
                Err(Problem::new(Code::InvalidClaimToken, detail))
            }
        }
    }

    /// The macaroon of an `Authorization` header: `Bearer <macaroon>`, or `L402 <macaroon>:<preimage>`; `None` without one.
    pub(crate) fn macaroon(&self) -> Result<Option<&str>, Problem> {
        let values = self.request.headers().get_all(AUTHORIZATION);
        let ours = values.filter(|value| is_macaroon_scheme(value.as_bytes()) && !self.is_proof(value));
        let Some(text) = only(without_repetitions(ours), "a macaroon")? else { return self.api_key() };
        let (scheme, secret) = text.trim().split_once(' ').unwrap_or((text, ""));
        let secret = secret.trim();
        if scheme.eq_ignore_ascii_case("Bearer") {
            if self.takes_api_key && secret == NO_KEY {
                return self.api_key();
            }
            return Ok(Some(secret));
        }
        let (macaroon, preimage) = secret.split_once(':').unwrap_or((secret, ""));
        if preimage.parse::<Preimage>().is_err() {
            let detail = "invalid credentials: expected L402 <macaroon>:<preimage of 64 hex digits>";
            return Err(Problem::new(Code::InvalidMacaroon, detail));
        }
        Ok(Some(macaroon))
    }

    /// The macaroon of an `x-api-key` header, where Anthropic's clients put it; `None` without one.
    fn api_key(&self) -> Result<Option<&str>, Problem> {
        if !self.takes_api_key {
            return Ok(None);
        }
        let key = only(self.request.headers().get_all(X_API_KEY), X_API_KEY)?;
        Ok(key.map(str::trim).filter(|key| !key.is_empty() && *key != NO_KEY))
    }

    /// Accepts the key of a session in `x-api-key` too, and `none` as a key that says nothing.
    pub(crate) const fn with_api_key(mut self) -> Self {
        self.takes_api_key = true;
        self
    }

    /// Accepts proofs of payment too, for [`Self::proof`].
    pub(crate) const fn with_proofs(mut self) -> Self {
        self.takes_proofs = true;
        self
    }

    /// The proof of payment in the `Authorization` headers, or in the message; `None` without one. Several that say the same are one.
    pub(crate) fn proof(&self) -> Result<Option<PresentedProof>, Problem> {
        if !self.takes_proofs {
            return Ok(None);
        }
        let in_headers = payment_proof::only(self.request.headers().get_all(AUTHORIZATION))?;
        let in_message = self.call.as_ref().and_then(|call| call.proof.clone());
        match (in_headers, in_message) {
            (Some(one), Some(other)) if one != other => Err(payment_proof::several()),
            (in_headers, in_message) => Ok(in_headers.or(in_message)),
        }
    }

    /// Whether a value of `Authorization` is a proof of payment that is accepted.
    fn is_proof(&self, value: &HeaderValue) -> bool {
        self.takes_proofs && payment_proof::is_meant(value)
    }

    /// What the macaroon of an `Authorization` header allows; `None` without one. Whether it was revoked is decided when it is used.
    pub(crate) fn session(&self, state: &AppState) -> Result<Option<SessionAccess>, Problem> {
        let macaroon = self.macaroon()?;
        Ok(macaroon.map(|macaroon| state.engine.sessions.access(macaroon)).transpose()?)
    }

    /// The install that the request is from, with its licence; `None` without one. Whether the licence was revoked is decided when it
    /// is used.
    pub(crate) fn install(&self, state: &AppState) -> Result<Option<PresentedInstall>, Problem> {
        let licence = self.header_once(X_LICENSE)?;
        let Some(id) = self.header_once(X_INSTALL_ID)? else {
            if licence.is_some() {
                let problem = "missing header: X-License needs the id of the install that it was issued for";
                return Err(Problem::field(X_INSTALL_ID, problem));
            }
            return Ok(None);
        };
        let id: InstallId = id.parse().map_err(|wrong| Problem::field(X_INSTALL_ID, wrong))?;
        let presented = PresentedInstall { id, licence: licence.map(str::to_owned) };
        state.engine.credits.prove(&presented)?;
        Ok(Some(presented))
    }

    /// Like [`Self::install`], for an endpoint that is about an install.
    pub(crate) fn required_install(&self, state: &AppState) -> Result<PresentedInstall, Problem> {
        self.install(state)?.ok_or_else(|| {
            Problem::field(
                X_INSTALL_ID,
                "missing header: expected the id of an install, a UUID in lower case",
            )
        })
    }

    /// The text of a header that may occur at most once, and names what it is about.
    fn header_once(&self, name: &'static str) -> Result<Option<&'a str>, Problem> {
        let mut values = self.request.headers().get_all(name);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Problem::field(name, "repeated header: expected one value, got several"));
        }
        let text = value.to_str();
        text.map(Some).map_err(|_| Problem::field(name, "invalid header: expected printable ASCII"))
    }

    /// Checks that the request is the operator's.
    pub(crate) fn check_operator(&self, state: &AppState) -> Result<(), Problem> {
        let is_operator = match (&state.admin_token, self.bearer()) {
            (Some(token), Some(secret)) => token.is(secret),
            _ => false,
        };
        if is_operator {
            return Ok(());
        }
        let detail = "missing or invalid admin token: expected Authorization: Bearer <TITHE_ADMIN_TOKEN of the server>";
        Err(Problem::new(Code::InvalidAdminToken, detail))
    }

    pub(crate) fn credentials(&self, state: &AppState) -> Result<Credentials, Problem> {
        self.refuse_other_schemes()?;
        let header = only(self.request.headers().get_all(&X_NOSTR_TOKEN), "X-Nostr-Token")?;
        let in_query = NOSTR_TOKEN_NAMES.into_iter().flat_map(|name| self.query.all(name));
        let tokens = header.into_iter().chain(self.body_token).chain(in_query);
        Ok(Credentials { tokens: tokens.map(str::to_owned).collect(), signed: self.signed(state)? })
    }

    /// Refuses credentials that this server does not know: whoever sends them must not be served as anonymous.
    fn refuse_other_schemes(&self) -> Result<(), Problem> {
        for value in self.request.headers().get_all(AUTHORIZATION) {
            let scheme = value.as_bytes().trim_ascii_start().split(u8::is_ascii_whitespace).next();
            let is_bearer = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Bearer"));
            let is_macaroon = is_macaroon_scheme(value.as_bytes());
            let is_macaroon = (is_bearer || is_macaroon) && self.takes_bearer;
            if HttpAuth::is_meant(value.as_bytes()) || is_macaroon || self.is_proof(value) {
                continue;
            }
            return Err(invalid(if is_bearer {
                "unexpected credentials: send the token of an identity as X-Nostr-Token, not as Authorization: Bearer"
            } else {
                "unexpected credentials: expected Authorization: Nostr <base64 of an event>, or none"
            }));
        }
        Ok(())
    }

    /// The signature of the request, if it has one.
    fn signed(&self, state: &AppState) -> Result<Option<SignedCredential>, Problem> {
        let values = self.request.headers().get_all(AUTHORIZATION);
        // Other schemes are not identities.
        let nostr = values.filter(|value| HttpAuth::is_meant(value.as_bytes()));
        let Some(value) = only(nostr, "Authorization: Nostr")? else { return Ok(None) };
        Ok(Some(SignedCredential {
            authorization: value.to_owned(),
            urls: urls(state, self.request)?,
            method: self.request.method().as_str().to_owned(),
            body: self.body.to_vec(),
        }))
    }
}

/// The hosts that a signed login may name, without ports.
pub(crate) fn hosts(state: &AppState, request: &HttpRequest) -> Vec<String> {
    if state.public_urls.is_empty() {
        return local_host(request, state).map(|host| host.host().to_owned()).into_iter().collect();
    }
    state.public_urls.iter().map(|public| public.host().to_owned()).collect()
}

/// The absolute URLs that a signature of this request may contain.
fn urls(state: &AppState, request: &HttpRequest) -> Result<Vec<String>, Problem> {
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    if !state.public_urls.is_empty() {
        return Ok(state.public_urls.iter().map(|public| format!("{public}{path}")).collect());
    }
    let host = local_host(request, state).ok_or_else(|| {
        invalid(
            "unknown server address: TITHE_PUBLIC_URL is not set on the server; without it, signed requests are accepted only \
             in development, and only straight from the server's own machine",
        )
    })?;
    // The server cannot tell whether a proxy in front of it terminates TLS.
    Ok(["http", "https"].map(|scheme| format!("{scheme}://{host}{path}")).into())
}

/// The `Host` of the request, if it is this machine and the request comes from this machine. Any other host is an unverified claim of
/// the client: a site that made a user sign a request to that site could replay it here under the same host name. A proxy may write
/// the host that it forwards to, which is this machine for everybody.
fn local_host(request: &HttpRequest, state: &AppState) -> Option<Authority> {
    let is_near = state.accepts_local_urls && state.limits.is_from_this_machine(request);
    let host = host(request).filter(|_| is_near)?;
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let is_local = name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_local.then_some(host)
}

/// The `Host` header, if there is exactly one and it contains only a host and an optional port.
fn host(request: &HttpRequest) -> Option<Authority> {
    let mut hosts = request.headers().get_all(HOST);
    let host = hosts.next()?.to_str().ok()?;
    let host: Authority = host.parse().ok()?;
    (hosts.next().is_none() && !host.as_str().contains('@')).then_some(host)
}

/// The text of a header that may occur at most once.
fn only<'a>(
    mut values: impl Iterator<Item = &'a HeaderValue>,
    name: &str,
) -> Result<Option<&'a str>, Problem> {
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid(format!("repeated header: expected {name} at most once")));
    }
    let text =
        value.to_str().map_err(|_| invalid(format!("invalid header: expected {name} in printable ASCII")));
    text.map(Some)
}

/// The values without those that say the same as one before, as clients of L402 send them that know its former name too.
fn without_repetitions<'a>(
    values: impl Iterator<Item = &'a HeaderValue>,
) -> impl Iterator<Item = &'a HeaderValue> {
    let mut seen: Vec<&[u8]> = Vec::new();
    values.filter(move |value| {
        let (scheme, secret) = payment_proof::split(value);
        if !payment_proof::is_l402(scheme) {
            return true;
        }
        let is_new = !seen.contains(&secret);
        seen.push(secret);
        is_new
    })
}

/// Whether a header value uses a scheme that carries a macaroon.
fn is_macaroon_scheme(value: &[u8]) -> bool {
    let scheme = value.trim_ascii_start().split(u8::is_ascii_whitespace).next().unwrap_or_default();
    ["Bearer", "L402", "LSAT"].iter().any(|ours| scheme.eq_ignore_ascii_case(ours.as_bytes()))
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidIdentity, detail)
}
