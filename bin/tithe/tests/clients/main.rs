//! Clients of OpenAI's and Anthropic's APIs, unchanged, as customers of a real server: `just test-clients`.
//!
//! Each script gets the server's URL as `TITHE_URL`, the key of a session with a balance as `TITHE_KEY`, and that of a session that
//! nobody has paid as `TITHE_POOR_KEY`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod agents;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../lightning/merchant.rs"]
mod merchant;
mod odd_streams;
mod page;
mod paywall;
mod program;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../server/mod.rs"]
mod server;
mod shop;

use program::{node, python};
use shop::Shop;

/// The model of `.ci/with-llama`.
const TINY: &str = r#"
    as_of = "2026-11-20"
    source = "made up"
    [[model]]
    name = "tiny"
    vendor = "test"
    context_tokens = 4096
    max_output_tokens = 1024
    default_max_output_tokens = 64
    input_usd = "3"
    cached_input_usd = "0.3"
    output_usd = "15"
    tokenizer = "bytes"
"#;

/// Runs a client's script as a customer of a server of its own, with these settings.
async fn is_served(script: std::process::Command, settings: &[(&str, &str)]) {
    let shop = Shop::open(settings).await;
    let printed = shop.run(script);
    assert!(printed.contains(" is served"), "{printed}");
    shop.close().await;
}

/// Those that are quickly installed, and run in CI.
mod short {
    use super::*;

    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn openai_for_python() {
        is_served(python("openai_client.py"), &[]).await;
    }

    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn openai_for_javascript() {
        is_served(node("openai_client.mjs"), &[]).await;
    }

    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn anthropic_for_python() {
        is_served(python("anthropic_client.py"), &[]).await;
    }

    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn anthropic_for_javascript() {
        is_served(node("anthropic_client.mjs"), &[]).await;
    }

    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn what_an_sdk_sends_again_is_charged_once() {
        is_served(python("retries_client.py"), &[]).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs clients: `just test-clients`"]
    async fn odd_streams_of_a_backend_become_plain_ones() {
        odd_streams::become_plain_ones().await;
    }

    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn codex_completes_its_turns() {
        agents::codex_completes_its_turns().await;
    }

    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn codex_ends_for_lack_of_balance() {
        agents::codex_ends_for_lack_of_balance().await;
    }

    mod pays_for_each_request {
        use super::*;

        #[tokio::test]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn tithe_pay() {
            paywall::tithe_pays().await;
        }

        #[tokio::test]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn fetch_with_l402() {
            paywall::is_served(paywall::of_javascript("fetchWithL402")).await;
        }

        #[tokio::test]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn fetch402() {
            paywall::is_served(paywall::of_javascript("fetch402")).await;
        }

        #[tokio::test]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn l402_for_javascript() {
            paywall::is_served(paywall::of_javascript("l402")).await;
        }

        #[tokio::test]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn mppx() {
            paywall::is_served(paywall::of_javascript("mppx")).await;
        }

        #[tokio::test]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn an_agent_with_mcp() {
            paywall::is_served(paywall::of_javascript("mcp")).await;
        }

        #[tokio::test]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn l402_requests() {
            paywall::is_served(paywall::of_python()).await;
        }
    }

    mod pays_for_each_request_when_it_is_done {
        use super::*;

        #[tokio::test]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn fetch_with_l402() {
            paywall::is_served_first(paywall::of_javascript("fetchWithL402")).await;
        }

        #[tokio::test]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn fetch402() {
            paywall::is_served_first(paywall::of_javascript("fetch402")).await;
        }

        #[tokio::test]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn l402_for_javascript() {
            paywall::is_served_first(paywall::of_javascript("l402")).await;
        }

        #[tokio::test]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn mppx() {
            paywall::is_served_first(paywall::of_javascript("mppx")).await;
        }

        #[tokio::test]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn l402_requests() {
            paywall::is_served_first(paywall::of_python()).await;
        }
    }
}

mod long {
    use super::*;

    mod pays_for_each_request_over_a_channel {
        use super::*;

        #[tokio::test(flavor = "multi_thread")]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn fetch_with_l402() {
            paywall::is_served_over_a_channel(paywall::of_javascript("fetchWithL402")).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn fetch402() {
            paywall::is_served_over_a_channel(paywall::of_javascript("fetch402")).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn l402_for_javascript() {
            paywall::is_served_over_a_channel(paywall::of_javascript("l402")).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn mppx() {
            paywall::is_served_over_a_channel(paywall::of_javascript("mppx")).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn an_agent_with_mcp() {
            paywall::is_served_over_a_channel(paywall::of_javascript("mcp")).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        #[ignore = "needs clients: `just test-paywall`"]
        async fn l402_requests() {
            paywall::is_served_over_a_channel(paywall::of_python()).await;
        }
    }

    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn litellm() {
        is_served(python("litellm_client.py"), &[]).await;
    }

    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn langchain() {
        is_served(python("langchain_client.py"), &[]).await;
    }

    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn ai_sdk() {
        is_served(node("ai_sdk_client.mjs"), &[]).await;
    }

    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn claude_code_ends_for_lack_of_balance() {
        agents::claude_code_ends_for_lack_of_balance().await;
    }

    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn the_page_on_clients_works_as_it_is_written() {
        page::works_as_it_is_written().await;
    }

    /// Only where `TITHE_TEST_LLAMA_URL` names a llama-server: `.ci/with-llama just test-clients`.
    #[tokio::test]
    #[ignore = "needs clients: `just test-clients`"]
    async fn openai_for_python_at_a_real_model() {
        let Ok(url) = std::env::var("TITHE_TEST_LLAMA_URL") else {
            println!("no TITHE_TEST_LLAMA_URL: nothing is tested");
            return;
        };
        let key = std::env::var("TITHE_TEST_LLAMA_KEY").unwrap_or_default();
        let (backend, models) = (format!("{url}/v1"), tempfile::NamedTempFile::new().unwrap());
        std::fs::write(models.path(), TINY).unwrap();
        let settings = [
            ("TITHE_INFERENCE", "openai"),
            ("TITHE_INFERENCE_URL", &*backend),
            ("TITHE_INFERENCE_API_KEY", &*key),
            ("TITHE_MODELS", models.path().to_str().unwrap()),
            ("TITHE_EVAL_MODEL", "tiny"),
            ("TITHE_WORK_MODEL", "tiny"),
        ];
        is_served(python("real_model_client.py"), &settings).await;
    }
}
