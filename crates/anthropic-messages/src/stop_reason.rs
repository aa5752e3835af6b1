//! Why an answer ended, in Anthropic's words and in those of the many servers that speak its API.

use tithe_chat::Finish;

/// The name of a reason. `calls_tools`: whether the answer has calls of functions. Clients run them only if that is the reason.
pub(crate) const fn name(finish: Finish, calls_tools: bool) -> &'static str {
    match finish {
        Finish::Stop if calls_tools => "tool_use",
        Finish::Stop => "end_turn",
        // There is no name for a reason that is not known: such an answer may not be whole, so it must not look as if it were.
        Finish::Length | Finish::Other => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::ContentFilter => "refusal",
    }
}

/// The reason of this name. An empty name, which some servers send while they generate, is none.
pub(crate) fn parse(name: &str) -> Option<Finish> {
    Some(match name.to_ascii_lowercase().as_str() {
        "" | "null" => return None,
        "stop" | "end_turn" | "stop_sequence" | "eos" | "eos_token" | "complete" | "completed" => {
            Finish::Stop
        }
        "tool_calls" | "function_call" | "tool_use" => Finish::ToolCalls,
        "length" | "max_tokens" | "max_output_tokens" | "model_length" | "model_context_window_exceeded" => {
            Finish::Length
        }
        "content_filter" | "refusal" | "safety" | "recitation" | "blocklist" | "prohibited_content"
        | "sensitive" => Finish::ContentFilter,
        _ => Finish::Other,
    })
}

/// The reason of an answer that is complete and has none.
pub(crate) const fn unstated(calls_tools: bool) -> Finish {
    if calls_tools { Finish::ToolCalls } else { Finish::Stop }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for finish in [Finish::Stop, Finish::Length, Finish::ToolCalls, Finish::ContentFilter] {
            assert_eq!(parse(name(finish, false)), Some(finish));
        }
        assert_eq!(name(Finish::Stop, true), "tool_use");
        assert_eq!(name(Finish::Length, true), "max_tokens");
        assert_eq!(name(Finish::Other, true), "max_tokens", "it may not be whole");
    }
}
