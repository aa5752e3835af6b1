//! The secrets with which warnings are signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tithe_sessions::SessionId;
use tithe_trust::{MacKey, Secrets};

/// Separates these secrets from others that are made of the same secret.
const PURPOSE: &str = "tithe session webhook v1";

/// The secrets of sessions' webhooks. They derive from the server's first secret and the session's id, so nothing is stored. After a
/// rotation a session has another secret; the owner reads it with the session.
pub(crate) struct WebhookSecrets(MacKey);

impl WebhookSecrets {
    pub(crate) fn new(secrets: &Secrets) -> Self {
        Self(MacKey::new(secrets.first(), PURPOSE))
    }

    /// The secret of a session's webhook, as Standard Webhooks writes it: `whsec_` and base64.
    pub(super) fn secret(&self, session: SessionId) -> String {
        format!("whsec_{}", STANDARD.encode(self.0.tag(session.0.as_bytes())))
    }

    /// The signature of a message.
    pub(super) fn signature(&self, session: SessionId, id: &str, seconds: i64, body: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0.tag(session.0.as_bytes())).ok()?;
        mac.update(format!("{id}.{seconds}.{body}").as_bytes());
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_trust::Secret;
    use uuid::Uuid;

    #[test]
    fn signatures_verify_with_the_secret_that_the_owner_has() {
        let secrets = Secrets::new(Secret::new([7; 32]).unwrap(), Vec::new());
        let (secrets, session) = (WebhookSecrets::new(&secrets), SessionId(Uuid::nil()));
        let secret = secrets.secret(session);
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(b"msg.5.{}");
        let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(secrets.signature(session, "msg", 5, "{}"), Some(wanted));
        assert_ne!(secrets.secret(SessionId(Uuid::max())), secret);
    }
}
