//! Records a new session.

use crate::books::rows::{RowKind, Sessions};
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::idempotency::KeyBegun;
use crate::identities::RequestSignature;
use crate::purchases::NewPurchase;
use crate::records::IdempotencyRequest;
use tithe_sessions::{Session, SessionId};

/// Records a new session, before the wallet is asked for an invoice, and begins its idempotency key.
#[derive(Debug, Clone)]
pub struct SessionCreate {
    /// The session, new.
    pub session: Box<Session>,
    /// The client's idempotency key, if it gave one.
    pub idempotency: Option<IdempotencyRequest>,
    /// The signature of the request.
    pub signature: RequestSignature,
    /// The session that the key had made before, which was abandoned before it was shown to anybody: the key begins anew, once.
    pub instead_of: Option<SessionId>,
}

impl SessionCreate {
    fn purchase(&self) -> NewPurchase<'_> {
        NewPurchase {
            id: self.session.id.0,
            identity: self.session.identity,
            idempotency: self.idempotency.as_ref(),
            signature: self.signature,
            instead_of: self.instead_of.map(|session| session.0),
        }
    }
}

impl Command for SessionCreate {
    type Reply = KeyBegun;
    const NAME: &'static str = "session_create";

    fn declare(&self, keys: &mut RowKeys) {
        keys.sessions.insert(self.session.id);
        self.purchase().declare(keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<KeyBegun, Refusal> {
        let begun = self.purchase().begin(books)?;
        if begun == KeyBegun::New {
            let session = self.session.as_ref();
            if books.rows.sessions.contains(&session.id)? {
                return Err(Refusal::exists(Sessions::NAME, &session.id));
            }
            books.rows.sessions.put(session.clone())?;
        }
        Ok(begun)
    }
}
