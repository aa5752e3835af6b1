//! Test vectors of another implementation.
//!
//! The values are from `mpp/testdata/vectors.json` of `github.com/lightninglabs/aperture` at 7ee3ed7, which is under the
//! MIT licence, Copyright (c) 2019 Lightning Labs. Left out is what cannot occur here: floating-point numbers and numbers
//! beyond 2⁵³ in canonical JSON, and receipts whose reference is no payment hash.

use super::fields::{Field, Fields};
use super::{Challenge, ChallengeKey, Credential, base64url};
use crate::canonical::Json;
use sha2::{Digest as _, Sha256};
use tithe_money::Sats;

const SECRET: &[u8] = b"mpp-test-vector-secret";

/// JSON and its canonical form.
const CANONICAL: [(&str, &str); 12] = [
    ("{}", "{}"),
    (r#"{"z":1,"m":2,"a":3,"A":4,"10":5,"2":6}"#, r#"{"10":5,"2":6,"A":4,"a":3,"m":2,"z":1}"#),
    (
        r#"{"\ue000":1,"\ud800\udc00":2,"\uffff":3,"\ud7ff":4}"#,
        "{\"\u{d7ff}\":4,\"\u{10000}\":2,\"\u{e000}\":1,\"\u{ffff}\":3}",
    ),
    (r#"{"description":"Q&A <b> endpoint"}"#, r#"{"description":"Q&A <b> endpoint"}"#),
    (r#"{"s":"x\u2028y\u2029z"}"#, "{\"s\":\"x\u{2028}y\u{2029}z\"}"),
    (r#"{"s":"\b\f\n\r\t"}"#, r#"{"s":"\b\f\n\r\t"}"#),
    (r#"{"s":"\u0000\u0001\u001f"}"#, r#"{"s":"\u0000\u0001\u001f"}"#),
    (r#"{"s":"a/b\u007f"}"#, "{\"s\":\"a/b\u{7f}\"}"),
    (r#"{"s":"he said \"go\" \\ home"}"#, r#"{"s":"he said \"go\" \\ home"}"#),
    ("{\"s\":\"café あ \u{1f600}\"}", "{\"s\":\"café あ \u{1f600}\"}"),
    (
        r#"{"amount":"100","currency":"sat","description":"Weather report","methodDetails":{"invoice":"lnbc1u1p","paymentHash":"bc230847","network":"mainnet"}}"#,
        r#"{"amount":"100","currency":"sat","description":"Weather report","methodDetails":{"invoice":"lnbc1u1p","network":"mainnet","paymentHash":"bc230847"}}"#,
    ),
    (
        r#"{"amount":"3","currency":"sat","unitType":"token","depositInvoice":"lnbc500n1p","paymentHash":"aa11bb22","depositAmount":"5000","idleTimeout":"900"}"#,
        r#"{"amount":"3","currency":"sat","depositAmount":"5000","depositInvoice":"lnbc500n1p","idleTimeout":"900","paymentHash":"aa11bb22","unitType":"token"}"#,
    ),
];

/// Texts, and the bytes that they encode, in hex; none if the text is to be refused.
const BASE64URL: [(&str, Option<&str>); 17] = [
    ("", Some("")),
    ("AA", Some("00")),
    ("__4", Some("fffe")),
    ("__79", Some("fffefd")),
    ("aGVsbG8", Some("68656c6c6f")),
    ("-_-_A-__", Some("fbffbf03efff")),
    (
        "eyJhbW91bnQiOiIxMDAiLCJjdXJyZW5jeSI6InNhdCJ9",
        Some("7b22616d6f756e74223a22313030222c2263757272656e6379223a22736174227d"),
    ),
    ("aGVsbG8=", Some("68656c6c6f")),
    ("AB", None),
    ("aGVs\nbG8", None),
    ("aGVs\rbG8", None),
    ("a+b/", None),
    ("aGV=bG8", None),
    ("aGVsbG8===", None),
    ("aGVsbG=", None),
    ("aGVsb", None),
    ("!!!invalid!!!", None),
];

/// Id, realm, method, intent, request, expires, digest, opaque and description; an empty one is missing. What is between
/// `<` and `>` is sent as base64url.
type Parameters = [&'static str; 9];

/// With the SHA-256 of the header.
const HEADERS: [(Parameters, &str); 6] = [
    (
        [
            "x7Tg2pLqR9mKvNwY3hBcZa",
            "api.example.com",
            "lightning",
            "charge",
            r#"<{"amount":"100","currency":"sat","description":"Weather report","methodDetails":{"invoice":"lnbc1u1pexample","network":"mainnet","paymentHash":"bc230847"}}>"#,
            "",
            "",
            "",
            "",
        ],
        "8edd2364341b1c283a6edff77de47348b7e0bdc6ddc08b01e3d4d37014666f67",
    ),
    (
        [
            "kM9xPqWvT2nJrHsY4aDfEb",
            "api.example.com",
            "lightning",
            "session",
            r#"<{"amount":"3","currency":"sat","depositAmount":"5000","depositInvoice":"lnbc500n1pexample","idleTimeout":"900","paymentHash":"aa11bb22","unitType":"token"}>"#,
            "2026-03-15T12:05:00Z",
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
            r#"<{"orderId":"123"}>"#,
            "Inference session",
        ],
        "ba8c7cbf5ac6de28e5dc9b27f774699159c65ecb65c445f9c02a00b341a0edd8",
    ),
    (
        [
            "quote-id",
            r#"api "quoted" example"#,
            "lightning",
            "charge",
            r#"<{"amount":"100","currency":"sat","description":"Weather report","methodDetails":{"invoice":"lnbc1u1pexample","network":"mainnet","paymentHash":"bc230847"}}>"#,
            "",
            "",
            "",
            r#"say "hi""#,
        ],
        "dd1b31080730743838fad2b1bb46be10fcbca0b8a386aa579c53dfc2376fb7ce",
    ),
    (
        [
            "backslash-id",
            r"a\b\\c",
            "lightning",
            "charge",
            r#"<{"amount":"100","currency":"sat","description":"Weather report","methodDetails":{"invoice":"lnbc1u1pexample","network":"mainnet","paymentHash":"bc230847"}}>"#,
            "",
            "",
            "",
            "",
        ],
        "5f9323857712f5b396c0bf15821128b173cf4798ceb4c5190859ee50ecb61bd3",
    ),
    (
        [
            "separator-id",
            "one, two=three",
            "lightning",
            "charge",
            r#"<{"amount":"100","currency":"sat","description":"Weather report","methodDetails":{"invoice":"lnbc1u1pexample","network":"mainnet","paymentHash":"bc230847"}}>"#,
            "",
            "",
            "",
            r#"Payment id="spoofed""#,
        ],
        "993fa0f65bffce5ead6c2702d1945406b454c57bd5c218c8535799ac0aa3e51f",
    ),
    (
        [
            "obstext-id",
            "tab\there",
            "lightning",
            "charge",
            r#"<{"amount":"100","currency":"sat","description":"Weather report","methodDetails":{"invoice":"lnbc1u1pexample","network":"mainnet","paymentHash":"bc230847"}}>"#,
            "",
            "",
            "",
            "café über",
        ],
        "130678249956572c20ef486d1561558245bd5305a16683b9695a37083661e22b",
    ),
];

const LISTS: [(&str, &[Parameters]); 11] = [
    (
        r#"Payment id="charge-id", realm="api.example.com", method="lightning", intent="charge", request="Q0hBUkdF", Payment id="session-id", realm="api.example.com", method="lightning", intent="session", request="U0VTU0lPTg""#,
        &[
            ["charge-id", "api.example.com", "lightning", "charge", "Q0hBUkdF", "", "", "", ""],
            ["session-id", "api.example.com", "lightning", "session", "U0VTU0lPTg", "", "", "", ""],
        ],
    ),
    (
        r#"Payment id="a", realm="r", method="lightning", intent="charge", request="cQ",Payment id="b", realm="r", method="lightning", intent="session", request="cQ""#,
        &[
            ["a", "r", "lightning", "charge", "cQ", "", "", "", ""],
            ["b", "r", "lightning", "session", "cQ", "", "", "", ""],
        ],
    ),
    (
        r#"Payment id="a", realm="r", method="lightning", intent="charge", request="cQ" , , Payment id="b", realm="r", method="lightning", intent="session", request="cQ""#,
        &[
            ["a", "r", "lightning", "charge", "cQ", "", "", "", ""],
            ["b", "r", "lightning", "session", "cQ", "", "", "", ""],
        ],
    ),
    (
        r#"Basic realm="other", Payment id="a", realm="r", method="lightning", intent="charge", request="cQ", Digest realm="other", intent="bogus", Payment id="b", realm="r", method="lightning", intent="session", request="cQ""#,
        &[
            ["a", "r", "lightning", "charge", "cQ", "", "", "", ""],
            ["b", "r", "lightning", "session", "cQ", "", "", "", ""],
        ],
    ),
    (
        r#"Payment id="a,b", realm="Payment id=c", method="lightning", intent="charge", request="cQ""#,
        &[["a,b", "Payment id=c", "lightning", "charge", "cQ", "", "", "", ""]],
    ),
    (
        r#"payment ID="a", Realm="r", METHOD="lightning", intent="charge", ReQuEsT="cQ""#,
        &[["a", "r", "lightning", "charge", "cQ", "", "", "", ""]],
    ),
    (
        "Payment id=a, realm=r, method=lightning, intent=charge, request=cQ",
        &[["a", "r", "lightning", "charge", "cQ", "", "", "", ""]],
    ),
    (
        r#"Payment id="first", realm="r", method="lightning", intent="charge", request="cQ", id="second", intent="session""#,
        &[["first", "r", "lightning", "charge", "cQ", "", "", "", ""]],
    ),
    (
        r#"Payment id="a", realm="r", Payment id="b", realm="r", method="lightning", intent="session", request="cQ""#,
        &[["b", "r", "lightning", "session", "cQ", "", "", "", ""]],
    ),
    (r#"Basic realm="other""#, &[]),
    (r#"Payment id="a", realm="r""#, &[]),
];

/// With whether the challenge may be accepted: those with a separator in a slot may not.
const IDS: [(Parameters, bool); 4] = [
    (
        [
            "_9D0WlPoPRltxAd6AdpQd6auVOOeQGJ_J8BkGeBE_bU",
            "api.example.com",
            "lightning",
            "charge",
            r#"<{"amount":"100"}>"#,
            "",
            "",
            "",
            "",
        ],
        true,
    ),
    (
        [
            "Wb8N5-PD4XjMfYGzuuY2bdpsrCQZzkQUX-A_ByIetHw",
            "api.example.com",
            "lightning",
            "session",
            r#"<{"amount":"3"}>"#,
            "2026-03-15T12:05:00Z",
            "sha-256=:X48E9q:",
            r#"<{"orderId":"123"}>"#,
            "not covered by the HMAC",
        ],
        true,
    ),
    (
        ["hE7mzL8ATHSnNdtPSJsxCRkpoUjIlf1sQErzg-VsbAA", "a|b", "lightning", "charge", "cQ", "", "", "", ""],
        false,
    ),
    (
        ["hE7mzL8ATHSnNdtPSJsxCRkpoUjIlf1sQErzg-VsbAA", "a", "b|lightning", "charge", "cQ", "", "", "", ""],
        false,
    ),
];

/// The scheme, the JSON, and the SHA-256 of the header. What is between `<` and `>` is base64url in the JSON.
const CREDENTIALS: [(&str, &str, &str); 4] = [
    (
        "Payment",
        r#"{"challenge":{"id":"kM9xPqWvT2nJrHsY4aDfEb","realm":"api.example.com","method":"lightning","intent":"charge","request":"<{"amount":"100"}>","expires":"2026-03-15T12:05:00Z"},"payload":{"preimage":"a3f1e2d4b5c6a7e8"}}"#,
        "2214dd0318611685063322dcbbd487624dd9a99b877fbe6cc37b2be3a0cf7c33",
    ),
    (
        "Payment",
        r#"{"challenge":{"id":"x7Tg2pLqR9mKvNwY3hBcZa","realm":"api.example.com","method":"lightning","intent":"session","request":"<{"amount":"3"}>","description":"Q&A endpoint","opaque":"<{"orderId":"123"}>","digest":"sha-256=:X48E9q:"},"source":"did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK","payload":{"action":"open","preimage":"aabb","returnInvoice":"lnbc1p"}}"#,
        "ceacf3024d739f70ee84af3e711899106605a8023f1f1f42b5b0b21e2352003f",
    ),
    (
        "Payment",
        r#"{"challenge":{"id":"bearer-challenge","realm":"api.example.com","method":"lightning","intent":"session","request":"<{"amount":"3"}>"},"payload":{"action":"bearer","sessionId":"aa11bb22","preimage":"ccdd"}}"#,
        "f079d8fa2f0cce9c49e0ccb8a0e812ec1d97aebaab9b6836357889b28f6ce077",
    ),
    (
        "payment",
        r#"{"challenge":{"id":"kM9xPqWvT2nJrHsY4aDfEb","realm":"api.example.com","method":"lightning","intent":"charge","request":"<{"amount":"100"}>","expires":"2026-03-15T12:05:00Z"},"payload":{"preimage":"a3f1e2d4b5c6a7e8"}}"#,
        "dddf87fb7d535b33f5f066f8fd46c024829a75758f6f0938304743cb5ab79723",
    ),
];

/// The headers that are to be refused. What is between `<` and `>` is sent as base64url.
const REFUSED: [&str; 7] = [
    "Bearer abc123",
    "Payment ",
    "Payment !!!invalid!!!",
    "Payment AB",
    "Payment e29vcHN9",
    r#"Payment <{"challenge":{"realm":"r","method":"lightning","intent":"charge","request":"cQ"},"payload":{}}>"#,
    r#"Payment <{"challenge":{"id":"i","realm":"r","method":"lightning","intent":"charge","request":"cQ"}}>"#,
];

/// Encodes what is between `<` and `>`.
fn expand(text: &str) -> String {
    match text.split_once('<').and_then(|(before, rest)| Some((before, rest.rsplit_once('>')?))) {
        Some((before, (json, after))) => format!("{before}{}{after}", base64url::encode(json)),
        None => text.to_owned(),
    }
}

/// Encodes what is between every `<` and the next `>`.
fn expand_each(text: &str) -> String {
    text.split_inclusive('>').map(expand).collect()
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

fn challenge(parameters: &Parameters) -> Challenge {
    let [id, realm, method, intent, request, expires, digest, opaque, description] = parameters.map(expand);
    let [expires, digest, opaque, description] =
        [expires, digest, opaque, description].map(|text| Some(text).filter(|text| !text.is_empty()));
    Challenge { id, realm, method, intent, request, expires, digest, opaque, description }
}

fn json(field: &Field) -> Json<'_> {
    match field {
        Field::Text(text) => Json::Text(text),
        Field::Number(number) => Json::Sats(Sats::new(*number).unwrap()),
        Field::Object(fields) => object(fields),
        Field::Null | Field::Other => panic!("not a value that occurs: {field:?}"),
    }
}

fn object(fields: &Fields) -> Json<'_> {
    Json::Object(fields.iter().map(|(name, field)| (name, json(field))).collect())
}

#[test]
fn json_has_the_same_canonical_form() {
    for (input, canonical) in CANONICAL {
        let fields = Fields::parse(input.as_bytes()).unwrap();
        assert_eq!(object(&fields).canonical(), canonical, "{input}");
    }
}

#[test]
fn base64url_is_decoded_and_refused_alike() {
    for (text, hex) in BASE64URL {
        assert_eq!(base64url::decode(text).map(hex::encode).as_deref(), hex, "{text:?}");
        if let Some(hex) = hex {
            assert_eq!(base64url::encode(hex::decode(hex).unwrap()), text.trim_end_matches('='));
        }
    }
}

#[test]
fn headers_are_the_same_byte_for_byte() {
    for (parameters, hash) in HEADERS {
        let challenge = challenge(&parameters);
        let header = challenge.header().unwrap();
        assert_eq!(sha256(&header), hash, "{header}");
        assert_eq!(Challenge::parse_all(&header), [challenge], "{header}");
    }
}

#[test]
fn lists_are_read_alike() {
    for (header, challenges) in LISTS {
        let expected: Vec<_> = challenges.iter().map(challenge).collect();
        assert_eq!(Challenge::parse_all(header), expected, "{header}");
    }
}

#[test]
fn ids_are_the_same() {
    let key = ChallengeKey::from_bytes(SECRET);
    for (parameters, is_accepted) in IDS {
        let challenge = challenge(&parameters);
        assert_eq!(key.id_of(&challenge), challenge.id, "{challenge:?}");
        assert_eq!(key.issued(&challenge), is_accepted, "{challenge:?}");
    }
}

#[test]
fn credentials_are_read_alike() {
    for (scheme, json, hash) in CREDENTIALS {
        let json = expand_each(json);
        let header = format!("{scheme} {}", base64url::encode(&json));
        assert_eq!(sha256(&header), hash, "{header}");
        let credential = Credential::parse(&header).unwrap();
        let fields = Fields::parse(json.as_bytes()).unwrap();
        assert_eq!(fields.object("payload"), Ok(&credential.payload));
        let challenge = fields.object("challenge").unwrap();
        assert_eq!(challenge.text("id"), Ok(credential.challenge.id.as_str()));
        assert_eq!(challenge.optional_text("opaque"), Ok(credential.challenge.opaque.as_deref()));
        assert_eq!(fields.optional_text("source"), Ok(credential.source()));
    }
}

#[test]
fn credentials_are_refused_alike() {
    for header in REFUSED {
        assert!(Credential::parse(&expand(header)).is_err(), "{header}");
    }
}
