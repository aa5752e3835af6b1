//! Claim tokens: they prove that their holder created a job, so that the holder can claim its refund.
//!
//! A token is derived from the server's secret and the job's id, so nothing is stored and the same job always has the same
//! token. The first secret makes tokens, all secrets check them: secrets can be rotated.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tithe_jobs::JobId;
use tithe_trust::{MacKey, Secrets};

/// Separates these tags from others that are made with the same secret.
const PURPOSE: &str = "tithe job claim v1";

/// Makes and checks claim tokens.
#[derive(Debug, Clone)]
pub struct ClaimTokens {
    first: MacKey,
    others: Vec<MacKey>,
}

impl ClaimTokens {
    /// Tokens made with the first secret and checked with any.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        let others = secrets.iter().skip(1).map(|secret| MacKey::new(secret, PURPOSE)).collect();
        Self { first: MacKey::new(secrets.first(), PURPOSE), others }
    }

    /// The token of a job.
    #[must_use]
    pub fn token(&self, job: JobId) -> String {
        format!("v1.{}", URL_SAFE_NO_PAD.encode(self.first.tag(job.0.as_bytes())))
    }

    /// Whether `token` is the job's, in constant time.
    #[must_use]
    pub fn verify(&self, job: JobId, token: &str) -> bool {
        let tag = token.strip_prefix("v1.").and_then(|tag| URL_SAFE_NO_PAD.decode(tag).ok());
        let Some(tag) = tag.filter(|tag| tag.len() == 32) else { return false };
        std::iter::once(&self.first).chain(&self.others).any(|key| key.is_tag(job.0.as_bytes(), &tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_trust::Secret;
    use uuid::Uuid;

    fn tokens(first: &str, others: &[&str]) -> ClaimTokens {
        let secret = |name: &str| Secret::new(format!("{name:_<32}")).unwrap();
        let others = others.iter().map(|name| secret(name)).collect();
        ClaimTokens::new(&Secrets::new(secret(first), others))
    }

    #[test]
    fn a_token_is_for_one_job_and_survives_a_rotation() {
        let (job, other) = (JobId(Uuid::nil()), JobId(Uuid::max()));
        let token = tokens("old", &[]).token(job);
        let rotated = tokens("new", &["old"]);
        assert!(rotated.verify(job, &token));
        assert!(rotated.verify(job, &rotated.token(job)));
        assert!(!rotated.verify(other, &token));
        assert!(!tokens("new", &[]).verify(job, &token));
    }

    #[test]
    fn a_changed_token_is_refused() {
        let tokens = tokens("s", &[]);
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
