//! Login with a signed challenge.

use crate::age::check_age;
use crate::http_auth::HTTP_AUTH;
use crate::{AuthError, Challenges, Nonce, NostrPubkey, VerifiedEvent};
use std::time::Duration;
use tithe_clock::Timestamp;
use url::Url;

/// The event kind of a challenge response (NIP-42).
pub(crate) const CLIENT_AUTH: u16 = 22242;
/// The maximum difference between an event's own time and ours. The nonce is the precise proof of age; this check only
/// rejects events created without a working clock.
const AGE_MAX: Duration = Duration::from_mins(10);
/// How long a used nonce must be remembered after it expires, because another server's clock may be behind.
const REMEMBER: Duration = Duration::from_mins(1);

/// Proof that a client holds a key, provided that the nonce was not used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// The client's public key.
    pub pubkey: NostrPubkey,
    /// The signed nonce, to be stored as used.
    pub nonce: Nonce,
    /// When the used nonce may be forgotten: one minute after it expires, because server clocks differ.
    pub expires_at: Timestamp,
}

/// The server that a login must be meant for. An event names a server by a URL in a `relay` tag (NIP-42) or a `u` tag (NIP-98).
///
/// An attacker's relay can forward our nonce as its own challenge, and clients answer relays without asking their users; the
/// response then names that relay. NIP-42 requires this check and considers the host name sufficient, so hosts are names without
/// a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site<'a> {
    /// The event must name one of these hosts, and no other.
    Named(&'a [&'a str]),
    /// The event may name no server; if it names any, it must be one of these hosts. Only for trials on one machine.
    NamedOrUnnamed(&'a [&'a str]),
}

impl Site<'_> {
    fn check(self, event: &VerifiedEvent) -> Result<(), AuthError> {
        let (Self::Named(hosts) | Self::NamedOrUnnamed(hosts)) = self;
        let is_ours = |url: &str| {
            let url = Url::parse(url).ok();
            let host = url.as_ref().and_then(Url::host_str);
            host.is_some_and(|host| hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host)))
        };
        let mut named = matches!(self, Self::NamedOrUnnamed(_));
        for tag in ["relay", "u"] {
            for url in event.values(tag) {
                if !is_ours(url) {
                    return Err(AuthError::Site { tag });
                }
                named = true;
            }
        }
        if named { Ok(()) } else { Err(AuthError::NoSite) }
    }
}

impl Challenges {
    /// Verifies the response to a challenge: an event of kind 22242 with the nonce in a `challenge` tag (NIP-42), or of
    /// kind 27235 with the nonce in such a tag or as the whole content.
    ///
    /// `site` is the server that the event must have been signed for.
    ///
    /// The caller must remember the nonce as used until [`Login::expires_at`] and refuse it from then on.
    ///
    /// # Errors
    /// [`AuthError`] if the event has the wrong kind, time or site, or carries no valid nonce of ours.
    pub fn login(&self, event: &VerifiedEvent, site: Site<'_>, now: Timestamp) -> Result<Login, AuthError> {
        let nonce = match event.kind() {
            CLIENT_AUTH => event.tag("challenge"),
            HTTP_AUTH => event.tag("challenge").or_else(|| Some(event.content())),
            found => return Err(AuthError::Kind { found, taken: "22242 or 27235" }),
        };
        check_age(event, AGE_MAX, now)?;
        site.check(event)?;
        let nonce: Nonce = nonce.and_then(|text| text.parse().ok()).ok_or(AuthError::NoNonce)?;
        let expires_at = self.check(nonce, now)? + REMEMBER;
        Ok(Login { pubkey: event.pubkey(), nonce, expires_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, alice, event, secrets};

    const SECOND: Duration = Duration::from_secs(1);

    fn challenges() -> Challenges {
        Challenges::new(&secrets(), Challenges::LIFE)
    }

    const HOSTS: Site<'_> = Site::Named(&["tithe.example"]);
    const RELAY: &[&str] = &["relay", "wss://tithe.example"];

    fn nonce() -> Nonce {
        challenges().issue(NOW, [7; 8]).nonce
    }

    #[test]
    fn a_signed_nonce_is_a_login_wherever_each_kind_may_carry_it() {
        let text = nonce().to_string();
        let login = Login {
            pubkey: alice().pubkey(),
            nonce: nonce(),
            expires_at: NOW + Challenges::LIFE + Duration::from_mins(1),
        };
        let tags: &[&[&str]] = &[RELAY, &["challenge", &text]];
        let with_url: &[&[&str]] = &[&["u", "https://tithe.example/api"], &["challenge", &text, "more"]];
        for (kind, tags, content) in [
            (22242, tags, ""),
            (22242, with_url, "anything"),
            (27235, tags, ""),
            (27235, tags, "anything"),
            (27235, &[RELAY], &text),
            (27235, &[RELAY, &["challenge"]], &text),
        ] {
            let event = event(kind, tags, content, NOW);
            assert_eq!(challenges().login(&event, HOSTS, NOW), Ok(login), "{kind} {tags:?} {content}");
        }
    }

    #[test]
    fn a_login_without_a_nonce_is_none() {
        let (text, upper) = (nonce().to_string(), nonce().to_string().to_uppercase());
        let no_nonce: &[&[&str]] = &[RELAY];
        for (kind, tags, content) in [
            (22242, no_nonce, text.as_str()),
            (22242, &[RELAY, &["challenge"]], ""),
            (22242, &[RELAY, &["Challenge", &text]], ""),
            (22242, &[RELAY, &["challenge", &upper]], ""),
            (22242, &[RELAY, &["challenge", "", &text]], ""),
            (27235, &[RELAY], ""),
            (27235, &[RELAY], &format!("{text} ")),
            (27235, &[RELAY, &["challenge", "é"]], &text),
        ] {
            let event = event(kind, tags, content, NOW);
            assert_eq!(
                challenges().login(&event, HOSTS, NOW),
                Err(AuthError::NoNonce),
                "{kind} {tags:?} {content}"
            );
        }
    }

    #[test]
    fn other_kinds_are_no_logins_and_the_answer_says_which_are() {
        for kind in [0, 1, 22241, 22243, 27234, 65535] {
            let event = event(kind, &[&["challenge", &nonce().to_string()]], "", NOW);
            let error = challenges().login(&event, HOSTS, NOW).unwrap_err();
            assert_eq!(error, AuthError::Kind { found: kind, taken: "22242 or 27235" });
            assert_eq!(error.to_string(), format!("wrong event kind: expected 22242 or 27235, got {kind}"));
        }
    }

    #[test]
    fn an_event_is_taken_ten_minutes_before_and_after_its_time() {
        let text = nonce().to_string();
        let login = |created_at| {
            challenges().login(&event(22242, &[RELAY, &["challenge", &text]], "", created_at), HOSTS, NOW)
        };
        assert!(login(NOW - AGE_MAX).is_ok());
        assert!(login(NOW + AGE_MAX).is_ok());
        let (old, early) = (NOW - AGE_MAX - SECOND, NOW + AGE_MAX + SECOND);
        assert_eq!(login(old), Err(AuthError::TooOld { created_at: old, now: NOW }));
        assert_eq!(login(early), Err(AuthError::FromTheFuture { created_at: early, now: NOW }));
    }

    #[test]
    fn a_nonce_of_nobodys_and_one_that_expired_are_refused() {
        let login = |nonce: Nonce, now| {
            challenges().login(
                &event(22242, &[RELAY, &["challenge", &nonce.to_string()]], "", NOW),
                HOSTS,
                now,
            )
        };
        assert_eq!(login(Nonce::from_bytes([1; 32]), NOW), Err(AuthError::UnknownNonce));
        let expired = NOW + Challenges::LIFE;
        assert_eq!(login(nonce(), expired), Err(AuthError::ExpiredNonce { at: expired }));
    }

    #[test]
    fn an_event_for_another_site_or_for_none_is_refused() {
        let text = nonce().to_string();
        let check = |tags: &[&[&str]]| {
            let challenge: &[&str] = &["challenge", &text];
            let tags = [tags, &[challenge]].concat();
            let hosts = &["tithe.example", "127.0.0.1", "[::1]"];
            let event = event(22242, &tags, "", NOW);
            let named = challenges().login(&event, Site::Named(hosts), NOW).map(drop);
            let either = challenges().login(&event, Site::NamedOrUnnamed(hosts), NOW).map(drop);
            if named == Err(AuthError::NoSite) {
                assert_eq!(either, Ok(()));
            } else {
                assert_eq!(either, named);
            }
            named
        };
        let relay = Err(AuthError::Site { tag: "relay" });
        assert_eq!(check(&[]), Err(AuthError::NoSite));
        assert_eq!(check(&[&["r", "https://tithe.example"]]), Err(AuthError::NoSite));
        assert_eq!(
            check(&[&["relay", "wss://TITHE.example:8443/any"], &["u", "http://127.0.0.1:1/"]]),
            Ok(())
        );
        assert_eq!(check(&[&["relay", "ws://[::1]:8080"]]), Ok(()));
        assert_eq!(check(&[&["relay", "wss://evil.example"]]), relay);
        assert_eq!(check(&[&["relay", "wss://tithe.example.evil.example"]]), relay);
        assert_eq!(check(&[&["relay", "wss://tithe.example@evil.example"]]), relay);
        assert_eq!(check(&[&["relay", "tithe.example"]]), relay);
        assert_eq!(check(&[&["relay", "wss://tithe.example"], &["relay", "wss://evil.example"]]), relay);
        assert_eq!(check(&[&["u", "https://evil.example"]]), Err(AuthError::Site { tag: "u" }));
        let signed = event(22242, &[RELAY, &["challenge", &text]], "", NOW);
        assert_eq!(challenges().login(&signed, Site::Named(&[]), NOW), Err(AuthError::Site { tag: "relay" }));
    }
}
