//! The challenges of a 402, read as real clients read them.

use crate::app::{Metered, Offer, TestApp, Wire};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The values of a parameter, wherever they are in a list of challenges: name, equals sign, quotes.
fn values<'a>(challenges: &'a str, name: &str) -> Vec<&'a str> {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let with_quote = format!("{name}=\"");
    let found = challenges.match_indices(&with_quote).filter(|(at, _)| !challenges[..*at].ends_with(is_word));
    found.map(|(at, start)| challenges[at + start.len()..].split('"').next().unwrap()).collect()
}

/// The lines of a 402, and the offer.
async fn refused(app: &TestApp, route: Metered) -> (Vec<String>, Offer) {
    let body = route.body("Why is the sky blue? It is, \"isn't it\", a = \"b\"?", false);
    let answer = app.ai_send(app.metered(route, &body, false)).await;
    let lines = answer.headers.get_all("www-authenticate").iter();
    (lines.map(|line| line.to_str().unwrap().to_owned()).collect(), Offer::of(route, &answer))
}

/// `l402-requests` 0.9.0 for Python reads line by line, and aperture's Go client the first that matches: `macaroon` first, `invoice` next to it. The
/// Rust client `L402sdk` takes the first line, which must begin with `L402 `.
#[tokio::test]
async fn clients_that_want_the_macaroon_first_and_the_invoice_next_to_it() {
    let app = TestApp::new();
    for route in Metered::ALL {
        let (lines, offer) = refused(&app, route).await;
        let (macaroon, rest) =
            lines[0].strip_prefix("L402 macaroon=\"").unwrap().split_once("\", invoice=\"").unwrap();
        let invoice = rest.strip_suffix('"').unwrap();
        assert_eq!(
            (macaroon, invoice),
            (offer.token.as_str(), offer.body["invoice"]["paymentRequest"].as_str().unwrap())
        );
        assert!(!macaroon.contains(['"', ',', ' ', '.']) && !invoice.contains(['"', ',', ' ']));
        assert!(invoice.starts_with("lnbcrt"), "{invoice}");
    }
}

/// `l402` 0.5.1 of npm: the first `macaroon` of base64 and the first `invoice` of letters and digits in the joined lines, which begin with the
/// scheme.
#[tokio::test]
async fn clients_that_take_the_first_of_the_joined_lines() {
    let app = TestApp::new();
    for route in Metered::ALL {
        let (lines, offer) = refused(&app, route).await;
        let joined = lines.join(", ");
        assert!(joined.starts_with("L402"));
        let (macaroon, invoice) = (values(&joined, "macaroon")[0], values(&joined, "invoice")[0]);
        assert_eq!(
            (macaroon, invoice),
            (offer.token.as_str(), offer.body["invoice"]["paymentRequest"].as_str().unwrap())
        );
        assert!(macaroon.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte)));
        assert!(invoice.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}

/// `@getalby/lightning-tools` 9.0.1: the last of all parameters of a name in the joined lines, `token` before `macaroon`; `fetch402` wants
/// them to begin with L402.
#[tokio::test]
async fn clients_that_take_the_last_of_the_joined_lines() {
    let app = TestApp::new();
    for route in Metered::ALL {
        let (lines, offer) = refused(&app, route).await;
        let joined = lines.join(", ");
        assert!(joined.to_lowercase().starts_with("l402"));
        let last = |name: &str| *values(&joined, name).last().unwrap();
        assert_eq!((last("token"), last("macaroon")), (offer.token.as_str(), offer.token.as_str()));
        assert_eq!(last("invoice"), offer.body["invoice"]["paymentRequest"]);
    }
}

/// `mppx` 0.11.0 and `l402-requests`: required parameters, all of them quoted, once each; `request` is canonical JSON, because it is read
/// and written anew; what looks like the next scheme in a text would cut the challenge off.
#[tokio::test]
async fn clients_of_the_scheme_payment() {
    let app = TestApp::new();
    for route in [Metered::Ask, Metered::Ai(Wire::Messages), Metered::Embeddings] {
        let (lines, offer) = refused(&app, route).await;
        for name in ["id", "realm", "method", "intent", "request", "expires"] {
            assert_eq!(values(&lines[2], name).len(), 1, "{name}: {}", lines[2]);
            assert!(!values(&lines[2], name)[0].is_empty(), "{name}");
        }
        for name in ["token", "macaroon", "invoice", "header"] {
            assert!(values(&lines[2], name).is_empty(), "{}", lines[2]);
        }
        assert!(lines[2].is_ascii() && !lines[2].contains('\\') && lines[2].len() < 4_096, "{}", lines[2]);
        let description = values(&lines[2], "description").first().copied().unwrap_or_default();
        assert!(!description.contains(','), "{description}");
        let request = values(&lines[2], "request")[0];
        let json = String::from_utf8(URL_SAFE_NO_PAD.decode(request).unwrap()).unwrap();
        // A map of `serde_json` is sorted by name.
        let again: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(again.to_string(), json);
        let expires = values(&lines[2], "expires")[0];
        let expires = tithe_clock::Timestamp::parse_rfc3339(expires).unwrap();
        let invoice = offer.body["invoice"]["expiresAt"].as_str().unwrap();
        assert!(expires > app.now() && expires <= tithe_clock::Timestamp::parse_rfc3339(invoice).unwrap());
    }
}

/// `l402-requests` and `l402` send the last proof of a path with whatever they ask there next. They pay again when they get a 402.
#[tokio::test]
async fn a_client_that_keeps_its_token_buys_one_request_after_the_other() {
    let app = TestApp::new();
    let route = Metered::Ai(Wire::Chat);
    let mut proof: Option<String> = None;
    for text in ["one", "two", "two", "three"] {
        let body = route.body(text, false);
        let request = app.metered(route, &body, false);
        let request = proof.iter().fold(request, |request, proof| request.header("Authorization", proof));
        let mut answer = app.ai_send(request).await;
        if answer.status == 402 {
            let paid = Offer::of(route, &answer).paid(&app).await;
            answer = app.proving(route, &body, &paid.l402()).await;
            proof = Some(paid.l402());
        }
        assert_eq!(answer.status, 200, "{text}: {}", answer.text);
    }
}
