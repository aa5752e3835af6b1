//! The bodies of plain requests.

use super::credit::CreditsBody;
use super::session::{SessionReplyBody, TokensBody};
use super::vocabulary::{BackendName, FinishReasonName, RequestStateName, TierName};
use serde::{Deserialize, Serialize};
use tithe_engine::asks::FinishedAsk;
use tithe_money::{MoneyError, Msats};
use tithe_sessions::RequestStateName as State;
use utoipa::ToSchema;

/// A request to be done for whoever pays for it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "request": "Why is the sky blue?", "maxOutputTokens": 500 }))]
pub(crate) struct AskBody {
    /// The text of the request. Tabs and line breaks are allowed, other control characters are not.
    #[schema(min_length = 1, max_length = 262_144)]
    pub(crate) request: String,
    /// The model to use. Defaults to the server's choice. The plans of installs do not include every model.
    pub(crate) model: Option<String>,
    /// The maximum length of the output, in tokens.
    #[schema(minimum = 1)]
    pub(crate) max_output_tokens: Option<u64>,
    /// The token of an identity. The pool pays for the request if its trust allows it.
    #[serde(rename = "nostr_token", alias = "nostrToken")]
    pub(crate) nostr_token: Option<String>,
}

/// A request that is done, and that its sender does not pay for: an install's plan includes it, or the pool pays.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AskReplyBody {
    /// The id of the request.
    #[schema(format = "uuid")]
    request_id: String,
    /// The state: `complete`.
    #[schema(value_type = RequestStateName)]
    state: &'static str,
    /// The answer.
    result: String,
    /// Why the answer ended.
    #[schema(value_type = FinishReasonName)]
    finish_reason: &'static str,
    /// The tokens of the work, without the evaluation.
    usage: TokensBody,
    /// The model that did the work.
    model: String,
    /// Where the work ran.
    #[schema(value_type = BackendName)]
    backend: &'static str,
    /// What the evaluation and the work cost, in msats.
    cost_msats: u64,
    /// What was charged to the sender, in sats: 0.
    debited_sats: u64,
    /// What was charged to the sender, in msats: 0.
    debited_msats: u64,
    /// What the install has left; absent if it was not an install's plan that included the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credits: Option<CreditsBody>,
    /// Whether the pool paid for the work.
    #[serde(rename = "free_tier")]
    free_tier: bool,
    /// What the pool paid, in sats, rounded up.
    #[serde(rename = "absorbed_sats")]
    absorbed_sats: u64,
    /// The trust tier of the identity that the pool pays for; `anonymous` if an install's plan included the request.
    #[serde(rename = "trust_tier")]
    #[schema(value_type = TierName)]
    trust_tier: &'static str,
}

impl AskReplyBody {
    /// The body for a request that has an answer; `None` for one that was rejected.
    pub(crate) fn of(finished: &FinishedAsk) -> Result<Option<Self>, MoneyError> {
        let Ok(answer) = &finished.answer else { return Ok(None) };
        Ok(Some(Self {
            request_id: finished.id.to_string(),
            state: State::Complete.as_str(),
            result: answer.text.to_string(),
            finish_reason: answer.finish.as_str(),
            usage: TokensBody::new(&answer.usage, answer.estimated),
            model: finished.model.clone(),
            backend: finished.backend.as_str(),
            cost_msats: finished.cost.get(),
            debited_sats: 0,
            debited_msats: 0,
            credits: finished.balance.as_ref().map(CreditsBody::from),
            free_tier: finished.absorbed > Msats::ZERO,
            absorbed_sats: finished.absorbed.to_sats_rounding_up()?.get(),
            trust_tier: finished.tier.as_str(),
        }))
    }
}

/// A request that is done, by who paid for it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[serde(untagged)]
#[expect(dead_code, reason = "the type exists for the API's document only")]
pub(crate) enum AnyReplyBody {
    /// An install's plan included it, or the pool paid.
    Free(AskReplyBody),
    /// It was charged to a session, or to the payment for this request.
    Session(SessionReplyBody),
}
