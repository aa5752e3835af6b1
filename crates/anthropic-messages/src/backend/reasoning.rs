//! How much the model of a translated chat is to reason.

use super::request::{BackendRequest, EffortStyle};
use tithe_chat::{Chat, Effort, Part, Role, ToolChoice};

/// What a request says about reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// `output_config.effort`
    pub(super) effort: Option<&'static str>,
    /// `thinking`
    pub(super) thinking: Option<Thinking>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking {
    Adaptive,
    /// So many tokens at most.
    Budget(u64),
}

/// The least budget that Anthropic takes, in tokens.
const BUDGET_MIN: u64 = 1_024;

impl Plan {
    pub(super) fn new(chat: &Chat, request: &BackendRequest<'_>) -> Self {
        let Some(effort) = chat.effort.filter(|effort| *effort != Effort::None) else {
            return Self::default();
        };
        // Anthropic refuses to think before a call that it is forced to make.
        let is_forced =
            !chat.tools.is_empty() && matches!(chat.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
        match request.effort {
            EffortStyle::Omit => Self::default(),
            EffortStyle::Adaptive => {
                Self { effort: Some(name(effort)), thinking: (!is_forced).then_some(Thinking::Adaptive) }
            }
            EffortStyle::Budget if is_forced || has_unthought_calls(chat) => Self::default(),
            EffortStyle::Budget => {
                // A quarter of the output is left for the answer itself.
                let most = request.max_output_tokens - request.max_output_tokens.div_ceil(4);
                let budget = budget(effort).min(most);
                let thinking = (budget >= BUDGET_MIN).then_some(Thinking::Budget(budget));
                Self { effort: None, thinking }
            }
        }
    }
}

const fn name(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Max => "max",
    }
}

const fn budget(effort: Effort) -> u64 {
    match effort {
        Effort::None | Effort::Minimal => BUDGET_MIN,
        Effort::Low => 2_048,
        Effort::Medium => 8_192,
        Effort::High => 24_576,
        Effort::Max => 49_152,
    }
}

/// With a budget for thinking, Anthropic demands that earlier calls come with the thinking before them.
fn has_unthought_calls(chat: &Chat) -> bool {
    chat.messages.iter().filter(|message| message.role == Role::Assistant).any(|message| {
        let is_call = |part: &Part| matches!(part, Part::ToolCall(_));
        let is_signed = |part: &Part| matches!(part, Part::Reasoning(it) if it.signature.is_some());
        message.parts.iter().any(is_call) && !message.parts.iter().any(is_signed)
    })
}
