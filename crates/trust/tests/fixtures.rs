//! What other implementations have signed is taken here. `fixtures/` has what they signed and the scripts that made it.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails; the exemption for tests does not reach their helpers"
)]

use serde_json::Value;
use tithe_clock::Timestamp;
use tithe_trust::{
    Challenges, HttpAuth, NostrPubkey, Secret, SecretKey, Secrets, SignedRequest, Site, VerifiedEvent,
    check_http_auth,
};

const FILES: [&str; 2] = [include_str!("fixtures/nostr-tools.json"), include_str!("fixtures/nostr-sdk.json")];

fn fixtures() -> impl Iterator<Item = Value> {
    FILES.into_iter().map(|file| serde_json::from_str(file).unwrap())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    let list = value[field].as_array().unwrap();
    assert!(!list.is_empty());
    list
}

fn at(fixture: &Value) -> Timestamp {
    Timestamp::from_unix_micros(fixture["at"].as_i64().unwrap() * 1_000_000).unwrap()
}

fn challenges() -> Challenges {
    let secret = Secret::new(*b"a secret of the fixtures, 32 long").unwrap();
    Challenges::new(&Secrets::new(secret, vec![]), Challenges::LIFE)
}

#[test]
fn their_keys_are_ours() {
    for fixture in fixtures() {
        let secret: SecretKey = text(&fixture, "nsec").parse().unwrap();
        let pubkey: NostrPubkey = text(&fixture, "npub").parse().unwrap();
        assert_eq!(secret.pubkey(), pubkey);
        assert_eq!(pubkey.to_string(), text(&fixture, "pubkey"));
        assert_eq!(
            (secret.nsec().as_str(), pubkey.npub().as_str()),
            (text(&fixture, "nsec"), text(&fixture, "npub"))
        );
    }
}

#[test]
fn their_logins_are_taken() {
    for fixture in fixtures() {
        let at = at(&fixture);
        let challenge = challenges().issue(at - std::time::Duration::from_mins(1), *b"fixtures");
        assert_eq!(challenge.nonce.to_string(), text(&fixture, "nonce"));
        for login in list(&fixture, "logins") {
            let event = VerifiedEvent::from_value(login).unwrap();
            let ours: &[&str] = &["tithe.example"];
            let names_us = event.tag("relay").or(event.tag("u")).is_some();
            assert_eq!(challenges().login(&event, Site::Named(ours), at).is_ok(), names_us);
            let login = challenges().login(&event, Site::NamedOrUnnamed(ours), at).unwrap();
            assert_eq!(
                (login.pubkey.to_string().as_str(), login.nonce),
                (text(&fixture, "pubkey"), challenge.nonce)
            );
        }
    }
}

#[test]
fn their_signed_requests_are_taken_and_nothing_else_in_their_place() {
    for fixture in fixtures() {
        let at = at(&fixture);
        for request in list(&fixture, "requests") {
            let event = HttpAuth::parse(text(request, "authorization")).unwrap();
            let urls = [text(request, "url").to_owned()];
            let (method, body) = (text(request, "method").to_uppercase(), text(request, "body").as_bytes());
            let meant = SignedRequest { urls: &urls, method: &method, body };
            let proof = check_http_auth(&event, &meant, at).unwrap();
            assert_eq!(proof.pubkey.to_string(), text(&fixture, "pubkey"));
            let other = SignedRequest { body: b"another", ..meant };
            assert!(check_http_auth(&event, &other, at).is_err());
        }
    }
}

#[test]
fn what_can_be_written_in_two_ways_has_the_same_hash() {
    for fixture in fixtures() {
        let secret: SecretKey = text(&fixture, "nsec").parse().unwrap();
        for other in list(&fixture, "others") {
            let event = VerifiedEvent::from_value(other).unwrap();
            let tags: Vec<Vec<&str>> = serde::Deserialize::deserialize(&other["tags"]).unwrap();
            let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
            let ours = secret.sign(event.kind(), &tags, event.content(), event.created_at(), [0; 32]);
            assert_eq!(VerifiedEvent::parse(&ours).unwrap(), event);
        }
    }
}
