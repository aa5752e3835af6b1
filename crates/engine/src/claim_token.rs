//! Claim tokens: they prove that their holder created a job or a bootstrap, so that the holder can claim its refund or its node.
//!
//! A token is derived from the server's secret and the id, so nothing is stored and the same job always has the same token. The first secret makes tokens, all secrets check them: secrets can be rotated.

use crate::error::InvalidCredential;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tithe_trust::{MacKey, NostrPubkey, Secrets};
use uuid::Uuid;

/// They separate these tags from each other, and from others that are made with the same secret.
const OF_JOBS: &str = "tithe job claim v1";
const OF_BOOTSTRAPS: &str = "tithe bootstrap claim v1";

/// Makes and checks claim tokens.
#[derive(Debug, Clone)]
pub struct ClaimTokens {
    first: MacKey,
    others: Vec<MacKey>,
}

impl ClaimTokens {
    /// The tokens of jobs, made with the first secret and checked with any.
    #[must_use]
    pub fn of_jobs(secrets: &Secrets) -> Self {
        Self::of(secrets, OF_JOBS)
    }

    /// The tokens of bootstraps, made with the first secret and checked with any.
    #[must_use]
    pub fn of_bootstraps(secrets: &Secrets) -> Self {
        Self::of(secrets, OF_BOOTSTRAPS)
    }

    fn of(secrets: &Secrets, purpose: &str) -> Self {
        let others = secrets.iter().skip(1).map(|secret| MacKey::new(secret, purpose)).collect();
        Self { first: MacKey::new(secrets.first(), purpose), others }
    }

    /// The token of what has this id.
    #[must_use]
    pub fn token(&self, id: Uuid) -> String {
        format!("v1.{}", URL_SAFE_NO_PAD.encode(self.first.tag(id.as_bytes())))
    }

    /// Checks that somebody owns what has this id: by its claim token, or by being its identity (`owner`).
    ///
    /// # Errors
    /// [`InvalidCredential::ClaimToken`].
    pub(crate) fn check_owner(
        &self,
        id: Uuid,
        token: Option<&str>,
        owner: Option<NostrPubkey>,
        identity: Option<NostrPubkey>,
    ) -> Result<(), InvalidCredential> {
        let is_owner = match token {
            Some(token) => self.verify(id, token),
            None => identity.is_some() && identity == owner,
        };
        if is_owner { Ok(()) } else { Err(InvalidCredential::ClaimToken) }
    }

    /// Whether `token` is that of what has this id, in constant time.
    #[must_use]
    pub fn verify(&self, id: Uuid, token: &str) -> bool {
        let tag = token.strip_prefix("v1.").and_then(|tag| URL_SAFE_NO_PAD.decode(tag).ok());
        let Some(tag) = tag.filter(|tag| tag.len() == 32) else { return false };
        std::iter::once(&self.first).chain(&self.others).any(|key| key.is_tag(id.as_bytes(), &tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_trust::Secret;

    fn tokens(first: &str, others: &[&str]) -> ClaimTokens {
        let secret = |name: &str| Secret::new(format!("{name:_<32}")).unwrap();
        let others = others.iter().map(|name| secret(name)).collect();
        ClaimTokens::of_jobs(&Secrets::new(secret(first), others))
    }

    #[test]
    fn a_token_is_for_one_job_and_survives_a_rotation() {
        let (job, other) = (Uuid::nil(), Uuid::max());
        let token = tokens("old", &[]).token(job);
        let rotated = tokens("new", &["old"]);
        assert!(rotated.verify(job, &token));
        assert!(rotated.verify(job, &rotated.token(job)));
        assert!(!rotated.verify(other, &token));
        assert!(!tokens("new", &[]).verify(job, &token));
        let secret = Secret::new(format!("{:_<32}", "old")).unwrap();
        let bootstraps = ClaimTokens::of_bootstraps(&Secrets::new(secret, Vec::new()));
        assert!(!bootstraps.verify(job, &token), "a job's token is no bootstrap's");
    }

    #[test]
    fn a_changed_token_is_refused() {
        let tokens = tokens("s", &[]);
        let job = Uuid::nil();
        let token = tokens.token(job);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] ^= 1;
            assert!(!tokens.verify(job, &String::from_utf8_lossy(&changed)), "at {at}");
        }
        assert!(!tokens.verify(job, ""));
    }
}
