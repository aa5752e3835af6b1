//! Customers who pay for one request.

use super::jobs::text;
use super::{Answer, TestApp, Wire};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};

/// The routes that one request can be paid for on, as clients use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metered {
    Ask,
    Ai(Wire),
    Embeddings,
}

impl Metered {
    pub(crate) const ALL: [Self; 5] = [
        Self::Ask,
        Self::Ai(Wire::Chat),
        Self::Ai(Wire::Responses),
        Self::Ai(Wire::Messages),
        Self::Embeddings,
    ];

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Ask => "/api/ask",
            Self::Ai(wire) => wire.path(),
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// The body of a request.
    pub(crate) fn body(self, text: &str, stream: bool) -> Value {
        match self {
            Self::Ask => json!({ "request": text, "maxOutputTokens": 400 }),
            Self::Ai(wire) => wire.body(text, stream),
            Self::Embeddings => json!({ "model": "sim-embedding", "input": [text] }),
        }
    }

    /// Whether the answer can be streamed.
    pub(crate) fn streams(self) -> bool {
        self != Self::Embeddings
    }

    /// What a problem says besides its detail.
    pub(crate) fn facts(self, answer: &Answer) -> Value {
        let body = answer.json();
        if self == Self::Ask { body } else { body["error"]["metadata"].clone() }
    }

    /// The detail of a problem.
    pub(crate) fn message(self, answer: &Answer) -> String {
        let body = answer.json();
        text(if self == Self::Ask { &body["detail"] } else { &body["error"]["message"] })
    }

    /// Checks that a request was refused with this status and code.
    pub(crate) fn refused(self, answer: &Answer, status: u16, code: &str) -> Value {
        assert_eq!(answer.status, status, "{self:?}: {}", answer.text);
        let facts = self.facts(answer);
        assert_eq!(facts["code"], code, "{self:?}: {}", answer.text);
        assert_eq!(answer.header("payment-receipt"), "", "{self:?}: a receipt of nothing");
        facts
    }
}

/// What a 402 offers.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    /// The token of L402.
    pub(crate) token: String,
    /// The parameters of the challenge of the scheme `Payment`.
    pub(crate) payment: Map<String, Value>,
    /// The field `offer`.
    pub(crate) body: Value,
}

impl Offer {
    /// Reads the offer of a 402, and checks that its parts agree.
    pub(crate) fn of(route: Metered, answer: &Answer) -> Self {
        assert_eq!(answer.status, 402, "{route:?}: {}", answer.text);
        let body = route.facts(answer)["offer"].clone();
        let challenges = answer.headers.get_all("www-authenticate").iter();
        let challenges: Vec<&str> = challenges.map(|value| value.to_str().unwrap()).collect();
        let [first, second, third, ..] = challenges[..] else { panic!("{route:?}: {challenges:?}, {body}") };
        assert!(challenges.len() <= 4, "{route:?}: {challenges:?}");
        let bolt11 = text(&body["invoice"]["paymentRequest"]);
        let token = first.strip_prefix("L402 macaroon=\"").and_then(|rest| rest.split('"').next()).unwrap();
        assert_eq!(first, format!("L402 macaroon=\"{token}\", invoice=\"{bolt11}\""));
        assert_eq!(
            second,
            format!("L402 version=\"0\", token=\"{token}\", macaroon=\"{token}\", invoice=\"{bolt11}\"")
        );
        assert!(answer.header("cache-control").contains("no-store"), "{answer:?}");
        assert_eq!(body["authorization"], format!("L402 {token}:<preimage>"));
        Self { token: token.to_owned(), payment: parameters(third.strip_prefix("Payment ").unwrap()), body }
    }

    pub(crate) fn hash(&self) -> String {
        text(&self.body["invoice"]["paymentHash"])
    }

    pub(crate) fn sats(&self) -> u64 {
        self.body["amountSats"].as_u64().unwrap()
    }

    /// The JSON object in the challenge of the scheme `Payment`.
    pub(crate) fn charge(&self) -> Value {
        decoded(&text(&self.payment["request"]))
    }

    /// Pays the invoice.
    pub(crate) async fn paid(self, app: &TestApp) -> Paid {
        let paid = app.pay(&self.hash()).await;
        Paid { preimage: text(&paid["preimage"]), offer: self }
    }
}

/// A JSON object in base64url.
pub(super) fn decoded(text: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// The parameters of a challenge, all of which are quoted.
fn parameters(list: &str) -> Map<String, Value> {
    let mut parameters = Map::new();
    let mut rest = list;
    while let Some((name, value)) = rest.split_once("=\"") {
        let (value, after) = value.split_once('"').unwrap();
        let name = name.trim_start_matches(", ").to_owned();
        assert!(parameters.insert(name, value.into()).is_none(), "{list}");
        rest = after;
    }
    assert_eq!(rest, "", "{list}");
    parameters
}

/// An offer that was paid.
#[derive(Debug, Clone)]
pub(crate) struct Paid {
    pub(crate) offer: Offer,
    pub(crate) preimage: String,
}

impl Paid {
    /// The proof as clients of L402 send it.
    pub(crate) fn l402(&self) -> String {
        format!("L402 {}:{}", self.offer.token, self.preimage)
    }

    /// The proof as clients of the scheme `Payment` send it.
    pub(crate) fn payment(&self) -> String {
        self.payment_of(&self.offer.payment)
    }

    /// The same with another challenge.
    pub(crate) fn payment_of(&self, challenge: &Map<String, Value>) -> String {
        let credential = json!({ "challenge": challenge, "payload": {"preimage": self.preimage} });
        format!("Payment {}", URL_SAFE_NO_PAD.encode(credential.to_string()))
    }

    /// What became of the payment.
    pub(crate) async fn state(&self, app: &TestApp) -> Value {
        app.payment(&self.offer.hash(), &self.l402()).await.ok(200)
    }
}

impl TestApp {
    /// A request that nobody pays for.
    pub(crate) fn metered(&self, route: Metered, body: &Value, stream: bool) -> RequestBuilder {
        let request = self.request(Method::POST, route.path()).body(body.to_string());
        if route == Metered::Ask && stream { request.header("Accept", "text/event-stream") } else { request }
    }

    /// The offer that this request gets.
    pub(crate) async fn offer(&self, route: Metered, body: &Value) -> Offer {
        Offer::of(route, &self.ai_send(self.metered(route, body, false)).await)
    }

    /// An offer for this request that is paid.
    pub(crate) async fn bought(&self, route: Metered, body: &Value) -> Paid {
        self.offer(route, body).await.paid(self).await
    }

    /// Sends a request with this proof.
    pub(crate) async fn proving(&self, route: Metered, body: &Value, proof: &str) -> Answer {
        self.ai_send(self.metered(route, body, false).header("Authorization", proof)).await
    }

    /// What became of a payment. A path may name a part of it.
    pub(crate) async fn payment(&self, hash: &str, proof: &str) -> Answer {
        let request = self.request(Method::GET, &format!("/api/payments/{hash}"));
        self.send(request.header("Authorization", proof)).await
    }

    /// Claims the refund of a payment.
    pub(crate) async fn payment_refund(&self, paid: &Paid, destination: &Value) -> Answer {
        let request = self.request(Method::POST, &format!("/api/payments/{}/refund", paid.offer.hash()));
        let request = request.header("Authorization", paid.l402());
        self.send(request.body(destination.to_string())).await
    }
}

/// The receipt of a response.
pub(crate) fn receipt(answer: &Answer) -> Value {
    let text = answer.header("payment-receipt");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap())
        .unwrap_or_else(|wrong| panic!("{wrong}: {text}"))
}
