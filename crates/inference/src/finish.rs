//! Why an answer ended, in the words of many servers.

use tithe_chat::Finish;

/// The reason of this name. An empty name, which some servers send while they generate, is none.
pub(crate) fn reason(name: &str) -> Option<Finish> {
    Some(match name.to_ascii_lowercase().as_str() {
        "" | "null" => return None,
        "stop" | "end_turn" | "stop_sequence" | "eos" | "eos_token" | "complete" | "completed" => Finish::Stop,
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
pub(crate) fn is_failure(name: &str) -> bool {
    ["error", "abort", "insufficient_system_resource", "network_error"]
        .contains(&name.to_ascii_lowercase().as_str())
}
