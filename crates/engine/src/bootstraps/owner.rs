//! Bootstraps as owners of invoices.

use super::steps::account_of;
use crate::admission::UnpaidCounts;
use crate::books::{Books, Refusal, RowKeys};
use crate::error::EngineError;
use crate::payments::{OwnerIssue, OwnerLookup, PaymentOwner, PaymentStep};
use crate::store::Store;
use async_trait::async_trait;
use std::sync::Arc;
use tithe_bootstrap::{BootstrapId, BootstrapState};
use tithe_ledger::{AccountId, TransferKind};
use tithe_lightning::{Invoice, InvoiceChange, OwnerId, PaymentHash, Purpose};
use tokio::sync::Notify;

/// A bootstrap as the owner of its invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootstrapOwner {
    /// The bootstrap.
    pub bootstrap: BootstrapId,
}

impl PaymentOwner for BootstrapOwner {
    fn id(&self) -> OwnerId {
        OwnerId(self.bootstrap.0)
    }

    fn account(&self) -> AccountId {
        account_of(self.bootstrap)
    }

    fn payment_kind(&self, _purpose: Purpose) -> TransferKind {
        TransferKind::BootstrapPayment
    }

    fn declare(&self, step: PaymentStep, keys: &mut RowKeys) {
        match step {
            PaymentStep::Issue | PaymentStep::Hold | PaymentStep::Expire => {
                let _is_new = keys.bootstraps.insert(self.bootstrap);
            }
            PaymentStep::Credit => keys.declare_bootstrap(self.bootstrap),
        }
    }

    fn verify(&self, books: &Books<'_>) -> Result<(), Refusal> {
        books.bootstrap(self.bootstrap).map(drop)
    }

    fn invoice_issued(&self, books: &mut Books<'_>, invoice: &Invoice) -> Result<OwnerIssue, Refusal> {
        if invoice.purpose != Purpose::Bootstrap {
            return Err(Refusal::OtherOwner(invoice.payment_hash));
        }
        let bootstrap = books.bootstrap(self.bootstrap)?;
        if bootstrap.invoice.is_some() {
            return Ok(OwnerIssue::HasAnother);
        }
        let invoiced = bootstrap.invoiced(invoice.payment_hash, books.now())?;
        books.rows.bootstraps.put(invoiced)?;
        Ok(OwnerIssue::Taken)
    }

    fn payment_credited(
        &self,
        books: &mut Books<'_>,
        invoice: &Invoice,
        arrival: InvoiceChange,
    ) -> Result<(), Refusal> {
        let bootstrap = books.bootstrap(self.bootstrap)?;
        let occasion = format!("payment:{}", invoice.payment_hash);
        if bootstrap.has_ended() {
            return books.bootstrap_refund(&bootstrap, &occasion).map(drop);
        }
        if bootstrap.state != BootstrapState::AwaitingPayment {
            return Ok(());
        }
        match arrival {
            InvoiceChange::Paid => {
                let paid = bootstrap.paid(books.now())?;
                books.rows.bootstraps.put(paid)
            }
            // It ends, and what was paid is refunded.
            InvoiceChange::PaidShort | InvoiceChange::PaidLate => {
                let expired = bootstrap.expired(books.now())?;
                books.bootstrap_refund(&expired, &occasion).map(drop)
            }
        }
    }

    fn invoice_expired(&self, books: &mut Books<'_>, invoice: PaymentHash) -> Result<(), Refusal> {
        let bootstrap = books.bootstrap(self.bootstrap)?;
        if bootstrap.state == BootstrapState::AwaitingPayment && bootstrap.invoice == Some(invoice) {
            let expired = bootstrap.expired(books.now())?;
            books.rows.bootstraps.put(expired)?;
        }
        Ok(())
    }
}

/// Finds the bootstraps that own invoices, and wakes the worker when one is paid for.
pub struct BootstrapOwners {
    store: Arc<dyn Store>,
    unpaid: Arc<UnpaidCounts>,
    paid: Arc<Notify>,
}

impl BootstrapOwners {
    /// The bootstraps in this store. Those that were paid for are no longer counted among the unpaid; `paid` is notified of them.
    pub(crate) const fn new(store: Arc<dyn Store>, unpaid: Arc<UnpaidCounts>, paid: Arc<Notify>) -> Self {
        Self { store, unpaid, paid }
    }
}

#[async_trait]
impl OwnerLookup for BootstrapOwners {
    fn purposes(&self) -> &'static [Purpose] {
        &[Purpose::Bootstrap]
    }

    async fn owner(&self, id: OwnerId) -> Result<Option<Arc<dyn PaymentOwner>>, EngineError> {
        let bootstrap = self.store.bootstrap(BootstrapId(id.0)).await?;
        Ok(bootstrap.map(|row| -> Arc<dyn PaymentOwner> { Arc::new(BootstrapOwner { bootstrap: row.id }) }))
    }

    fn credited(&self, id: OwnerId) {
        self.unpaid.release(id.0);
        self.paid.notify_one();
    }
}
