//! Proofs of payment in `Authorization` lines: `L402 <token>:<preimage>` (formerly `LSAT`) and `Payment <credential>`.
//!
//! A session's macaroon may come as L402 too. The two are told apart by what the macaroon is for; a token that cannot be read is a
//! wrong proof.

use crate::problem::{Code, Problem};
use actix_web::http::header::HeaderValue;
use tithe_engine::sessions::PresentedProof;
use tithe_paywall::Macaroon;
use tithe_paywall::payment::{Credential, Intent};

/// What the identifier of a session's macaroon begins with.
const SESSION: &[u8] = b"session:";

/// The scheme of a header value and what follows it.
pub(crate) fn split(value: &HeaderValue) -> (&[u8], &[u8]) {
    let value = value.as_bytes().trim_ascii();
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(end).unwrap_or((value, b""));
    (scheme, rest.trim_ascii())
}

/// Whether the scheme is that of L402, or its former name.
pub(crate) fn is_l402(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"L402") || scheme.eq_ignore_ascii_case(b"LSAT")
}

/// Whether the scheme is `Payment`.
pub(crate) fn is_payment(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"Payment")
}

/// Whether a header value is meant as a proof of payment.
pub(crate) fn is_meant(value: &HeaderValue) -> bool {
    let (scheme, rest) = split(value);
    is_payment(scheme) || (is_l402(scheme) && !is_session(rest))
}

/// Whether what follows `L402` has a session's macaroon in it.
fn is_session(rest: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(rest) else { return false };
    let macaroon = text.split_once(':').map_or(text, |(macaroon, _)| macaroon);
    Macaroon::parse(macaroon.trim()).is_ok_and(|macaroon| macaroon.identifier().starts_with(SESSION))
}

/// The proof in these header values, which must all say the same; `None` if none is meant as one.
pub(crate) fn only<'a>(
    values: impl Iterator<Item = &'a HeaderValue>,
) -> Result<Option<PresentedProof>, Problem> {
    let mut only = None;
    for value in values.filter(|value| is_meant(value)) {
        let proof = read(value)?;
        if only.as_ref().is_some_and(|earlier| *earlier != proof) {
            return Err(several());
        }
        only = Some(proof);
    }
    Ok(only)
}

/// The proof, with today's name of its scheme.
fn read(value: &HeaderValue) -> Result<PresentedProof, Problem> {
    let (scheme, rest) = split(value);
    let rest = std::str::from_utf8(rest).ok().filter(|rest| rest.is_ascii());
    if is_payment(scheme) {
        let rest =
            rest.ok_or_else(|| invalid("invalid proof: expected Payment <base64url of a JSON object>"))?;
        return Ok(PresentedProof::Payment(format!("Payment {rest}")));
    }
    let rest =
        rest.ok_or_else(|| invalid("invalid proof: expected L402 <token>:<preimage of 64 hex digits>"))?;
    Ok(PresentedProof::L402(format!("L402 {rest}")))
}

/// The credential, if a proof is one of a session of the scheme `Payment`. What cannot be read is none.
pub(crate) fn of_session(proof: &PresentedProof) -> Option<&str> {
    let PresentedProof::Payment(authorization) = proof else { return None };
    let credential = Credential::parse(authorization).ok()?;
    (credential.challenge().intent == Intent::Session.as_str()).then_some(authorization.as_str())
}

/// The problem of a wrong proof.
pub(crate) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidPaymentProof, detail)
}

/// The problem of a request with several proofs.
pub(crate) fn several() -> Problem {
    invalid("several proofs of payment: expected one")
}

/// The problem of a request that a session and a payment are to pay for.
pub(crate) fn several_payers() -> Problem {
    invalid("several payers: expected a session's macaroon or a proof of payment")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION_KEY: [u8; 32] = [7; 32];

    /// A macaroon with this identifier.
    fn macaroon(identifier: &[u8]) -> String {
        let key = tithe_paywall::RootKey::derive(&SESSION_KEY, identifier);
        Macaroon::mint(&key, "tithe", identifier).unwrap().encode()
    }

    fn found(values: &[&str]) -> Result<Option<PresentedProof>, Problem> {
        let values: Vec<HeaderValue> =
            values.iter().map(|text| HeaderValue::from_str(text).unwrap()).collect();
        only(values.iter())
    }

    #[test]
    fn a_token_is_a_proof_and_the_macaroon_of_a_session_is_not() {
        let preimage = "00".repeat(32);
        let session = macaroon(b"session:00000000-0000-0000-0000-000000000000");
        let token = macaroon(&[0; 66]);
        for scheme in ["L402", "LSAT", "l402", "Lsat"] {
            assert_eq!(found(&[&format!("{scheme} {session}:{preimage}")]), Ok(None));
            let proof = PresentedProof::L402(format!("L402 {token}:{preimage}"));
            assert_eq!(found(&[&format!(" {scheme}  {token}:{preimage} ")]), Ok(Some(proof)));
        }
        // What cannot be read is a wrong proof, and not nothing.
        for cut in ["L402", "L402 x", "L402 x:y", "LSAT :"] {
            assert!(matches!(found(&[cut]), Ok(Some(PresentedProof::L402(_)))), "{cut}");
        }
        for other in ["Bearer x", "Nostr x", "Basic x", "L402x y", "", "Payments x"] {
            assert_eq!(found(&[other]), Ok(None), "{other}");
        }
        assert_eq!(found(&["payment e30"]), Ok(Some(PresentedProof::Payment("Payment e30".to_owned()))));
    }

    #[test]
    fn values_that_say_the_same_are_one_proof_and_others_are_refused() {
        for same in [["L402 a:b", "LSAT a:b"], ["lsat  a:b", "L402 a:b "], ["Payment x", "PAYMENT x"]] {
            assert!(found(&same).is_ok_and(|proof| proof.is_some()), "{same:?}");
        }
        for different in [["L402 a:b", "L402 a:c"], ["LSAT a:b", "L402 c:b"], ["L402 a:b", "Payment a:b"]] {
            assert_eq!(found(&different).unwrap_err().code(), Code::InvalidPaymentProof, "{different:?}");
        }
        assert!(found(&["Bearer x", "L402 a:b", "Nostr y"]).is_ok_and(|proof| proof.is_some()));
    }
}
