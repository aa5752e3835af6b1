//! Receipts of what was charged.

use super::failure::Failure;
use super::line::Line;
use super::prepaid::SessionAccess;
use super::requests::Client;
use serde::Deserialize;
use serde_json::{Map, Value};
use tithe_paywall::canonical_json;
use tithe_trust::{NostrPubkey, VerifiedEvent};

/// A receipt. If it is signed, its signature is right, and is one of what it says here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    pub(crate) id: Line,
    pub(crate) model: Option<Line>,
    pub(crate) usage: Option<Tokens>,
    pub(crate) charged_msats: u64,
    pub(crate) absorbed_msats: u64,
    pub(crate) included_msats: u64,
    pub(crate) charges: Vec<Charge>,
    pub(crate) time: Line,
    /// Who has signed it.
    #[serde(skip)]
    pub(crate) signer: Option<NostrPubkey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tokens {
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Charge {
    pub(crate) btc_price_usd_micros: Option<u64>,
}

impl Client {
    /// The receipt of a request of a session.
    pub(crate) async fn receipt(&self, access: &SessionAccess, id: &str) -> Result<Receipt, Failure> {
        let url = self.url(&["api", "receipts", id]);
        let ask = || self.http.get(url.clone()).bearer_auth(&access.macaroon);
        let document = self.read_patiently(ask).await?;
        Receipt::read(document, id).map_err(|problem| {
            let id = id.to_owned().into();
            Failure::Receipt { id, problem }
        })
    }
}

impl Receipt {
    /// Reads the receipt of this request, and checks its signature, if it has one.
    fn read(mut document: Map<String, Value>, id: &str) -> Result<Self, String> {
        let event = document.remove("event");
        let signer = event.map(|event| signer_of(&event, &document)).transpose()?;
        let receipt: Self =
            serde_json::from_value(Value::Object(document)).map_err(|wrong| wrong.to_string())?;
        if *receipt.id != *id {
            return Err(format!("it is of another one: {}", receipt.id));
        }
        Ok(Self { signer, ..receipt })
    }
}

/// The key that has signed a document: the content of the event is the document in canonical form, which names the key.
fn signer_of(event: &Value, document: &Map<String, Value>) -> Result<NostrPubkey, String> {
    let event = VerifiedEvent::from_value(event).map_err(|wrong| wrong.to_string())?;
    let signed = canonical_json(document).map_err(|wrong| wrong.to_string())?;
    if event.content() != signed {
        return Err("its signature is for another document".to_owned());
    }
    let named = document.get("server").and_then(|server| server.get("pubkey")).and_then(Value::as_str);
    if named != Some(event.pubkey().to_string().as_str()) {
        return Err("its signature is by another key than the one that it names".to_owned());
    }
    Ok(event.pubkey())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tithe_clock::Timestamp;
    use tithe_trust::SecretKey;

    const ID: &str = "11111111-1111-4111-8111-111111111111";

    fn key(byte: u8) -> SecretKey {
        format!("{byte:02x}").repeat(32).parse().unwrap()
    }

    /// A receipt that names the key 7, signed by this one.
    fn signed_by(signer: u8) -> Map<String, Value> {
        let document = json!({
            "id": ID, "chargedMsats": 5, "absorbedMsats": 0, "includedMsats": 0, "charges": [],
            "time": "2026-11-30T00:00:00.000000Z", "server": { "pubkey": key(7).pubkey().to_string() },
        });
        let content = canonical_json(&document).unwrap();
        let event = key(signer).sign(78, &[], &content, Timestamp::UNIX_EPOCH, [0; 32]);
        let Value::Object(mut document) = document else { unreachable!() };
        document.insert("event".to_owned(), serde_json::from_str(&event).unwrap());
        document
    }

    #[test]
    fn a_signature_is_of_all_that_the_receipt_says_by_the_key_that_it_names() {
        let receipt = Receipt::read(signed_by(7), ID).unwrap();
        assert_eq!((receipt.charged_msats, receipt.signer), (5, Some(key(7).pubkey())));
        let problem =
            |document| Receipt::read(document, ID).map(|receipt| receipt.charged_msats).unwrap_err();
        assert!(problem(signed_by(8)).contains("another key"));
        let mut dearer = signed_by(7);
        dearer.insert("chargedMsats".to_owned(), json!(6));
        assert!(problem(dearer).contains("another document"));
        let mut forged = signed_by(7);
        forged["event"]["content"] = json!("{}");
        assert!(problem(forged).contains("wrong event id"));
        let other = Receipt::read(signed_by(7), &ID.replace('1', "2")).map(|receipt| receipt.charged_msats);
        assert!(other.unwrap_err().contains("another one"));
        let mut unsigned = signed_by(7);
        unsigned.remove("event");
        assert_eq!(Receipt::read(unsigned, ID).unwrap().signer, None);
    }
}
