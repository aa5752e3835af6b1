//! Receipts of work that was charged.

use super::session::TokensBody;
use super::vocabulary::{ChargedPartName, ReceiptOutcomeName, WorkKindName};
use serde::Serialize;
use serde_json::value::RawValue;
use tithe_clock::Timestamp;
use tithe_engine::receipts::{ChargedPart, Receipt};
use tithe_money::MoneyError;
use utoipa::ToSchema;

/// A receipt. What signs it is the event: its content is all the other fields, as canonical JSON (RFC 8785).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedReceiptBody<'a> {
    #[serde(flatten)]
    pub(crate) receipt: &'a ReceiptBody,
    /// A Nostr event (NIP-01, kind 78 of NIP-78) by the server's key; absent if the server has none. Whoever has it can check the receipt
    /// without this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    pub(crate) event: Option<Box<RawValue>>,
}

/// What a piece of work was charged.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReceiptBody {
    /// The id of the work: of the job, or of the request.
    #[schema(format = "uuid")]
    id: String,
    /// The kind of work.
    #[schema(value_type = WorkKindName)]
    kind: &'static str,
    /// How it ended.
    #[schema(value_type = ReceiptOutcomeName)]
    outcome: &'static str,
    /// The model; absent for requests that a plan includes or the pool pays for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    model: Option<String>,
    /// The name of the backend, if the operator has named several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    backend: Option<String>,
    /// The SHA-256 of the request: of its body as it was sent to the AI API, otherwise of the text in `request`, in UTF-8. Absent if it is not
    /// known any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9a-f]{64}$")]
    request_sha256: Option<String>,
    /// The tokens of the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    usage: Option<TokensBody>,
    /// The price of the work, in msats, whoever paid.
    cost_msats: u64,
    /// What the customer was charged, in msats.
    charged_msats: u64,
    /// What the pool paid, in msats.
    absorbed_msats: u64,
    /// What the plan of an install includes, in msats.
    included_msats: u64,
    /// What the customer was charged, in millionths of a dollar, at the BTC prices of the quotes; absent if they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    charged_usd_micros: Option<u64>,
    /// The single charges.
    charges: Vec<ChargeBody>,
    /// The payments for this work alone; absent if it was charged to a balance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    payment: Option<ReceiptPaymentBody>,
    /// When it was charged.
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    /// Who charged it.
    server: ReceiptServerBody,
}

/// One charge.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChargeBody {
    /// What was charged: the evaluation of a job, or the work.
    #[schema(value_type = ChargedPartName)]
    part: &'static str,
    /// The price, in msats.
    cost_msats: u64,
    /// What the customer was charged, in msats.
    charged_msats: u64,
    /// The price of one bitcoin at which it was quoted, in millionths of a dollar; absent if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    btc_price_usd_micros: Option<u64>,
    /// What the customer was charged, in millionths of a dollar at that price, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    charged_usd_micros: Option<u64>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
}

/// The payments for one piece of work.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReceiptPaymentBody {
    /// The payment hashes.
    payment_hashes: Vec<String>,
    /// What was paid, in msats.
    paid_msats: u64,
    /// What of it is refunded, in sats. Whether it is paid out already is said by the job, or by the payment.
    refunded_sats: u64,
}

/// The server that has charged the work.
#[derive(Debug, Serialize, ToSchema)]
struct ReceiptServerBody {
    /// Its URL; absent if it has no public one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    url: Option<String>,
    /// Its key: the one that signs the event, 64 hex digits; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9a-f]{64}$")]
    pubkey: Option<String>,
}

impl ReceiptBody {
    /// The receipt of a server with this URL and this key.
    pub(crate) fn new(
        receipt: &Receipt,
        url: Option<String>,
        pubkey: Option<String>,
    ) -> Result<Self, MoneyError> {
        let amounts = receipt.amounts()?;
        Ok(Self {
            id: receipt.id.to_string(),
            kind: receipt.kind.as_str(),
            outcome: receipt.outcome.as_str(),
            model: receipt.model.clone(),
            backend: receipt.backend.as_deref().map(str::to_owned),
            request_sha256: receipt.request_hash.map(|hash| hash.to_string()),
            usage: receipt.usage.as_ref().map(|(usage, estimated)| TokensBody::new(usage, *estimated)),
            cost_msats: amounts.cost()?.get(),
            charged_msats: amounts.charged.get(),
            absorbed_msats: amounts.absorbed.get(),
            included_msats: amounts.included.get(),
            charged_usd_micros: receipt.charged_usd()?.map(tithe_money::UsdMicros::get),
            charges: receipt.charges.iter().map(ChargeBody::try_from).collect::<Result<_, _>>()?,
            payment: receipt.payment.as_ref().map(|payment| ReceiptPaymentBody {
                payment_hashes: payment.payment_hashes.iter().map(ToString::to_string).collect(),
                paid_msats: payment.paid.get(),
                refunded_sats: payment.refunded.get(),
            }),
            time: receipt.at,
            server: ReceiptServerBody { url, pubkey },
        })
    }
}

impl TryFrom<&ChargedPart> for ChargeBody {
    type Error = MoneyError;

    fn try_from(charge: &ChargedPart) -> Result<Self, MoneyError> {
        Ok(Self {
            part: charge.part.as_str(),
            cost_msats: charge.amounts.cost()?.get(),
            charged_msats: charge.amounts.charged.get(),
            btc_price_usd_micros: charge.btc_price.map(u64::from),
            charged_usd_micros: charge.charged_usd()?.map(tithe_money::UsdMicros::get),
            time: charge.at,
        })
    }
}
