//! Journal records: the events of the wallet, one per line.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tithe_clock::Timestamp;
use tithe_lightning::{PaymentHash, Preimage};
use tithe_money::{Msats, Sats};
use uuid::Uuid;

/// A wallet event, written as one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Record {
    /// An invoice was created.
    Invoice(InvoiceRecord),
    /// An invoice was paid by an external payer.
    Settled {
        /// The invoice.
        payment_hash: PaymentHash,
        /// When it was paid.
        at: Timestamp,
        /// What the wallet kept.
        #[serde(default)]
        liquidity_fee: Msats,
    },
    /// An unpaid invoice was expired early.
    Expired {
        /// The invoice.
        payment_hash: PaymentHash,
        /// When it expired.
        at: Timestamp,
    },
    /// A hold invoice was created. Its preimage is the caller's secret.
    HoldInvoice(InvoiceRecord),
    /// The payment of a hold invoice by an external payer has arrived, and is held.
    Held {
        /// The invoice.
        payment_hash: PaymentHash,
        /// When it arrived.
        at: Timestamp,
        /// When it goes back to the payer by itself.
        until: Timestamp,
    },
    /// A held payment was settled.
    HoldSettled {
        /// The invoice.
        payment_hash: PaymentHash,
        /// The preimage that the payer has received.
        #[serde(with = "revealed")]
        preimage: Preimage,
        /// When it was settled.
        at: Timestamp,
        /// What the wallet kept.
        #[serde(default)]
        liquidity_fee: Msats,
    },
    /// A hold invoice was cancelled. If a payment was held, it went back to the payer.
    HoldCancelled {
        /// The invoice.
        payment_hash: PaymentHash,
        /// When it was cancelled.
        at: Timestamp,
    },
    /// An outgoing payment was attempted, or one in flight has ended. A successful payment of one of this wallet's own
    /// invoices also settles that invoice: one line records both, so neither is ever visible without the other.
    Payment(PaymentRecord),
}

/// A created invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InvoiceRecord {
    /// The caller's id for it.
    pub id: Uuid,
    /// The payment hash.
    pub payment_hash: PaymentHash,
    /// The preimage that the payer will receive; none for a hold invoice.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "revealed_if_known")]
    pub preimage: Option<Preimage>,
    /// The amount due.
    pub amount: Sats,
    /// The description that the payer's wallet shows.
    pub description: String,
    /// The signed payment request.
    pub bolt11: String,
    /// When the invoice expires.
    pub expires_at: Timestamp,
}

/// An attempted payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PaymentRecord {
    /// The caller's id for it.
    pub id: Uuid,
    /// The payment hash.
    pub payment_hash: PaymentHash,
    /// The amount that the receiver gets.
    pub amount: Msats,
    /// The routing fee, charged if the payment succeeds.
    pub fee: Msats,
    /// When it was attempted.
    pub at: Timestamp,
    /// The preimage that the receiver gives, if the receiver is a simulated wallet.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "revealed_if_known")]
    pub preimage: Option<Preimage>,
    /// The result.
    pub outcome: Outcome,
}

/// The result of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The payment is in flight.
    InFlight,
    /// The payment succeeded.
    Succeeded {
        /// The preimage.
        #[serde(with = "revealed")]
        preimage: Preimage,
    },
    /// The payment failed.
    Failed {
        /// The reason.
        reason: String,
    },
}

/// As [`revealed`], for a preimage that may be unknown.
#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
mod revealed_if_known {
    use super::{Deserialize, Deserializer, Preimage, Serializer};
    use serde::de::Error;

    pub(super) fn serialize<S: Serializer>(
        preimage: &Option<Preimage>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match preimage {
            Some(preimage) => serializer.serialize_some(&preimage.reveal()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Preimage>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// Preimages are written in full: the journal is the wallet's own storage, and only its owner can read the file.
mod revealed {
    use super::{Deserialize, Deserializer, Preimage, Serializer};
    use serde::de::Error;
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(preimage: &Preimage, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&preimage.reveal())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Preimage, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
