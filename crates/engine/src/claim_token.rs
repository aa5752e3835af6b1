//! Claim tokens: what proves that one made a job, to claim its refund.
//!
//! A token is derived from the server's secret and the job's id, so nothing is stored and the same job always has the same
//! token. The first secret makes tokens, all secrets check them: secrets can be rotated.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use tithe_jobs::JobId;

/// A secret of the server's. Its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A secret of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Makes and checks claim tokens.
#[derive(Debug, Clone)]
pub struct ClaimTokens {
    first: Secret,
    others: Vec<Secret>,
}

impl ClaimTokens {
    /// Tokens made with `first` and checked with any.
    #[must_use]
    pub fn new(first: Secret, others: Vec<Secret>) -> Self {
        Self { first, others }
    }

    /// The token of a job.
    #[must_use]
    pub fn token(&self, job: JobId) -> String {
        format!("v1.{}", URL_SAFE_NO_PAD.encode(mac(&self.first, job).finalize().into_bytes()))
    }

    /// Whether `token` is the job's, in constant time.
    #[must_use]
    pub fn verify(&self, job: JobId, token: &str) -> bool {
        let Some(tag) = token.strip_prefix("v1.").and_then(|tag| URL_SAFE_NO_PAD.decode(tag).ok()) else {
            return false;
        };
        std::iter::once(&self.first)
            .chain(&self.others)
            .any(|secret| mac(secret, job).verify_slice(&tag).is_ok())
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length; the error cannot occur")]
fn mac(secret: &Secret, job: JobId) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).expect("HMAC takes any key");
    mac.update(b"tithe job claim v1\0");
    mac.update(job.0.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_token_is_for_one_job_and_survives_a_rotation() {
        let (old, new) = (Secret::new("old"), Secret::new("new"));
        let (job, other) = (JobId(Uuid::nil()), JobId(Uuid::max()));
        let token = ClaimTokens::new(old.clone(), vec![]).token(job);
        let rotated = ClaimTokens::new(new.clone(), vec![old]);
        assert!(rotated.verify(job, &token));
        assert!(rotated.verify(job, &rotated.token(job)));
        assert!(!rotated.verify(other, &token));
        assert!(!ClaimTokens::new(new, vec![]).verify(job, &token));
    }

    #[test]
    fn a_changed_token_is_refused() {
        let tokens = ClaimTokens::new(Secret::new("s"), vec![]);
        let job = JobId(Uuid::nil());
        let token = tokens.token(job);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] ^= 1;
            assert!(!tokens.verify(job, &String::from_utf8_lossy(&changed)), "at {at}");
        }
        assert!(!tokens.verify(job, ""));
    }
}
