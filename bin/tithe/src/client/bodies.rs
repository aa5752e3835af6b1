//! The server's response bodies.

use super::failure::Failure;
use super::line::Line;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Number;

#[derive(Deserialize)]
pub(crate) struct Problem {
    pub(crate) code: Line,
    pub(crate) detail: Line,
    #[serde(default)]
    pub(crate) status: u16,
}

#[derive(Deserialize)]
pub(super) struct Challenge {
    pub(super) nonce: Line,
}

/// The response to a successful login.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verified {
    #[serde(rename = "nostr_token")]
    pub(crate) token: Line,
    pub(crate) expires_at: Line,
    pub(crate) trust: Trust,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trust {
    pub(crate) tier: Line,
    pub(crate) score: Number,
    pub(crate) next_tier: Option<Line>,
    pub(crate) points_to_next_tier: Option<Number>,
}

/// The trust and budget of the authenticated identity.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Me {
    pub(crate) trust: Trust,
    pub(crate) free_tier: Day,
}

/// The identity's daily budget.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Day {
    pub(crate) daily_budget_sats: u64,
    pub(crate) remaining_today_sats: u64,
    pub(crate) resets_at: Option<Line>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Estimate {
    pub(crate) estimated_sats: u64,
    pub(crate) evaluation_fee_sats: u64,
    pub(crate) range: Range,
    #[serde(rename = "tokenEstimate")]
    pub(crate) tokens: TokenEstimate,
    pub(crate) identity: Asking,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Range {
    pub(crate) min_sats: u64,
    pub(crate) max_sats: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenEstimate {
    pub(crate) model: Line,
}

/// The identity for which an estimate was made.
#[derive(Deserialize)]
pub(crate) struct Asking {
    pub(crate) free_tier: Option<FreeTier>,
}

/// The pool's share of an estimate.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FreeTier {
    pub(crate) serve: Line,
    pub(crate) absorb_sats: u64,
    pub(crate) up_front_sats: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Created {
    pub(crate) job_id: Line,
    pub(crate) eval_invoice: Invoice,
    pub(crate) claim_token: Line,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invoice {
    pub(crate) payment_request: Line,
    pub(crate) payment_hash: Line,
    pub(crate) amount_sats: u64,
    pub(crate) expires_at: Line,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Job {
    pub(crate) state: Line,
    #[serde(rename = "absorbed_sats")]
    pub(crate) absorbed_sats: u64,
    /// `held` if the invoice for the work is a hold invoice.
    pub(crate) payment: Option<Line>,
    pub(crate) work_invoice: Option<Invoice>,
    pub(crate) pricing: Option<Pricing>,
    pub(crate) reason: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) error_message: Option<String>,
    pub(crate) usage: Option<Usage>,
    pub(crate) charged: Option<Charged>,
    pub(crate) refund: Option<Refund>,
}

impl Job {
    pub(crate) fn is_over(&self) -> bool {
        self.refund.is_some()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pricing {
    pub(crate) full_amount_sats: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Charged {
    pub(crate) charged_sats: u64,
    pub(crate) absorbed_sats: u64,
}

/// A refund; what is due and how it can be paid is absent when nothing is due any more.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refund {
    pub(crate) state: Line,
    pub(crate) amount_sats: u64,
    pub(crate) fee_limit_sats: Option<u64>,
    pub(crate) payable_sats: Option<u64>,
    pub(crate) has_destination: Option<bool>,
    pub(crate) problem: Option<Line>,
    pub(crate) payment_hash: Option<Line>,
}

#[derive(Deserialize)]
pub(crate) struct RefundRequested {
    pub(crate) refund: Refund,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TestInvoice {
    pub(crate) payment_request: Line,
}

#[derive(Deserialize)]
pub(crate) struct Delta {
    pub(crate) text: String,
    pub(crate) attempt: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpenedSession {
    pub(crate) session_id: Line,
    pub(crate) invoice: Invoice,
    pub(crate) macaroon: Line,
}

/// A session, as its holder sees it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PrepaidSession {
    pub(crate) session_id: Line,
    pub(crate) state: Line,
    pub(crate) balance_msats: u64,
    pub(crate) held_msats: u64,
    pub(crate) spent_msats: u64,
    pub(crate) expires_at: Line,
    pub(crate) invoice: Option<Invoice>,
    pub(crate) pending_topup: Option<Invoice>,
    pub(crate) refund: Option<Refund>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToppedUp {
    pub(crate) pending_topup: Invoice,
}

#[derive(Deserialize)]
pub(crate) struct ClosedSession {
    pub(crate) refund: Refund,
}

/// A page of a session's requests, newest first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct History {
    pub(crate) requests: Vec<HistoryRequest>,
    pub(crate) next_cursor: Option<Line>,
}

/// A request of a session.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryRequest {
    pub(crate) request_id: Line,
    /// Missing while it runs, and if it has failed.
    pub(crate) cost_msats: Option<u64>,
    pub(crate) debited_msats: u64,
    pub(crate) created_at: Line,
    /// When it ended.
    pub(crate) updated_at: Line,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionReply {
    pub(crate) debited_msats: u64,
    pub(crate) balance_msats: u64,
    #[serde(rename = "absorbed_sats")]
    pub(crate) absorbed_sats: u64,
    pub(crate) result: String,
}

#[derive(Deserialize)]
pub(crate) struct AnswerDelta {
    pub(crate) text: String,
}

#[derive(Deserialize)]
pub(crate) struct SessionKeys {
    pub(crate) keys: Vec<SessionKey>,
}

/// A macaroon that was narrowed from the session's own, and used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionKey {
    pub(crate) key_id: Line,
    pub(crate) caveats: Vec<Line>,
    pub(crate) spent_msats: u64,
    pub(crate) requests: u64,
    pub(crate) revoked_at: Option<Line>,
}

pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(Failure::Nonsense)
}
