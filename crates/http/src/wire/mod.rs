//! The JSON bodies of requests and responses.

mod ai;
mod ask;
mod bootstrap;
mod credit;
mod estimate;
mod identity;
mod invoice;
mod job;
mod mcp;
mod model;
mod payment;
mod pool;
mod receipt;
mod refund;
mod session;
mod solvency;
mod vocabulary;

pub(crate) use ai::{AiCreditsBody, AiKeyBody, AiModelBody, AiModelListBody, GenerationBody};
pub(crate) use ask::{AnyReplyBody, AskBody, AskReplyBody};
pub(crate) use bootstrap::{BootstrapBody, CreatedBootstrapBody, NewBootstrapBody, PlanBody, PlanListBody};
pub(crate) use credit::{CreditsBody, InstallBody, InstallCreditsBody, InstallListBody};
pub(crate) use estimate::EstimateBody;
pub(crate) use identity::{ChallengeBody, MeBody, VerifiedBody, VerifyBody};
pub(crate) use invoice::{
    InvoiceBody, InvoiceStateBody, NewTestInvoiceBody, TestInvoiceBody, TestPaymentBody,
};
pub(crate) use job::{
    CreatedJobBody, DeltaBody, JobBody, JobEventBody, JobListBody, JobSummaryBody, NewJobBody,
};
pub(crate) use mcp::{McpRequestBody, McpResponseBody};
pub(crate) use model::{ModelBody, ModelListBody};
pub(crate) use payment::{NoOfferBody, OfferBody, PaymentBody, SessionClosedBody, SessionToppedUpBody};
pub(crate) use pool::{PoolBody, PoolSummaryBody};
pub(crate) use receipt::{ReceiptBody, SignedReceiptBody};
pub(crate) use refund::{CloseSessionBody, DestinationBody, RefundBody, RefundRequestedBody};
pub(crate) use session::{
    AnswerDeltaBody, ClosedSessionBody, CreatedSessionBody, NewSessionBody, SessionBody, SessionKeyBody,
    SessionKeyListBody, SessionReplyBody, SessionRequestBody, SessionRequestListBody, SessionWorkBody,
    TopUpBody, ToppedUpBody,
};
pub(crate) use solvency::SolvencyBody;
pub(crate) use vocabulary::{ProblemCode, ReadyName};

use serde::Serialize;
use serde_json::value::RawValue;
use tithe_money::{BasisPoints, UsdMicros};
use tithe_trust::Score;

/// A count that is left out if it is zero.
const fn present(count: u64) -> Option<u64> {
    if count == 0 { None } else { Some(count) }
}

/// A decimal number that is serialized exactly.
#[derive(Debug, Clone)]
pub(crate) struct Decimal(Box<RawValue>);

impl Decimal {
    fn of(number: impl std::fmt::Display) -> Self {
        // `UsdMicros`, `BasisPoints` and `Score` are displayed as valid JSON numbers.
        Self(RawValue::from_string(number.to_string()).unwrap_or_default())
    }
}

impl From<UsdMicros> for Decimal {
    fn from(amount: UsdMicros) -> Self {
        Self::of(amount)
    }
}

impl From<BasisPoints> for Decimal {
    fn from(ratio: BasisPoints) -> Self {
        Self::of(ratio.percents())
    }
}

impl From<Score> for Decimal {
    fn from(score: Score) -> Self {
        Self::of(score)
    }
}

impl Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
