//! Commands on proofs of identity.

use super::Books;
use crate::commands::{Answer, Outcome, Refusal};
use crate::proof::{ProofId, ProofKind, UsedProof};
use tithe_clock::Timestamp;
use tithe_free_tier::Standing;
use tithe_trust::NostrPubkey;

impl Books {
    pub(super) fn proof_use(
        &mut self,
        id: ProofId,
        kind: ProofKind,
        pubkey: NostrPubkey,
        expires_at: Timestamp,
    ) -> Outcome {
        // One that has expired while it waited may have been used and forgotten.
        if self.proofs.get(&id).is_some() || expires_at <= self.now {
            return Err(Refusal::ProofUsed);
        }
        self.proofs.put(id, UsedProof { id, kind, pubkey, used_at: self.now, expires_at });
        // A key costs nothing: who has only logged in leaves no row.
        let known = self.standings.get(&pubkey).filter(|_| kind == ProofKind::Login);
        let Some(standing) = known.cloned() else { return Ok(Answer::Done) };
        let standing = Standing { identity: standing.identity.seen(self.now), day: standing.day };
        self.put_standing(standing.clone());
        Ok(Answer::Standing(Box::new(standing)))
    }
}
