//! The bodies of models, balances and requests of the AI API.

use super::Decimal;
use serde::Serialize;
use tithe_engine::quotes::OfferedModel;
use tithe_engine::sessions::{SessionAccess, SessionView};
use tithe_money::{BtcPrice, MoneyError, Msats, UsdMicros};
use tithe_paywall::Limit;
use tithe_pricing::Purpose;
use tithe_sessions::{RequestState, SessionKey, SessionRequest};
use utoipa::ToSchema;

/// What a token costs, in dollars, as decimal texts: OpenRouter's form.
#[derive(Debug, Serialize, ToSchema)]
struct TokenPriceBody {
    prompt: String,
    completion: String,
    request: String,
    input_cache_read: String,
    input_cache_write: String,
    image: &'static str,
}

/// What a million tokens cost, in msats at the present BTC price.
#[derive(Debug, Serialize, ToSchema)]
struct MsatsPriceBody {
    prompt: u64,
    completion: u64,
    input_cache_read: u64,
    input_cache_write: u64,
    /// What a request costs besides its tokens.
    request: u64,
}

/// What goes into a model and what comes out of it: OpenRouter's form.
#[derive(Debug, Serialize, ToSchema)]
struct ArchitectureBody {
    modality: &'static str,
    input_modalities: &'static [&'static str],
    output_modalities: &'static [&'static str],
}

const EMBEDDINGS: ArchitectureBody = ArchitectureBody {
    modality: "text->embeddings",
    input_modalities: &["text"],
    output_modalities: &["embeddings"],
};

/// A model, with the fields of OpenAI's, OpenRouter's and Anthropic's lists at once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AiModelBody {
    /// The name to send as `model`.
    id: String,
    /// `model`
    object: &'static str,
    /// `model`
    r#type: &'static str,
    created: u32,
    created_at: &'static str,
    owned_by: String,
    name: String,
    display_name: String,
    /// The context window, input and output together, in tokens; of an embedding model, the most that one input may have.
    context_length: u64,
    /// The most output, in tokens; 0 of an embedding model.
    max_output_tokens: u64,
    supported_parameters: &'static [&'static str],
    /// What goes in and what comes out, of a model that is not for chats: OpenRouter's form. Clients offer no model for chats whose output
    /// is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    architecture: Option<ArchitectureBody>,
    /// Dollars for each token, with the margin.
    pricing: TokenPriceBody,
    /// Msats for a million tokens, with the margin.
    pricing_msats: MsatsPriceBody,
}

const SUPPORTED: &[&str] = &[
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "structured_outputs",
    "reasoning_effort",
];

const SUPPORTED_OF_EMBEDDINGS: &[&str] = &["dimensions", "encoding_format"];

/// The price of one token, of a price for a million: an exact decimal.
fn per_token(per_million: UsdMicros) -> String {
    // Micro-dollars for a million tokens are picodollars for one.
    let digits = format!("{:013}", per_million.get());
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(12));
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

impl From<&OfferedModel> for AiModelBody {
    fn from(model: &OfferedModel) -> Self {
        let (supported_parameters, architecture) = match model.purpose {
            Purpose::Chat => (SUPPORTED, None),
            Purpose::Embeddings => (SUPPORTED_OF_EMBEDDINGS, Some(EMBEDDINGS)),
        };
        Self {
            id: model.name.clone(),
            object: "model",
            r#type: "model",
            created: 0,
            created_at: "1970-01-01T00:00:00Z",
            owned_by: model.vendor.clone(),
            name: model.name.clone(),
            display_name: model.name.clone(),
            context_length: model.context_tokens,
            max_output_tokens: model.max_output_tokens,
            supported_parameters,
            architecture,
            pricing: TokenPriceBody {
                prompt: per_token(model.input.usd),
                completion: per_token(model.output.usd),
                request: model.request.usd.to_string(),
                input_cache_read: per_token(model.cached_input.usd),
                input_cache_write: per_token(model.cache_write.usd),
                image: "0",
            },
            pricing_msats: MsatsPriceBody {
                prompt: model.input.msats.get(),
                completion: model.output.msats.get(),
                input_cache_read: model.cached_input.msats.get(),
                input_cache_write: model.cache_write.msats.get(),
                request: model.request.msats.get(),
            },
        }
    }
}

/// The models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AiModelListBody {
    /// `list`
    object: &'static str,
    data: Vec<AiModelBody>,
    has_more: bool,
    first_id: Option<String>,
    last_id: Option<String>,
}

impl AiModelListBody {
    /// All models.
    pub(crate) fn of(data: Vec<AiModelBody>) -> Self {
        let id = |model: &AiModelBody| model.id.clone();
        let (first_id, last_id) = (data.first().map(id), data.last().map(id));
        Self { object: "list", data, has_more: false, first_id, last_id }
    }
}

/// The balance of a session, in OpenRouter's form.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AiCreditsBody {
    data: CreditsData,
}

#[derive(Debug, Serialize, ToSchema)]
struct CreditsData {
    /// What was paid in, in dollars.
    #[schema(value_type = f64)]
    total_credits: Decimal,
    /// What was spent, in dollars.
    #[schema(value_type = f64)]
    total_usage: Decimal,
    total_credits_msats: u64,
    total_usage_msats: u64,
    /// What is left, with what running requests may cost, in msats.
    balance_msats: u64,
    /// What running requests may cost, in msats.
    held_msats: u64,
}

impl AiCreditsBody {
    pub(crate) fn new(view: &SessionView, btc: BtcPrice) -> Result<Self, MoneyError> {
        let spent = view.session.spent(view.balance);
        let paid = view.balance.checked_add(spent)?;
        let data = CreditsData {
            total_credits: btc.value_rounding_up(paid)?.into(),
            total_usage: btc.value_rounding_up(spent)?.into(),
            total_credits_msats: paid.get(),
            total_usage_msats: spent.get(),
            balance_msats: view.balance.get(),
            held_msats: view.held.get(),
        };
        Ok(Self { data })
    }
}

/// A key, in OpenRouter's form.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AiKeyBody {
    data: KeyData,
}

#[derive(Debug, Serialize, ToSchema)]
struct KeyData {
    label: String,
    /// The most that may be spent with this key in all, in dollars; `null` without such a limit.
    #[schema(value_type = Option<f64>)]
    limit: Option<Decimal>,
    /// What may still be spent with it, in dollars.
    #[schema(value_type = f64)]
    limit_remaining: Decimal,
    /// What was spent with it, in dollars.
    #[schema(value_type = f64)]
    usage: Decimal,
    is_free_tier: bool,
    limit_msats: Option<u64>,
    limit_remaining_msats: u64,
    usage_msats: u64,
    /// When the key expires; `null` if it does not.
    expires_at: Option<String>,
    /// The models that it is for; `null` means all.
    models: Option<Vec<String>>,
}

impl AiKeyBody {
    /// A key of a session. `keys` are those of the session that were used.
    pub(crate) fn new(
        access: &SessionAccess,
        view: &SessionView,
        keys: &[SessionKey],
        btc: BtcPrice,
    ) -> Result<Self, MoneyError> {
        let spent_with = |id| keys.iter().find(|key| key.id == id).map_or(Msats::ZERO, |key| key.usage.spent);
        let mut remaining = view.balance.saturating_sub(view.held);
        let mut limit: Option<Msats> = None;
        for key in &access.keys {
            if let Some(Limit::Total(most)) = key.limit {
                limit = Some(limit.map_or(most, |least| least.min(most)));
                remaining = remaining.min(most.saturating_sub(spent_with(key.id)));
            }
        }
        let usage = match access.keys.last() {
            Some(key) => spent_with(key.id),
            None => view.session.spent(view.balance),
        };
        let label = access.keys.last().map_or_else(|| "owner".to_owned(), |key| key.id.to_string());
        let data = KeyData {
            label,
            limit: limit.map(|limit| btc.value_rounding_up(limit)).transpose()?.map(Decimal::from),
            limit_remaining: btc.value_rounding_up(remaining)?.into(),
            usage: btc.value_rounding_up(usage)?.into(),
            is_free_tier: false,
            limit_msats: limit.map(Msats::get),
            limit_remaining_msats: remaining.get(),
            usage_msats: usage.get(),
            expires_at: access.expires_at.map(|at| at.to_string()),
            models: access.models.as_ref().map(|models| models.iter().cloned().collect()),
        };
        Ok(Self { data })
    }
}

/// What a request used and cost, in OpenRouter's form.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GenerationBody {
    data: GenerationData,
}

#[derive(Debug, Serialize, ToSchema)]
struct GenerationData {
    id: String,
    model: String,
    /// `running`, `complete`, `rejected` or `failed`
    state: &'static str,
    created_at: String,
    finish_reason: Option<&'static str>,
    /// The name of the backend that did the work; `null` if the operator has named none.
    provider_name: Option<String>,
    /// All input tokens.
    tokens_prompt: u64,
    /// All output tokens, reasoning included.
    tokens_completion: u64,
    native_tokens_cached: u64,
    native_tokens_cache_write: u64,
    native_tokens_reasoning: u64,
    /// Whether the tokens were counted here, because the backend reported none.
    estimated: bool,
    /// What it cost, in dollars at the present BTC price.
    #[schema(value_type = f64)]
    total_cost: Decimal,
    cost_msats: u64,
    charged_msats: u64,
    absorbed_msats: u64,
}

impl GenerationBody {
    pub(crate) fn new(request: &SessionRequest, btc: BtcPrice) -> Result<Self, MoneyError> {
        let result = match &request.state {
            RequestState::Complete { result, .. } => Some(result),
            _ => None,
        };
        let usage = result.map(|result| result.usage).unwrap_or_default();
        let ended = request.cost();
        let cost = ended.map_or(Msats::ZERO, |ended| ended.cost);
        let data = GenerationData {
            id: request.id.to_string(),
            model: request.model.clone(),
            state: request.state_name().as_str(),
            created_at: request.created_at.to_string(),
            finish_reason: result.map(|result| result.finish.as_str()),
            provider_name: result.and_then(|result| result.backend.as_deref()).map(str::to_owned),
            tokens_prompt: usage.input_tokens,
            tokens_completion: usage.output_tokens,
            native_tokens_cached: usage.cached_input_tokens,
            native_tokens_cache_write: usage.cache_write_tokens.saturating_add(usage.cache_write_1h_tokens),
            native_tokens_reasoning: usage.reasoning_tokens,
            estimated: result.is_some_and(|result| result.estimated),
            total_cost: btc.value_rounding_up(cost)?.into(),
            cost_msats: cost.get(),
            charged_msats: ended.map_or(0, |ended| ended.charged.get()),
            absorbed_msats: ended.map_or(0, |ended| ended.absorbed.get()),
        };
        Ok(Self { data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_of_a_token_is_exact() {
        let per_token = |dollars: &str| per_token(UsdMicros::parse(dollars).unwrap());
        assert_eq!(per_token("3"), "0.000003");
        assert_eq!(per_token("0.15"), "0.00000015");
        assert_eq!(per_token("0.000001"), "0.000000000001");
        assert_eq!(per_token("2500000"), "2.5");
        assert_eq!(per_token("0"), "0");
    }
}
