//! Invoices are found again.

use super::FreshStore;
use crate::command::Command;
use crate::scene::{EXPIRY, START, Stage, accepted, invoice, job_at, job_id, pay, preimage};
use std::time::Duration;
use tithe_lightning::{InvoiceState, PaymentHash, Purpose};

/// However small the pages, every pending invoice is on exactly one of them.
pub async fn pages_show_every_pending_invoice_once(store: FreshStore) {
    for n in 0..23 {
        job_at(store.as_ref(), n, Stage::Invoiced, START).await;
    }
    accepted(store.as_ref(), pay(22, Purpose::JobEval, START), START).await;
    assert_eq!(store.invoices_pending_count().await.unwrap(), 22);
    for size in [1, 5, 22, 100] {
        let mut seen: Vec<PaymentHash> = Vec::new();
        loop {
            let page = store.invoices_pending(seen.last().copied(), size).await.unwrap();
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= size);
            seen.extend(page.iter().map(|invoice| invoice.payment_hash));
        }
        assert_eq!(seen.len(), 22);
        assert!(seen.is_sorted());
    }
    let paid = store.invoice(preimage(22, Purpose::JobEval).payment_hash()).await.unwrap().unwrap();
    let wanted = invoice(22, Purpose::JobEval, START);
    let state = InvoiceState::Paid {
        received: wanted.amount,
        paid_at: START,
        preimage: Some(preimage(22, Purpose::JobEval)),
    };
    assert_eq!(paid, tithe_lightning::Invoice { state, ..wanted });
}

/// A payment may still arrive for a while after its invoice lapsed, not for ever.
pub async fn only_recent_lapses_are_looked_at(store: FreshStore) {
    let day = Duration::from_hours(24);
    for (n, made) in [(1, START), (2, START + day)] {
        job_at(store.as_ref(), n, Stage::Invoiced, made).await;
        let invoice = preimage(n, Purpose::JobEval).payment_hash();
        accepted(
            store.as_ref(),
            Command::InvoiceExpire { job: job_id(n), identity: None, invoice },
            made + EXPIRY,
        )
        .await;
    }
    let lapsed = async |since| store.invoices_expired(since, None, 10).await.unwrap().len();
    assert_eq!(lapsed(START).await, 2);
    assert_eq!(lapsed(START + day).await, 1);
    assert_eq!(lapsed(START + day * 2).await, 0);
    assert_eq!(store.invoices_pending_count().await.unwrap(), 0);
    let first = store.invoices_expired(START, None, 1).await.unwrap().remove(0);
    let second = store.invoices_expired(START, Some(first.payment_hash), 10).await.unwrap();
    assert_eq!(second.len(), 1);
    assert_ne!(second[0].payment_hash, first.payment_hash);
}
