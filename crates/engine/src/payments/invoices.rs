//! What commands do with invoices.

use super::owner::PaymentOwner;
use crate::books::rows::{Invoices, RowKind};
use crate::books::{Books, Refusal};
use tithe_lightning::{Invoice, PaymentHash};

impl Books<'_> {
    /// The invoice of this payment hash, which must belong to `owner`; the owner must be as it says.
    pub(super) fn invoice_of(&self, hash: PaymentHash, owner: &dyn PaymentOwner) -> Result<Invoice, Refusal> {
        let stored = self.rows.invoices.get(&hash)?.cloned();
        let invoice = stored.ok_or_else(|| Refusal::not_found(Invoices::NAME, &hash))?;
        if invoice.owner != owner.id() {
            return Err(Refusal::OtherOwner(hash));
        }
        owner.verify(self)?;
        Ok(invoice)
    }
}
