//! The bodies of sessions.

use super::refund::{DestinationBody, RefundBody};
use super::vocabulary::{FinishReasonName, RequestStateName, SessionStateName, TierName};
use super::{InvoiceBody, present};
use serde::{Deserialize, Serialize};
use tithe_clock::Timestamp;
use tithe_engine::payouts::RefundView;
use tithe_engine::sessions::{CreatedSession, FinishedRequest, SessionView};
use tithe_lightning::InvoiceState;
use tithe_money::{MoneyError, Msats};
use tithe_pricing::Usage;
use tithe_sessions::{RequestResult, RequestState, Session, SessionKey, SessionRequest, WebhookUrl};
use utoipa::ToSchema;

/// A request to create a session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "amountSats": 500 }))]
pub(crate) struct NewSessionBody {
    /// The deposit, in sats.
    #[serde(alias = "amount_sats")]
    #[schema(minimum = 1)]
    pub(crate) amount_sats: u64,
    /// The token of an identity. Its trust counts for the requests of the session.
    #[serde(rename = "nostr_token", alias = "nostrToken")]
    pub(crate) nostr_token: Option<String>,
    /// An https URL that is sent a signed message when 50, 80 and 100 % of the balance, or of the limit of a narrowed macaroon, are used
    /// (see `webhookSecret`).
    #[schema(value_type = Option<String>, nullable = false, example = "https://example.com/hook")]
    pub(crate) webhook_url: Option<WebhookUrl>,
    /// Where what the session has left at its end is paid: a Lightning address, because the amount is not known yet. It can also be named
    /// when the session is closed.
    #[schema(nullable = false)]
    pub(crate) return_to: Option<DestinationBody>,
}

/// A request to top a session up.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "amountSats": 500 }))]
pub(crate) struct TopUpBody {
    /// The amount, in sats.
    #[serde(alias = "amount_sats")]
    #[schema(minimum = 1)]
    pub(crate) amount_sats: u64,
}

/// A created session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedSessionBody {
    /// The id of the session.
    #[schema(format = "uuid")]
    session_id: String,
    /// The state: `awaiting_payment`.
    #[schema(value_type = SessionStateName)]
    state: &'static str,
    /// The invoice for the deposit.
    invoice: InvoiceBody,
    /// The macaroon that opens the session once the invoice is paid. Whoever has it spends the balance: keep it secret, or narrow
    /// it before you hand it on.
    macaroon: String,
    /// The secret that signs messages to `webhookUrl`, as [Standard Webhooks](https://www.standardwebhooks.com) describes it. `webhook-id` is the
    /// same when a message is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    webhook_secret: Option<String>,
    /// The time at which the invoice expires.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The trust tier of the identity that created the session.
    #[serde(rename = "trust_tier")]
    #[schema(value_type = TierName)]
    trust_tier: &'static str,
}

impl TryFrom<&CreatedSession> for CreatedSessionBody {
    type Error = MoneyError;

    fn try_from(created: &CreatedSession) -> Result<Self, MoneyError> {
        Ok(Self {
            session_id: created.session.id.to_string(),
            state: created.session.stored_state_name().as_str(),
            invoice: InvoiceBody::try_from(&created.invoice)?,
            macaroon: created.macaroon.clone(),
            webhook_secret: created.webhook_secret.clone(),
            expires_at: created.invoice.expires_at,
            trust_tier: created.tier.as_str(),
        })
    }
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionBody {
    /// The id of the session.
    #[schema(format = "uuid")]
    session_id: String,
    /// The state.
    #[schema(value_type = SessionStateName)]
    state: &'static str,
    /// The balance, in sats, rounded down, with what is held.
    balance_sats: u64,
    /// The balance, in msats.
    balance_msats: u64,
    /// The part of the balance that running requests may cost, in msats.
    held_msats: u64,
    /// What was charged so far, in msats.
    spent_msats: u64,
    /// The session is called `exhausted` when less than this is available, in sats.
    minimum_balance_sats: u64,
    /// The time at which the session ends if nobody pays or uses it. What it has left is then refunded.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The invoice for the deposit, while it is unpaid.
    #[serde(skip_serializing_if = "Option::is_none")]
    invoice: Option<InvoiceBody>,
    /// The top-up that is waiting to be paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_topup: Option<InvoiceBody>,
    /// The refund of an ended session. It grows while requests that were running at the end are finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<RefundBody>,
    /// Where warnings are sent. Only with the session's own macaroon.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uri", nullable = false)]
    webhook_url: Option<String>,
    /// The secret that signs warnings. It changes when the operator changes the server's own. Only with the session's own macaroon.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    webhook_secret: Option<String>,
    /// The trust tier of the session's identity.
    #[serde(rename = "trust_tier")]
    #[schema(value_type = TierName)]
    trust_tier: &'static str,
}

impl SessionBody {
    /// A session; `webhook_secret` is for its owner only.
    pub(crate) fn new(view: &SessionView, webhook_secret: Option<String>) -> Result<Self, MoneyError> {
        let webhook_url = view.session.webhook.as_ref().filter(|_| webhook_secret.is_some());
        let pending = |invoice: &Option<tithe_lightning::Invoice>| {
            let invoice = invoice.as_ref().filter(|invoice| invoice.state == InvoiceState::Pending);
            invoice.map(InvoiceBody::try_from).transpose()
        };
        Ok(Self {
            session_id: view.session.id.to_string(),
            state: view.state.as_str(),
            balance_sats: view.balance.to_sats_rounding_down().get(),
            balance_msats: view.balance.get(),
            held_msats: view.held.get(),
            spent_msats: view.session.spent(view.balance).get(),
            minimum_balance_sats: view.minimum.to_sats_rounding_up()?.get(),
            expires_at: view.expires_at,
            invoice: pending(&view.deposit_invoice)?,
            pending_topup: pending(&view.pending_top_up)?,
            refund: view.session.end().map(|_| RefundBody::from(&view.refund)),
            webhook_url: webhook_url.map(|url| url.as_str().to_owned()),
            webhook_secret,
            trust_tier: view.tier.as_str(),
        })
    }
}

/// A closed session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClosedSessionBody {
    /// The id of the session.
    #[schema(format = "uuid")]
    session_id: String,
    /// The state: `closed`.
    #[schema(value_type = SessionStateName)]
    state: &'static str,
    /// What is refunded.
    refund: RefundBody,
}

impl ClosedSessionBody {
    /// A session that has ended, with its refund.
    pub(crate) fn new(session: &Session, refund: &RefundView) -> Self {
        Self {
            session_id: session.id.to_string(),
            state: session.stored_state_name().as_str(),
            refund: refund.into(),
        }
    }
}

/// A top-up.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToppedUpBody {
    /// The invoice to pay.
    pub(crate) pending_topup: InvoiceBody,
}

/// A request to be done and charged to a session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "request": "Why is the sky blue?", "maxOutputTokens": 500 }))]
pub(crate) struct SessionWorkBody {
    /// The text of the request. Tabs and line breaks are allowed, other control characters are not.
    #[schema(min_length = 1, max_length = 262_144)]
    pub(crate) request: String,
    /// The model to use. Defaults to the server's choice.
    pub(crate) model: Option<String>,
    /// The maximum length of the output, in tokens. Without it, the answer is as long as the balance allows.
    #[schema(minimum = 1)]
    pub(crate) max_output_tokens: Option<u64>,
}

/// The tokens that a request used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokensBody {
    /// The number of input tokens.
    input_tokens: u64,
    /// The number of input tokens that the backend read from its cache.
    cached_input_tokens: u64,
    /// The number of input tokens that the backend wrote to its cache; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
    /// The number of output tokens, including reasoning.
    output_tokens: u64,
    /// The number of output tokens of reasoning; absent if there are none, or the backend does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<u64>,
    /// True if the backend reported no usage, so that the tokens were counted; absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
}

impl TokensBody {
    /// The tokens of this usage; `estimated` if they were counted here.
    pub(super) const fn new(usage: &Usage, estimated: bool) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            cached_input_tokens: usage.cached_input_tokens,
            cache_write_tokens: present(usage.cache_writes()),
            output_tokens: usage.output_tokens,
            reasoning_tokens: present(usage.reasoning_tokens),
            estimated,
        }
    }
}

impl From<&RequestResult> for TokensBody {
    fn from(result: &RequestResult) -> Self {
        Self::new(&result.usage, result.estimated)
    }
}

/// A request of a session that is done.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionReplyBody {
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
    /// What the evaluation and the work cost, in msats.
    cost_msats: u64,
    /// What was charged to the session, in sats, rounded up.
    debited_sats: u64,
    /// What was charged to the session, in msats.
    debited_msats: u64,
    /// The balance, in sats, rounded down.
    balance_sats: u64,
    /// The balance, in msats.
    balance_msats: u64,
    /// Whether the pool paid for the work, in full or in part.
    #[serde(rename = "free_tier")]
    free_tier: bool,
    /// What the pool paid, in sats, rounded up.
    #[serde(rename = "absorbed_sats")]
    absorbed_sats: u64,
    /// The trust tier of the session's identity.
    #[serde(rename = "trust_tier")]
    #[schema(value_type = TierName)]
    trust_tier: &'static str,
}

impl SessionReplyBody {
    /// The body for a request that is complete; `None` for any other.
    pub(crate) fn of(finished: &FinishedRequest) -> Result<Option<Self>, MoneyError> {
        let RequestState::Complete { result, ended } = &finished.request.state else { return Ok(None) };
        Ok(Some(Self {
            request_id: finished.request.id.to_string(),
            state: finished.request.state_name().as_str(),
            result: result.text.to_string(),
            finish_reason: result.finish.as_str(),
            usage: result.into(),
            cost_msats: ended.cost.get(),
            debited_sats: ended.charged.to_sats_rounding_up()?.get(),
            debited_msats: ended.charged.get(),
            balance_sats: finished.balance.to_sats_rounding_down().get(),
            balance_msats: finished.balance.get(),
            free_tier: ended.absorbed > Msats::ZERO,
            absorbed_sats: ended.absorbed.to_sats_rounding_up()?.get(),
            trust_tier: finished.tier.as_str(),
        }))
    }
}

/// A request in the history of a session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionRequestBody {
    /// The id of the request.
    #[schema(format = "uuid")]
    request_id: String,
    /// The state.
    #[schema(value_type = RequestStateName)]
    state: &'static str,
    /// The model.
    model: String,
    /// When the text of the request was deleted: `result` and `reason` are empty since. Absent while it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    text_deleted_at: Option<Timestamp>,
    /// The answer of a complete request.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    /// Why the answer ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<FinishReasonName>)]
    finish_reason: Option<&'static str>,
    /// Why the request was rejected, or has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The tokens of the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<TokensBody>,
    /// What the request cost, in msats.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_msats: Option<u64>,
    /// What was charged to the session, in msats.
    debited_msats: u64,
    /// What the pool paid, in msats.
    absorbed_msats: u64,
    /// The most that it may cost, in msats, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_msats: Option<u64>,
    /// The keys that it counts against.
    key_ids: Vec<String>,
    /// The time of the request.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The time of its end, or of its beginning.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<&SessionRequest> for SessionRequestBody {
    fn from(request: &SessionRequest) -> Self {
        let (result, reason) = match &request.state {
            RequestState::Running => (None, None),
            RequestState::Complete { result, .. } => (Some(result), None),
            RequestState::Rejected { reason, .. } => (None, Some(reason.clone())),
            RequestState::Failed { message } => (None, Some(message.clone())),
        };
        let ended = request.cost().copied();
        Self {
            request_id: request.id.to_string(),
            state: request.state_name().as_str(),
            model: request.model.clone(),
            text_deleted_at: request.text_deleted_at,
            result: result.map(|result| result.text.to_string()),
            finish_reason: result.map(|result| result.finish.as_str()),
            reason,
            usage: result.map(TokensBody::from),
            cost_msats: ended.map(|ended| ended.cost.get()),
            debited_msats: ended.unwrap_or_default().charged.get(),
            absorbed_msats: ended.unwrap_or_default().absorbed.get(),
            held_msats: matches!(request.state, RequestState::Running).then(|| request.limit.get()),
            key_ids: request.keys.iter().map(ToString::to_string).collect(),
            created_at: request.created_at,
            updated_at: request.updated_at,
        }
    }
}

/// A page of a session's history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionRequestListBody {
    /// The requests, newest first.
    pub(crate) requests: Vec<SessionRequestBody>,
    /// The `cursor` of the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    pub(crate) next_cursor: Option<String>,
}

/// A key of a session: a macaroon that was narrowed from the session's own, and used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionKeyBody {
    /// The id of the key.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    key_id: String,
    /// The key that it was narrowed from; absent if that is the session's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    parent_key_id: Option<String>,
    /// Its caveats, oldest first.
    caveats: Vec<String>,
    /// What was spent with it, and with what was narrowed from it, in msats.
    spent_msats: u64,
    /// What running requests may cost, in msats.
    held_msats: u64,
    /// The number of requests that were charged.
    requests: u64,
    /// The time of its first use.
    #[schema(value_type = String, format = DateTime)]
    first_used_at: Timestamp,
    /// The time of its last use.
    #[schema(value_type = String, format = DateTime)]
    last_used_at: Timestamp,
    /// The time at which it was revoked; absent if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl From<&SessionKey> for SessionKeyBody {
    fn from(key: &SessionKey) -> Self {
        Self {
            key_id: key.id.to_string(),
            parent_key_id: key.parent.map(|parent| parent.to_string()),
            caveats: key.caveats.lines().map(str::to_owned).collect(),
            spent_msats: key.usage.spent.get(),
            held_msats: key.usage.reserved.get(),
            requests: key.usage.requests,
            first_used_at: key.first_used_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// The keys of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionKeyListBody {
    /// The keys that were used or revoked, in the order of their first use.
    pub(crate) keys: Vec<SessionKeyBody>,
}

/// More of the text of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnswerDeltaBody {
    /// The text.
    pub(crate) text: String,
}
