//! The preimages of hold invoices.

use tithe_lightning::{InvoiceId, PaymentHash, Preimage};
use tithe_trust::{MacKey, Secrets};

/// It separates these tags from others that are made with the same secret.
const PURPOSE: &str = "tithe hold invoice v1";

/// Makes the preimages of hold invoices. Each derives from the server's secret and the id of its invoice: none is stored before it is
/// settled, and every server can settle. The first secret makes preimages, and each of the others is tried for an invoice that was made
/// before the secret was replaced.
#[derive(Debug, Clone)]
pub(crate) struct HoldKeys {
    first: MacKey,
    others: Vec<MacKey>,
}

impl HoldKeys {
    /// Preimages that derive from these secrets.
    pub(crate) fn new(secrets: &Secrets) -> Self {
        let others = secrets.iter().skip(1).map(|secret| MacKey::new(secret, PURPOSE)).collect();
        Self { first: MacKey::new(secrets.first(), PURPOSE), others }
    }

    /// The payment hash of a new hold invoice of this id.
    pub(crate) fn payment_hash(&self, id: InvoiceId) -> PaymentHash {
        preimage(&self.first, id).payment_hash()
    }

    /// The preimage of the hold invoice of this id and hash; `None` if it was made with none of the secrets.
    pub(crate) fn preimage(&self, id: InvoiceId, hash: PaymentHash) -> Option<Preimage> {
        let keys = std::iter::once(&self.first).chain(&self.others);
        keys.map(|key| preimage(key, id)).find(|preimage| preimage.payment_hash() == hash)
    }
}

fn preimage(key: &MacKey, id: InvoiceId) -> Preimage {
    Preimage::from_bytes(key.tag(id.0.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_trust::Secret;
    use uuid::Uuid;

    fn keys(first: &str, others: &[&str]) -> HoldKeys {
        let secret = |name: &str| Secret::new(format!("{name:_<32}")).unwrap();
        let others = others.iter().map(|name| secret(name)).collect();
        HoldKeys::new(&Secrets::new(secret(first), others))
    }

    #[test]
    fn a_preimage_is_of_one_invoice_and_survives_a_rotation() {
        let (id, other) = (InvoiceId(Uuid::nil()), InvoiceId(Uuid::max()));
        let hash = keys("old", &[]).payment_hash(id);
        let rotated = keys("new", &["old"]);
        assert_eq!(rotated.preimage(id, hash).map(|preimage| preimage.payment_hash()), Some(hash));
        assert!(rotated.preimage(other, hash).is_none());
        assert!(keys("new", &[]).preimage(id, hash).is_none());
        assert_ne!(rotated.payment_hash(id), hash, "new invoices are made with the new secret");
    }
}
