//! Records a new bootstrap.

use crate::books::rows::{Bootstraps, RowKind};
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::idempotency::KeyBegun;
use crate::identities::RequestSignature;
use crate::purchases::NewPurchase;
use crate::records::IdempotencyRequest;
use tithe_bootstrap::{Bootstrap, BootstrapId};

/// Records a new bootstrap, before the wallet is asked for an invoice, and begins its idempotency key.
#[derive(Debug, Clone)]
pub struct BootstrapCreate {
    /// The bootstrap, new.
    pub bootstrap: Box<Bootstrap>,
    /// The client's idempotency key, if it gave one.
    pub idempotency: Option<IdempotencyRequest>,
    /// The signature of the request.
    pub signature: RequestSignature,
    /// The bootstrap that the key had made before, which was abandoned before it was shown to anybody: the key begins anew, once.
    pub instead_of: Option<BootstrapId>,
}

impl BootstrapCreate {
    fn purchase(&self) -> NewPurchase<'_> {
        NewPurchase {
            id: self.bootstrap.id.0,
            identity: self.bootstrap.identity,
            idempotency: self.idempotency.as_ref(),
            signature: self.signature,
            instead_of: self.instead_of.map(|bootstrap| bootstrap.0),
        }
    }
}

impl Command for BootstrapCreate {
    type Reply = KeyBegun;
    const NAME: &'static str = "bootstrap_create";

    fn declare(&self, keys: &mut RowKeys) {
        keys.bootstraps.insert(self.bootstrap.id);
        self.purchase().declare(keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<KeyBegun, Refusal> {
        let begun = self.purchase().begin(books)?;
        if begun == KeyBegun::New {
            let bootstrap = self.bootstrap.as_ref();
            if books.rows.bootstraps.contains(&bootstrap.id)? {
                return Err(Refusal::exists(Bootstraps::NAME, &bootstrap.id));
            }
            books.rows.bootstraps.put(bootstrap.clone())?;
        }
        Ok(begun)
    }
}
