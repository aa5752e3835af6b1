//! Records a new session.

use crate::books::rows::{RowKind, Sessions};
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::idempotency::KeyBegun;
use crate::identities::RequestSignature;
use crate::records::{IdempotencyRequest, StoredResponse};
use tithe_sessions::{Session, SessionId};
use uuid::Uuid;

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

/// How [`SessionCreate`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionCreated {
    /// The session was recorded.
    New,
    /// An earlier request with this key was abandoned. The session was not recorded; the caller continues the earlier one.
    Resumed {
        /// The id of the session that the earlier request has made.
        subject: Option<Uuid>,
    },
    /// The request was answered before; nothing has changed.
    Replayed(StoredResponse),
}

impl Command for SessionCreate {
    type Reply = SessionCreated;
    const NAME: &'static str = "session_create";

    fn declare(&self, keys: &mut RowKeys) {
        keys.sessions.insert(self.session.id);
        keys.identities.extend(self.session.identity);
        keys.idempotency_keys.extend(self.idempotency.iter().map(|request| request.id.clone()));
        self.signature.declare(keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<SessionCreated, Refusal> {
        let session = self.session.as_ref();
        if let Some(request) = &self.idempotency {
            let instead_of = self.instead_of.map(|session| session.0);
            match books.key_begin(request, Some(session.id.0), instead_of)? {
                KeyBegun::New => {}
                KeyBegun::Resumed { subject } => {
                    self.signature.consume_again(books)?;
                    return Ok(SessionCreated::Resumed { subject });
                }
                KeyBegun::Replayed(response) => return Ok(SessionCreated::Replayed(response)),
            }
        }
        self.signature.consume(books)?;
        if books.rows.sessions.contains(&session.id)? {
            return Err(Refusal::exists(Sessions::NAME, &session.id));
        }
        if let Some(pubkey) = session.identity
            && !books.rows.identities.contains(&pubkey)?
        {
            // The session's row refers to a row of its identity.
            let identity = books.identity(pubkey)?;
            books.rows.identities.put(identity)?;
        }
        books.rows.sessions.put(session.clone())?;
        Ok(SessionCreated::New)
    }
}
