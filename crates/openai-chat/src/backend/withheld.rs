//! What a client may not say to a backend.

/// The fields, by the reason.
const WITHHELD: [&[&str]; 8] = [
    // The server decides it.
    &["model", "max_tokens", "max_completion_tokens", "stream", "stream_options"],
    // Other names of the limit, which some servers prefer to the first.
    &["n_predict", "max_new_tokens", "max_output_tokens", "num_predict"],
    // Several answers are generated, and one is shown.
    &["n", "best_of", "use_beam_search"],
    // What is generated and thrown away is charged by the backend beyond the limit.
    &["prediction"],
    // Models and providers at other prices, which routers choose (OpenRouter, LiteLLM), and adapters (SGLang).
    &["models", "route", "fallbacks", "provider", "preset", "custom_llm_provider", "lora_path"],
    // Work of the backend at prices of its own. A request that asks for it is refused, as far as the name is known: these are empty.
    &[
        "web_search_options",
        "search_parameters",
        "enable_search",
        "plugins",
        "audio",
        "modalities",
        "functions",
        "function_call",
    ],
    // Where the backend sends the request on, and with which key (LiteLLM); what it runs, and before whom (vLLM, SGLang).
    &[
        "api_base",
        "base_url",
        "api_key",
        "api_version",
        "extra_headers",
        "user_config",
        "mock_response",
        "kv_transfer_params",
        "bootstrap_host",
        "bootstrap_port",
        "bootstrap_room",
        "custom_logit_processor",
        "priority",
    ],
    // The answer would be kept in the operator's account, together with those of all customers. Metadata is only for such answers.
    &["store", "metadata"],
];

/// Whether the field of this name is not passed on.
pub(crate) fn is_withheld(name: &str) -> bool {
    all().any(|withheld| withheld.eq_ignore_ascii_case(name))
}

/// The names of all fields that are not passed on.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    WITHHELD.iter().flat_map(|names| names.iter().copied())
}
