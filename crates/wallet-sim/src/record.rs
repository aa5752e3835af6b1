//! The journal's lines: what has happened in the wallet, one record each.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tithe_clock::Timestamp;
use tithe_lightning::{PaymentHash, Preimage};
use tithe_money::{Msats, Sats};
use uuid::Uuid;

/// One thing that has happened. Written as one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Record {
    /// An invoice was made.
    Invoice(InvoiceRecord),
    /// An invoice was paid by someone outside.
    Settled {
        /// Which.
        payment_hash: PaymentHash,
        /// When.
        at: Timestamp,
    },
    /// An unpaid invoice was made to lapse before its time.
    Expired {
        /// Which.
        payment_hash: PaymentHash,
        /// When.
        at: Timestamp,
    },
    /// A payment of ours was tried, or one that was under way has ended. One that succeeds and pays an invoice of
    /// this wallet settles that too: both are one line, so neither is ever seen without the other.
    Payment(PaymentRecord),
}

/// An invoice that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InvoiceRecord {
    /// The caller's name for it.
    pub id: Uuid,
    /// What names the payment.
    pub payment_hash: PaymentHash,
    /// What the payer will get.
    #[serde(with = "revealed")]
    pub preimage: Preimage,
    /// What it asks for.
    pub amount: Sats,
    /// What the payer's wallet shows.
    pub description: String,
    /// The signed request.
    pub bolt11: String,
    /// From when on it can no longer be paid.
    pub expires_at: Timestamp,
}

/// A payment that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PaymentRecord {
    /// The caller's name for it.
    pub id: Uuid,
    /// What names the payment.
    pub payment_hash: PaymentHash,
    /// What the receiver gets.
    pub amount: Msats,
    /// What routing costs, charged when it succeeds.
    pub fee: Msats,
    /// When.
    pub at: Timestamp,
    /// How it went.
    pub outcome: Outcome,
}

/// How a payment went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It is under way.
    InFlight,
    /// It was made.
    Succeeded {
        /// The proof.
        #[serde(with = "revealed")]
        preimage: Preimage,
    },
    /// It was not made.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Preimages in full: the journal is the wallet's own memory, and only its owner can read the file.
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
