//! Individually signed requests (NIP-98).

use crate::age::check_age;
use crate::{AuthError, NostrPubkey, VerifiedEvent};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tithe_clock::Timestamp;
use url::Url;

/// The event kind that signs requests (NIP-98).
pub(crate) const HTTP_AUTH: u16 = 27235;
/// The scheme of the `Authorization` header.
const SCHEME: &str = "Nostr";
/// The maximum header length: base64 of the largest event.
const HEADER_BYTES_MAX: usize = 22 * 1024;
/// The maximum difference between an event's own time and ours.
const WINDOW: Duration = Duration::from_mins(1);
/// How long an event must be remembered after it is no longer accepted, because another server's clock may be behind.
const REMEMBER: Duration = Duration::from_mins(1);

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, ANY_PADDING);

/// `Authorization: Nostr <base64 of an event>` (NIP-98).
#[derive(Debug, Clone, Copy)]
pub struct HttpAuth;

impl HttpAuth {
    /// Returns true if a header value uses this scheme, valid or not. A value that is not valid text may use it.
    #[must_use]
    pub fn is_meant(header_value: &[u8]) -> bool {
        let scheme = header_value.trim_ascii_start().split(u8::is_ascii_whitespace).next();
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME.as_bytes()))
    }

    /// Parses the header value: the scheme in any case, base64 in either alphabet, with or without padding.
    ///
    /// # Errors
    /// [`AuthError::Scheme`], [`AuthError::Encoding`] or [`AuthError::Event`].
    pub fn parse(header_value: &str) -> Result<VerifiedEvent, AuthError> {
        let encoded = split(header_value).ok_or(AuthError::Scheme)?;
        if encoded.len() > HEADER_BYTES_MAX {
            return Err(AuthError::Encoding);
        }
        let engine = if encoded.contains(['-', '_']) { URL_SAFE } else { STANDARD };
        let json = engine.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(VerifiedEvent::parse(&json.ok_or(AuthError::Encoding)?)?)
    }
}

/// The part after the scheme, if the scheme is `Nostr`.
fn split(header_value: &str) -> Option<&str> {
    let value = header_value.trim_ascii();
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case(SCHEME).then(|| rest.trim_ascii())
}

/// The request that the event must have signed.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// The absolute URLs that the request may have been sent to: behind a proxy, the server sees http and the client
    /// used https.
    pub urls: &'a [String],
    /// The request's method.
    pub method: &'a str,
    /// The request's body.
    pub body: &'a [u8],
}

/// Proof that a client signed a request, provided that the event was not used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestAuth {
    /// The client's public key.
    pub pubkey: NostrPubkey,
    /// The event's id, to be stored as used.
    pub event_id: [u8; 32],
    /// When the used id may be forgotten, because no server accepts the event any more.
    pub expires_at: Timestamp,
}

/// Verifies that the event signs the request and returns the signer. The store enforces that each event is used only
/// once.
///
/// # Errors
/// [`AuthError`] if the event has the wrong kind or time, or signs a different URL, method or body.
pub fn check_http_auth(
    event: &VerifiedEvent,
    request: &SignedRequest<'_>,
    now: Timestamp,
) -> Result<RequestAuth, AuthError> {
    check_kind(event)?;
    check_age(event, WINDOW, now)?;
    check_signed_request(event, request)
}

/// Verifies that the event signs the request, at whatever time. This is enough only for finding the response that the same
/// bytes were given before; a request that is to be done needs [`check_http_auth`].
///
/// # Errors
/// [`AuthError`] if the event has the wrong kind, or signs a different URL, method or body.
pub fn check_signed_request(
    event: &VerifiedEvent,
    request: &SignedRequest<'_>,
) -> Result<RequestAuth, AuthError> {
    check_kind(event)?;
    if !event.only_tag("u").is_some_and(|url| is_one_of(url, request.urls)) {
        return Err(AuthError::Url);
    }
    // Some clients write the method exactly as their users typed it, such as `get`.
    if !event.only_tag("method").is_some_and(|method| method.eq_ignore_ascii_case(request.method)) {
        return Err(AuthError::Method);
    }
    check_payload(event, request.body)?;
    let expires_at = event.created_at() + WINDOW + REMEMBER;
    Ok(RequestAuth { pubkey: event.pubkey(), event_id: event.id(), expires_at })
}

fn check_kind(event: &VerifiedEvent) -> Result<(), AuthError> {
    if event.kind() == HTTP_AUTH {
        Ok(())
    } else {
        Err(AuthError::Kind { found: event.kind(), taken: "27235" })
    }
}

/// Returns true if both URLs are equal after normalization (lower-case host, default port omitted, and so on).
fn is_one_of(signed: &str, urls: &[String]) -> bool {
    let Ok(signed) = Url::parse(signed) else { return false };
    signed.fragment().is_none() && urls.iter().any(|url| Url::parse(url).is_ok_and(|url| url == signed))
}

fn check_payload(event: &VerifiedEvent, body: &[u8]) -> Result<(), AuthError> {
    if body.is_empty() && event.tag("payload").is_none() {
        return Ok(());
    }
    let hash = hex::encode(Sha256::digest(body));
    if event.only_tag("payload") == Some(&hash) { Ok(()) } else { Err(AuthError::Payload) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InvalidEvent;
    use crate::testing::{NOW, alice, event};
    use base64::engine::general_purpose as base64s;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const URL: &str = "https://tithe.example/api/sessions?a=1";
    const BODY: &[u8] = br#"{"amountSats":500}"#;

    /// Verifies an event of kind 27235 with these tags against a request to [`URL`], which may also be reached by plain
    /// http.
    fn check(tags: &[&[&str]], method: &str, body: &[u8]) -> Result<RequestAuth, AuthError> {
        let urls = [URL.replace("https", "http"), URL.to_owned()];
        check_http_auth(&event(HTTP_AUTH, tags, "", NOW), &SignedRequest { urls: &urls, method, body }, NOW)
    }

    fn check_url(signed: &str, url: &str) -> Result<RequestAuth, AuthError> {
        let event = event(HTTP_AUTH, &[&["u", signed], &["method", "GET"]], "", NOW);
        let urls = [url.to_owned()];
        check_http_auth(&event, &SignedRequest { urls: &urls, method: "GET", body: b"" }, NOW)
    }

    fn check_at(created_at: Timestamp) -> Result<RequestAuth, AuthError> {
        let event = event(HTTP_AUTH, &[&["u", URL], &["method", "GET"]], "", created_at);
        let urls = [URL.to_owned()];
        check_http_auth(&event, &SignedRequest { urls: &urls, method: "GET", body: b"" }, NOW)
    }

    #[test]
    fn a_signed_request_says_who_and_until_when_to_remember_it() {
        let header = alice().http_auth(URL, "POST", BODY, NOW, [0; 32]);
        let event = HttpAuth::parse(&header).unwrap();
        let request = SignedRequest { urls: &[URL.to_owned()], method: "POST", body: BODY };
        let proof = check_http_auth(&event, &request, NOW + SECOND * 3).unwrap();
        assert_eq!(proof.pubkey, alice().pubkey());
        assert_eq!(proof.event_id, event.id());
        assert_eq!(proof.expires_at, NOW + SECOND * 120);
    }

    #[test]
    fn a_request_is_taken_a_minute_before_and_after_its_time_and_remembered_for_longer() {
        for at in [NOW - WINDOW, NOW + WINDOW] {
            assert_eq!(check_at(at).map(|proof| proof.expires_at), Ok(at + WINDOW + REMEMBER));
        }
        let (old, early) = (NOW - WINDOW - SECOND, NOW + WINDOW + SECOND);
        assert_eq!(check_at(old), Err(AuthError::TooOld { created_at: old, now: NOW }));
        assert_eq!(check_at(early), Err(AuthError::FromTheFuture { created_at: early, now: NOW }));
    }

    #[test]
    fn an_old_request_is_still_known_to_be_signed() {
        let old = NOW - WINDOW * 100;
        let event = HttpAuth::parse(&alice().http_auth(URL, "POST", BODY, old, [0; 32])).unwrap();
        let urls = [URL.to_owned()];
        let request = SignedRequest { urls: &urls, method: "POST", body: BODY };
        assert!(check_http_auth(&event, &request, NOW).is_err());
        assert_eq!(check_signed_request(&event, &request).map(|auth| auth.pubkey), Ok(alice().pubkey()));
        let other = SignedRequest { body: b"other", ..request };
        assert_eq!(check_signed_request(&event, &other), Err(AuthError::Payload));
    }

    #[test]
    fn only_kind_27235_signs_requests() {
        for kind in [1, 22242, 27234, 27236] {
            let event = event(kind, &[&["u", URL], &["method", "GET"]], "", NOW);
            let request = SignedRequest { urls: &[URL.to_owned()], method: "GET", body: b"" };
            let error = Err(AuthError::Kind { found: kind, taken: "27235" });
            assert_eq!(check_http_auth(&event, &request, NOW), error);
            assert_eq!(check_signed_request(&event, &request), error);
        }
    }

    #[test]
    fn urls_are_the_same_when_they_mean_the_same() {
        for (signed, url) in [
            (URL, URL),
            ("https://TITHE.example:443/a/../api", "https://tithe.example/api"),
            ("http://tithe.example:80", "http://tithe.example/"),
            ("https://tithe.example/a?q=ü b", "https://tithe.example/a?q=%C3%BC%20b"),
            ("https://tithe.example/über", "https://tithe.example/%C3%BCber"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
            ("http://[0:0:0:0:0:0:0:1]:8080/", "http://[::1]:8080/"),
        ] {
            assert!(check_url(signed, url).is_ok(), "{signed} {url}");
            assert!(check_url(url, signed).is_ok(), "{url} {signed}");
        }
    }

    #[test]
    fn another_url_is_refused() {
        for signed in [
            "https://tithe.example/api/sessions?a=1#top",
            "https://tithe.example/api/sessions?a=1#",
            "https://tithe.example/api/sessions?a=2",
            "https://tithe.example/api/sessions?a=1&b=2",
            "https://tithe.example/api/sessions?",
            "https://tithe.example/api/sessions",
            "https://tithe.example/api/Sessions?a=1",
            "https://tithe.example/api/sessions/?a=1",
            "https://tithe.example:8443/api/sessions?a=1",
            "http://tithe.example/api/sessions?a=1",
            "https://evil.example/api/sessions?a=1",
            "https://tithe.example@evil.example/api/sessions?a=1",
            "https://me@tithe.example/api/sessions?a=1",
            "/api/sessions?a=1",
            "tithe.example/api/sessions?a=1",
            "",
        ] {
            assert_eq!(check_url(signed, URL), Err(AuthError::Url), "{signed}");
        }
        for both in ["not a url", "https://tithe.example/#top"] {
            assert_eq!(check_url(both, both), Err(AuthError::Url));
        }
    }

    #[test]
    fn one_u_tag_with_a_value_is_needed() {
        let get = ["method", "GET"];
        assert!(check(&[&["u", URL], &get], "GET", b"").is_ok());
        assert!(check(&[&["u", &URL.replace("https", "http")], &get], "GET", b"").is_ok());
        assert!(check(&[&["u"], &get, &["u", URL, "more"]], "GET", b"").is_ok());
        for wrong in
            [&[&get[..]][..], &[&["u"], &get], &[&["U", URL], &get], &[&["u", URL], &["u", URL], &get]]
        {
            assert_eq!(check(wrong, "GET", b""), Err(AuthError::Url), "{wrong:?}");
        }
        assert_eq!(
            check(&[&["u", URL], &["u", "https://other.example"], &get], "GET", b""),
            Err(AuthError::Url)
        );
    }

    #[test]
    fn one_method_tag_is_needed_in_any_case() {
        let u = ["u", URL];
        for (signed, method) in [("get", "GET"), ("GET", "get"), ("Patch", "PATCH")] {
            assert!(check(&[&u, &["method", signed]], method, b"").is_ok());
        }
        for wrong in [
            &[&u[..]][..],
            &[&u, &["method"]],
            &[&u, &["method", "POST"]],
            &[&u, &["method", "GET "]],
            &[&u, &["method", "GET"], &["method", "GET"]],
            &[&u, &["method", "GET"], &["method", "POST"]],
        ] {
            assert_eq!(check(wrong, "GET", b""), Err(AuthError::Method), "{wrong:?}");
        }
    }

    #[test]
    fn a_body_needs_its_hash_and_no_body_may_have_the_hash_of_nothing() {
        let (u, method) = (["u", URL], ["method", "POST"]);
        let hash = hex::encode(Sha256::digest(BODY));
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let with = |payload: &[&str], body| check(&[&u, &method, payload], "POST", body);
        assert!(with(&["payload", &hash], BODY).is_ok());
        assert!(with(&["payload", nothing], b"").is_ok());
        assert!(with(&["payload"], b"").is_ok());
        assert!(check(&[&u, &method], "POST", b"").is_ok());
        for (payload, body) in [
            (&["payload"][..], BODY),
            (&["payload", ""], BODY),
            (&["payload", ""], b""),
            (&["payload", nothing], BODY),
            (&["payload", &hash], b""),
            (&["payload", &hash.to_uppercase()], BODY),
            (&["payload", &hash[1..]], BODY),
            (&["Payload", &hash], BODY),
        ] {
            assert_eq!(with(payload, body), Err(AuthError::Payload), "{payload:?}");
        }
        let two: [&[&str]; 4] = [&u, &method, &["payload", &hash], &["payload", nothing]];
        assert_eq!(check(&two, "POST", BODY), Err(AuthError::Payload));
        assert_eq!(check(&two, "POST", b""), Err(AuthError::Payload));
    }

    #[test]
    fn two_requests_of_one_second_differ_by_a_tag_of_the_clients() {
        let tags = |nonce| [["u", URL], ["method", "GET"], ["nonce", nonce]];
        let [one, two] =
            ["1", "2"].map(|nonce| check(&tags(nonce).each_ref().map(|tag| &tag[..]), "GET", b"").unwrap());
        assert_ne!(one.event_id, two.event_id);
    }

    #[test]
    fn a_header_is_read_in_every_base64() {
        // Text whose base64 contains the digits in which the alphabets differ, for each padding length.
        for content in ["??>>ÿþ", "??>>ÿþ.", "??>>ÿþ.."] {
            let json = alice().sign(HTTP_AUTH, &[], content, NOW, [0; 32]);
            let expected = VerifiedEvent::parse(&json);
            for encoded in [
                base64s::STANDARD.encode(&json),
                base64s::STANDARD_NO_PAD.encode(&json),
                base64s::URL_SAFE.encode(&json),
                base64s::URL_SAFE_NO_PAD.encode(&json),
            ] {
                for scheme in ["Nostr ", "nostr ", "NOSTR   ", " Nostr "] {
                    let read = HttpAuth::parse(&format!("{scheme}{encoded} "));
                    assert_eq!(read.ok(), expected.clone().ok(), "{scheme}{encoded}");
                }
            }
        }
    }

    #[test]
    fn a_header_that_is_none_is_told_why() {
        for other in ["", " ", "Bearer x", "Basic Nostr", "Nostrx", "Nost r", "é", "L402 a:b"] {
            assert_eq!(HttpAuth::parse(other), Err(AuthError::Scheme), "{other:?}");
            assert!(!HttpAuth::is_meant(other.as_bytes()));
        }
        let long = format!("Nostr {}", "A".repeat(HEADER_BYTES_MAX + 4));
        for wrong in [
            "Nostr !",
            "Nostr e30 e30",
            "Nostr e30=e30",
            "Nostr é",
            "Nostr -_+/",
            "Nostr gICA",
            "Nostr e31",
            &long,
        ] {
            assert_eq!(HttpAuth::parse(wrong), Err(AuthError::Encoding), "{wrong:.20}");
            assert!(HttpAuth::is_meant(wrong.as_bytes()));
        }
        for empty in ["Nostr", "nostr ", "Nostr W10="] {
            assert_eq!(HttpAuth::parse(empty), Err(AuthError::Event(InvalidEvent::NotAnObject)), "{empty:?}");
            assert!(HttpAuth::is_meant(empty.as_bytes()));
        }
        let error = HttpAuth::parse("Nostr e30=").unwrap_err();
        assert_eq!(error.to_string(), "invalid event field `id`: expected 64 lowercase hex digits");
    }

    #[test]
    fn the_largest_event_fits_into_the_longest_header() {
        let room = 16 * 1024 - alice().sign(1, &[], "", NOW, [0; 32]).len();
        let json = alice().sign(1, &[], &"x".repeat(room), NOW, [0; 32]);
        assert!(HttpAuth::parse(&format!("Nostr {}", STANDARD.encode(json))).is_ok());
    }

    /// The example header of NIP-98: it was signed when the `u` tag was called `url`, so it signs no URL.
    #[test]
    fn the_header_of_nip_98_is_signed_for_no_url() {
        let header = "Nostr eyJpZCI6ImZlOTY0ZTc1ODkwMzM2MGYyOGQ4NDI0ZDA5MmRhODQ5NGVkMjA3Y2JhODIzMTEwYmUzYTU3ZGZlNGI1Nzg3MzQiLCJwdWJrZXkiOiI2M2ZlNjMxOGRjNTg1ODNjZmUxNjgxMGY4NmRkMDllMThiZmQ3NmFhYmMyNGEwMDgxY2UyODU2ZjMzMDUwNGVkIiwiY29udGVudCI6IiIsImtpbmQiOjI3MjM1LCJjcmVhdGVkX2F0IjoxNjgyMzI3ODUyLCJ0YWdzIjpbWyJ1cmwiLCJodHRwczovL2FwaS5zbm9ydC5zb2NpYWwvYXBpL3YxL241c3AvbGlzdCJdLFsibWV0aG9kIiwiR0VUIl1dLCJzaWciOiI1ZWQ5ZDhlYzk1OGJjODU0Zjk5N2JkYzI0YWMzMzdkMDA1YWYzNzIzMjQ3NDdlZmU0YTAwZTI0ZjRjMzA0MzdmZjRkZDgzMDg2ODRiZWQ0NjdkOWQ2YmUzZTVhNTE3YmI0M2IxNzMyY2M3ZDMzOTQ5YTNhYWY4NjcwNWMyMjE4NCJ9";
        let event = HttpAuth::parse(header).unwrap();
        let urls = [event.tag("url").unwrap().to_owned()];
        let request = SignedRequest { urls: &urls, method: "GET", body: b"" };
        assert_eq!(check_http_auth(&event, &request, event.created_at()), Err(AuthError::Url));
    }

    proptest! {
        #[test]
        fn any_header_is_judged(text in "\\PC*|[Nn]ostr +[A-Za-z0-9+/_=-]*", json in "\\PC*") {
            prop_assert!(HttpAuth::parse(&text).is_err());
            let header = format!("Nostr {}", STANDARD.encode(json));
            prop_assert!(HttpAuth::parse(&header).is_err());
        }

        #[test]
        fn any_urls_are_compared(signed in "\\PC*|https?://\\PC*", url in "\\PC*|https?://\\PC*") {
            let _ = check_url(&signed, &url);
            let _ = check_url(&signed, &signed);
        }

        #[test]
        fn a_body_with_any_byte_changed_is_refused(body in proptest::collection::vec(any::<u8>(), 1..50), at in any::<usize>(), to in any::<u8>()) {
            let event = HttpAuth::parse(&alice().http_auth(URL, "POST", &body, NOW, [0; 32])).unwrap();
            let mut changed = body.clone();
            let at = at % body.len();
            changed[at] = to;
            let urls = [URL.to_owned()];
            let checked = check_http_auth(&event, &SignedRequest { urls: &urls, method: "POST", body: &changed }, NOW);
            prop_assert_eq!(checked.is_ok(), changed == body);
        }
    }
}
