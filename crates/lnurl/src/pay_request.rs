//! What a service says about payments to an address, and the invoice that it returns.

use crate::excerpt::excerpt;
use crate::failure::{refused, unavailable};
use crate::reply::Reply;
use serde::de::IgnoredAny;
use tithe_lightning::{Bolt11, ExpectedInvoice, Network};
use tithe_money::Sats;
use tithe_payouts::AddressError;

const MSATS_PER_SAT: u64 = 1_000;

/// The tag of the replies that are about payments.
const TAG: &str = "payRequest";

/// How an address is paid (LUD-06, step 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PayRequest {
    /// The URL that returns invoices, not checked yet.
    pub callback: String,
    /// The smallest amount in millisats.
    pub min_msats: u64,
    /// The largest amount in millisats.
    pub max_msats: u64,
}

impl PayRequest {
    /// Reads a reply that reports no error.
    pub fn read(reply: &Reply) -> Result<Self, AddressError> {
        let missing =
            |field: &str| unavailable(format!("unreadable response of the service: no valid `{field}`"));
        let tag = reply.text("tag").ok_or_else(|| missing("tag"))?;
        if tag != TAG {
            let found = excerpt(&tag);
            return Err(refused(format!("no payment address: expected the tag {TAG:?}, got {found:?}")));
        }
        let callback = reply.text("callback").ok_or_else(|| missing("callback"))?;
        let min_msats = reply.number("minSendable").ok_or_else(|| missing("minSendable"))?;
        let max_msats = reply.number("maxSendable").ok_or_else(|| missing("maxSendable"))?;
        if min_msats > max_msats {
            return Err(missing("maxSendable"));
        }
        let metadata = reply.text("metadata").ok_or_else(|| missing("metadata"))?;
        if serde_json::from_str::<Vec<IgnoredAny>>(&metadata).is_err() {
            return Err(missing("metadata"));
        }
        let mandatory = mandatory_payer_data(reply);
        if !mandatory.is_empty() {
            let names = excerpt(&mandatory.join(", "));
            return Err(refused(format!("the service requires data of the payer: {names:?}")));
        }
        Ok(Self { callback, min_msats, max_msats })
    }

    /// Checks that the service accepts an amount.
    pub fn check_amount(&self, amount: Sats) -> Result<(), AddressError> {
        let msats = amount.to_msats().get();
        if self.min_msats <= msats && msats <= self.max_msats {
            return Ok(());
        }
        let (min, max) = (self.min_msats.div_ceil(MSATS_PER_SAT), self.max_msats / MSATS_PER_SAT);
        let expected = match (min, max) {
            _ if min > max => "a fraction of a sat".to_owned(),
            _ if min == max => format!("exactly {min} sats"),
            _ => format!("{min} to {max} sats"),
        };
        Err(refused(format!("amount out of range: the service expects {expected}, got {amount}")))
    }
}

/// The names of the data without which the service accepts no payment (LUD-18).
fn mandatory_payer_data(reply: &Reply) -> Vec<String> {
    let Some(payer_data) = reply.object("payerData") else { return Vec::new() };
    let mandatory = payer_data.objects().filter(|(_, terms)| terms.is_true("mandatory"));
    mandatory.map(|(name, _)| name.to_owned()).collect()
}

/// The invoice in a reply (LUD-06, step 5) that reports no error. Its expiry is not checked.
pub(crate) fn read_invoice(reply: &Reply, network: Network, amount: Sats) -> Result<Bolt11, AddressError> {
    let unreadable = || unavailable("unreadable response of the service: no valid invoice");
    let invoice: Bolt11 =
        reply.text("pr").and_then(|text| text.trim().parse().ok()).ok_or_else(unreadable)?;
    let expected = ExpectedInvoice {
        network,
        amount: amount.to_msats(),
        payment_hash: None,
        expires_after: invoice.expires_at(),
    };
    let mismatch = invoice.check(&expected).err();
    mismatch.map_or(Ok(invoice), |mismatch| Err(refused(format!("unsuitable invoice: {mismatch}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min_msats: u64, max_msats: u64) -> PayRequest {
        PayRequest { callback: String::new(), min_msats, max_msats }
    }

    #[test]
    fn amounts_within_the_range_are_accepted_and_others_name_it() {
        let sats = |n| Sats::new(n).unwrap();
        for (range, amount) in [
            (range(1_000, 5_000), 1),
            (range(1_000, 5_000), 5),
            (range(1, u64::MAX), 2_100_000_000_000_000),
            (range(0, 1_999), 1),
        ] {
            assert_eq!(range.check_amount(sats(amount)), Ok(()), "{range:?} {amount}");
        }
        for (range, amount, expected) in [
            (range(1_001, 5_999), 1, "the service expects 2 to 5 sats, got 1 sat"),
            (range(1_001, 5_999), 6, "the service expects 2 to 5 sats, got 6 sats"),
            (range(5_000, 5_000), 6, "the service expects exactly 5 sats, got 6 sats"),
            (range(1_001, 1_999), 1, "the service expects a fraction of a sat, got 1 sat"),
            (range(u64::MAX, u64::MAX), 1, "the service expects a fraction of a sat, got 1 sat"),
        ] {
            let refused = range.check_amount(sats(amount)).unwrap_err();
            assert!(matches!(refused, AddressError::Refused { .. }));
            assert!(refused.to_string().ends_with(expected), "{refused}");
        }
    }
}
