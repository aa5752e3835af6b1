//! Invoices are found again.

use super::FreshStore;
use crate::command::Command;
use crate::scene::{EXPIRY, START, Stage, accepted, invoice, job_at, job_id, pay, preimage};
use std::time::Duration;
use tithe_lightning::{ExpiryWindow, Invoice, InvoiceState, PaymentHash, Purpose};

/// However small the pages, every pending invoice is on exactly one of them.
pub async fn pages_show_every_pending_invoice_once(store: FreshStore) {
    for n in 0..23 {
        job_at(store.as_ref(), n, Stage::Invoiced, START).await;
    }
    accepted(store.as_ref(), pay(22, Purpose::JobEval, START), START).await;
    assert_eq!(store.invoices_open_count(START).await.unwrap(), 22);
    // Whoever is late keeps nobody out.
    assert_eq!(store.invoices_open_count(START + EXPIRY).await.unwrap(), 0);
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
    assert_eq!(paid, Invoice { state, ..wanted });
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
    let window = |after, until| ExpiryWindow { after: START + after, until: START + until };
    let found = async |window, after, limit| store.invoices_expired(window, after, limit).await.unwrap();
    let place = |invoice: &Invoice| (invoice.expires_at, invoice.payment_hash);
    // The window is half-open: what expired at its beginning is in the one before.
    assert_eq!(found(window(Duration::ZERO, day * 2), None, 10).await.len(), 2);
    assert_eq!(found(window(Duration::ZERO, EXPIRY), None, 10).await.len(), 1);
    assert_eq!(
        found(window(EXPIRY, day + EXPIRY.saturating_sub(Duration::from_micros(1))), None, 10).await.len(),
        0
    );
    assert_eq!(found(window(EXPIRY, day + EXPIRY), None, 10).await.len(), 1);
    assert_eq!(store.invoices_open_count(START).await.unwrap(), 0);
    let all = window(Duration::ZERO, day * 2);
    let first = found(all, None, 1).await.remove(0);
    assert_eq!(first.expires_at, START + EXPIRY, "oldest first");
    let second = found(all, Some(place(&first)), 10).await;
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].expires_at, START + day + EXPIRY);
    assert_eq!(found(all, Some(place(&second[0])), 10).await, []);
}
