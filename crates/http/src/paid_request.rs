//! The request that a proof of payment is for.

use crate::decisive_headers::decisive_headers;
use actix_web::HttpRequest;
use actix_web::http::uri::PathAndQuery;
use tithe_ledger::credits::InstallId;
use tithe_paywall::RequestDigest;
use tithe_trust::NostrPubkey;

/// An operation of this server whose requests can be paid for one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaidPath {
    /// A plain request.
    Ask,
    /// `OpenAI`'s chat completions.
    ChatCompletions,
    /// `OpenAI`'s responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// Embeddings.
    Embeddings,
}

impl PaidPath {
    const ALL: [Self; 5] =
        [Self::Ask, Self::ChatCompletions, Self::Responses, Self::Messages, Self::Embeddings];

    /// The operation at a path, which has no query.
    pub(crate) fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == path)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "/api/ask",
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::Embeddings => "/v1/embeddings",
        }
    }
}

/// The paths of the requests that can be paid for one by one.
pub(crate) const PATHS: [&str; 5] = {
    let [a, b, c, d, e] = PaidPath::ALL;
    [a.as_str(), b.as_str(), c.as_str(), d.as_str(), e.as_str()]
};

/// The path of the server's MCP. A call of its tool can be paid for by itself, and is no operation of HTTP.
pub(crate) const MCP_PATH: &str = "/mcp";

/// Who a paid request is from. Everybody who pays for a request is named, so that nobody else's proof is good for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PaidBy {
    /// The install, if the request names one.
    pub(crate) install: Option<InstallId>,
    /// The identity, if the request has one.
    pub(crate) identity: Option<NostrPubkey>,
}

impl PaidBy {
    /// The customer in the digest of a request.
    fn name(self) -> String {
        let install = self.install.map(|install| format!("install:{install}"));
        let identity = self.identity.map(|pubkey| format!("nostr:{pubkey}"));
        let names: Vec<String> = install.into_iter().chain(identity).collect();
        if names.is_empty() { "anonymous".to_owned() } else { names.join(" ") }
    }
}

/// What a payment for one request is bound to.
#[derive(Debug, Clone)]
pub(crate) struct PaidFor<'a> {
    method: &'a str,
    path: &'a str,
    /// What else changes what is done: headers, in lines.
    headers: String,
    payer: PaidBy,
    body: &'a [u8],
}

impl<'a> PaidFor<'a> {
    pub(crate) fn new(request: &'a HttpRequest, payer: PaidBy, body: &'a [u8]) -> Self {
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let mut headers: Vec<String> = decisive_headers(request)
            .into_iter()
            .map(|(name, value)| match std::str::from_utf8(value.as_bytes()) {
                Ok(text) => format!("\n{name}: {text}"),
                Err(_) => format!("\n{name}:hex:{}", hex::encode(value.as_bytes())),
            })
            .collect();
        headers.sort_unstable();
        Self { method: request.method().as_str(), path, headers: headers.concat(), payer, body }
    }

    /// The digest of the request.
    pub(crate) fn digest(&self) -> RequestDigest {
        self.digest_with(self.path, self.payer)
    }

    fn digest_with(&self, path: &str, payer: PaidBy) -> RequestDigest {
        // No path has a line break in it.
        RequestDigest::of(self.method, &format!("{path}{}", self.headers), &payer.name(), self.body)
    }

    /// What differs from the request that was `paid` for, as far as that can be told: the other paths and customers that a client may have
    /// meant are tried.
    pub(crate) fn difference(&self, is_paid: impl Fn(&RequestDigest) -> bool) -> &'static str {
        if is_paid(&self.digest()) {
            // The proof does not say what it is for.
            return if self.path == MCP_PATH {
                "the arguments, the payer or the path differs"
            } else {
                "the method, the path, the payer or the body differs"
            };
        }
        let PaidBy { install, identity } = self.payer;
        let payers = [
            PaidBy { install: None, identity: None },
            PaidBy { install, identity: None },
            PaidBy { install: None, identity },
        ];
        let other_payer = payers.iter().any(|payer| is_paid(&self.digest_with(self.path, *payer)));
        let other_path = PATHS.iter().any(|path| is_paid(&self.digest_with(path, self.payer)));
        let both =
            PATHS.iter().any(|path| payers.iter().any(|payer| is_paid(&self.digest_with(path, *payer))));
        if other_payer {
            "the payer differs: the identity or the install"
        } else if other_path {
            "the path differs"
        } else if both {
            "the path and the payer differ: the identity or the install"
        } else if self.path == MCP_PATH {
            "the tool or its arguments differ, or another payer's identity or install was named then"
        } else if self.path.split('?').next().is_some_and(|path| !PATHS.contains(&path)) {
            // A mounted route.
            "the path, its query, the method, the body or a header that is passed on differs, or another payer's identity or install was named then"
        } else {
            "the body differs, or an anthropic-* header, or another payer's identity or install was named then"
        }
    }
}
