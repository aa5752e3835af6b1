//! Why an answer ended, in the words of many servers.

use tithe_chat::Finish;

/// The reason of this name. An empty name, which some servers send while they generate, is none.
pub(super) fn reason(name: &str) -> Option<Finish> {
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

/// Whether this is a failure of the server, which it reports as the reason.
pub(super) fn is_failure(name: &str) -> bool {
    ["error", "abort", "insufficient_system_resource", "network_error"]
        .contains(&name.to_ascii_lowercase().as_str())
}

/// The reason as it fits to the answer: many servers say `stop` after calls of functions, and an answer that announces calls but has
/// none is not whole.
pub(super) const fn of_answer(finish: Finish, has_calls: bool) -> Finish {
    match (finish, has_calls) {
        (Finish::Stop, true) => Finish::ToolCalls,
        (Finish::ToolCalls, false) => Finish::Other,
        _ => finish,
    }
}
