//! Revokes a licence.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_licences::{LicenceId, Revocation};

/// Revokes a licence. The second time, it returns the first revocation and changes nothing.
#[derive(Debug, Clone)]
pub struct LicenceRevoke {
    /// The licence.
    pub licence: LicenceId,
    /// Why, for the operator.
    pub reason: String,
}

impl Command for LicenceRevoke {
    type Reply = Revocation;
    const NAME: &'static str = "licence_revoke";

    fn declare(&self, keys: &mut RowKeys) {
        keys.licence_revocations.insert(self.licence);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Revocation, Refusal> {
        if let Some(revoked) = books.rows.licence_revocations.get(&self.licence)? {
            return Ok(revoked.clone());
        }
        let revocation =
            Revocation { licence: self.licence, reason: self.reason.clone(), revoked_at: books.now() };
        books.rows.licence_revocations.put(revocation.clone())?;
        Ok(revocation)
    }
}
