//! What an answer used and cost, as clients read it.

use serde::Serialize;
use serde_json::value::RawValue;
use tithe_chat::Charge;
use tithe_pricing::Usage;

/// What an answer used and cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// The tokens.
    pub usage: Usage,
    /// What it cost; `None` where nothing is charged by the answer.
    pub charge: Option<Charge>,
}

impl Spent {
    /// Tokens, without a price.
    #[must_use]
    pub const fn of(usage: Usage) -> Self {
        Self { usage, charge: None }
    }

    /// `usage` of a chat completion.
    pub(crate) fn of_chat(&self) -> impl Serialize + use<> {
        let usage = self.usage;
        let writes = usage.cache_write_tokens.saturating_add(usage.cache_write_1h_tokens);
        ChatUsage {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cached_input_tokens,
                cache_write_tokens: (writes > 0).then_some(writes),
            },
            completion_tokens_details: CompletionDetails { reasoning_tokens: usage.reasoning_tokens },
            cost: self.cost(),
        }
    }

    /// `usage` of embeddings.
    pub(crate) fn of_embeddings(&self) -> impl Serialize + use<> {
        let prompt_tokens = self.usage.input_tokens;
        EmbeddingsUsage { prompt_tokens, total_tokens: prompt_tokens, cost: self.cost() }
    }

    fn cost(&self) -> Option<Cost> {
        self.charge.map(|charge| Cost {
            // A decimal as it is: no float holds money.
            cost: RawValue::from_string(charge.usd.to_string()).ok(),
            cost_msats: charge.msats.get(),
            absorbed_msats: charge.absorbed.get(),
        })
    }
}

#[derive(Serialize)]
struct ChatUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
    #[serde(flatten)]
    cost: Option<Cost>,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

#[derive(Serialize)]
struct EmbeddingsUsage {
    prompt_tokens: u64,
    total_tokens: u64,
    #[serde(flatten)]
    cost: Option<Cost>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names on the wire")]
struct Cost {
    cost: Option<Box<RawValue>>,
    cost_msats: u64,
    absorbed_msats: u64,
}
