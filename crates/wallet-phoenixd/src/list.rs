//! phoenixd's lists of payments, page by page.

use crate::answers::{IncomingPayment, OutgoingPayment};
use crate::api::Api;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use tithe_clock::Timestamp;
use tithe_lightning::{WalletError, WalletPayment};
use tracing::debug;

const PAGE_LEN: usize = 200;
/// Without an upper limit phoenixd leaves out what is later than its own clock says: 2286.
const TO_MILLIS: &str = "9999999999999";

/// All Lightning payments that were settled at `since` or later.
pub(crate) async fn settled(api: &Api, since: Timestamp) -> Result<Vec<WalletPayment>, WalletError> {
    // Rounded down: phoenixd's times are in milliseconds.
    let from_millis = since.unix_micros().div_euclid(1_000).max(0);
    let mut settled = Vec::new();
    let incoming: Vec<IncomingPayment> =
        all(api, "payments/incoming", from_millis, |payment: &IncomingPayment| {
            payment.payment_hash.to_string()
        })
        .await?;
    for payment in incoming {
        settled.extend(payment.settled()?);
    }
    let outgoing: Vec<OutgoingPayment> =
        all(api, "payments/outgoing", from_millis, |payment: &OutgoingPayment| payment.payment_id.clone())
            .await?;
    for payment in outgoing {
        if payment.payment_hash.is_none() {
            debug!(kind = payment.sub_type, "phoenixd lists a transaction that is no Lightning payment");
        }
        settled.extend(payment.settled()?);
    }
    Ok(settled)
}

/// All pages of a list. A payment that is settled in the meantime moves others to a later page, where they are met again; it
/// never moves one to an earlier page, where it would be missed. The last page is an empty one: phoenixd applies the limit before
/// it leaves transactions out that it does not show, so a page may be short, and more follow.
async fn all<T: DeserializeOwned>(
    api: &Api,
    path: &str,
    from_millis: i64,
    key: impl Fn(&T) -> String,
) -> Result<Vec<T>, WalletError> {
    let mut payments = Vec::new();
    let mut known = HashSet::new();
    for offset in (0_usize..).step_by(PAGE_LEN) {
        let query = [
            ("from", from_millis.to_string()),
            ("to", TO_MILLIS.to_owned()),
            ("limit", PAGE_LEN.to_string()),
            ("offset", offset.to_string()),
        ];
        let page: Vec<T> = api.read(path, &query).await?;
        if page.is_empty() {
            break;
        }
        let before = payments.len();
        payments.extend(page.into_iter().filter(|payment| known.insert(key(payment))));
        if payments.len() == before {
            return Err(WalletError::Nonsense(format!("{path}: the page at {offset} has nothing new")));
        }
    }
    Ok(payments)
}
