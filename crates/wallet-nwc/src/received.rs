//! The streams of received and of held payments.

use crate::exchange::Links;
use crate::message::NoticeKind;
use futures_util::{Stream, stream};
use tithe_lightning::PaymentHash;
use tokio::sync::{broadcast, watch};

/// The payment hashes in the wallet's notifications of this kind. The stream ends when no relay is connected any more, even if one is
/// connected again before the stream is polled.
pub(crate) fn notified_hashes(
    kind: NoticeKind,
    notified: broadcast::Receiver<(NoticeKind, PaymentHash)>,
    mut links: watch::Receiver<Links>,
) -> impl Stream<Item = PaymentHash> + Send + 'static {
    let outages = links.borrow_and_update().outages;
    stream::unfold((notified, links), move |(mut notified, mut links)| async move {
        loop {
            let received = tokio::select! {
                // Payments that were notified before the loss come first.
                biased;
                received = notified.recv() => received,
                _ = links.wait_for(|links| links.outages != outages) => return None,
            };
            match received {
                Ok((found, payment_hash)) if found == kind => {
                    return Some((payment_hash, (notified, links)));
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "missed notifications of payments");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}
