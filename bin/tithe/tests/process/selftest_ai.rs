//! Faults of the AI API that `tithe selftest` must find.

use crate::selftest::Plant;
use crate::tampering::Asked;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

const CHAT: &str = "POST /v1/chat/completions";
const RESPONSES: &str = "POST /v1/responses";
const MESSAGES: &str = "POST /v1/messages";

fn is_record(asked: &Asked) -> bool {
    asked.line.starts_with("GET /v1/generation")
}

fn is_retry(asked: &Asked) -> bool {
    asked.has_header("x-stainless-retry-count: 1")
}

/// A stream without the event of this name, or one with this text in it.
fn without(stream: &str, text: &str) -> String {
    let kept = stream.split_inclusive("\n\n").filter(|event| !event.contains(text));
    kept.collect()
}

pub(crate) const PLANTS: &[Plant] = &[
    Plant { fault: "nothing", only: "ai-errors", found_by: &[], tamper: |_, _| {} },
    Plant {
        fault: "the price of a model is no text",
        only: "ai-models",
        found_by: &["ai-models"],
        tamper: |asked, answered| {
            if asked.line == "GET /v1/models" {
                answered.edit(|body| body["data"][0]["pricing"]["prompt"] = json!(0.1));
            }
        },
    },
    Plant {
        fault: "a model is missing in the list",
        only: "ai-models",
        found_by: &["ai-models"],
        tamper: |asked, answered| {
            if asked.line == "GET /v1/models" {
                answered.edit(|body| drop(body["data"].as_array_mut().unwrap().pop()));
            }
        },
    },
    Plant {
        fault: "the credits are a msat too many",
        only: "ai-credits",
        found_by: &["ai-credits"],
        tamper: |asked, answered| {
            if asked.line == "GET /v1/credits" && answered.status == 200 {
                answered.add("/data/balance_msats", 1);
            }
        },
    },
    Plant {
        fault: "a narrowed key has no limit",
        only: "ai-key",
        found_by: &["ai-key"],
        tamper: |asked, answered| {
            if asked.line == "GET /v1/key" && answered.status == 200 {
                answered.edit(|body| body["data"]["limit_msats"] = Value::Null);
            }
        },
    },
    Plant {
        fault: "an answer says that it cost a msat more than was charged",
        only: "ai-chat",
        found_by: &["ai-chat"],
        tamper: |asked, answered| {
            if asked.line == CHAT && answered.status == 200 {
                answered.add("/usage/cost_msats", 1);
            }
        },
    },
    Plant {
        fault: "the record says that a request cost a msat more than was charged",
        only: "ai-messages",
        found_by: &["ai-messages"],
        tamper: |asked, answered| {
            if is_record(asked) && answered.status == 200 {
                answered.add("/data/charged_msats", 1);
                answered.add("/data/cost_msats", 1);
            }
        },
    },
    Plant {
        fault: "the record of an answer has other tokens",
        only: "ai-responses",
        found_by: &["ai-responses"],
        tamper: |asked, answered| {
            if is_record(asked) && answered.status == 200 {
                answered.add("/data/tokens_completion", 1);
            }
        },
    },
    Plant {
        fault: "an answer has no record",
        only: "ai-chat",
        found_by: &["ai-chat"],
        tamper: |_, answered| answered.drop_header("x-generation-id"),
    },
    Plant {
        fault: "the answer is of another model than was asked for",
        only: "ai-chat",
        found_by: &["ai-chat"],
        tamper: |asked, answered| {
            if asked.line == CHAT && answered.status == 200 {
                answered.edit(|body| body["model"] = json!("a-cheaper-model"));
            }
        },
    },
    Plant {
        fault: "a stream says its usage unasked",
        only: "ai-chat-stream",
        found_by: &["ai-chat-stream"],
        tamper: |asked, answered| {
            if asked.line == CHAT && answered.status == 200 {
                answered.edit_text(|text| {
                    text.replacen("\"choices\":", "\"usage\":{\"total_tokens\":1},\"choices\":", 1)
                });
            }
        },
    },
    Plant {
        fault: "a stream does not say its usage although it is asked for",
        only: "ai-chat-stream",
        found_by: &["ai-chat-stream"],
        tamper: |asked, answered| {
            if asked.line == CHAT && answered.status == 200 {
                answered.edit_text(|text| without(text, "\"choices\":[]"));
            }
        },
    },
    Plant {
        fault: "a stream of chat completions does not end",
        only: "ai-chat-stream",
        found_by: &["ai-chat-stream"],
        tamper: |asked, answered| {
            if asked.line == CHAT {
                answered.edit_text(|text| without(text, "[DONE]"));
            }
        },
    },
    Plant {
        fault: "a frame of a stream is no chunk",
        only: "ai-chat-stream",
        found_by: &["ai-chat-stream"],
        tamper: |asked, answered| {
            if asked.line == CHAT && answered.status == 200 {
                answered.edit_text(|text| format!("event: receipt\ndata: {{}}\n\n{text}"));
            }
        },
    },
    Plant {
        fault: "a streamed response has no end",
        only: "ai-responses-stream",
        found_by: &["ai-responses-stream"],
        tamper: |asked, answered| {
            if asked.line == RESPONSES {
                answered.edit_text(|text| without(text, "event: response.completed"));
            }
        },
    },
    Plant {
        fault: "an event of a streamed response is lost",
        only: "ai-responses-stream",
        found_by: &["ai-responses-stream"],
        tamper: |asked, answered| {
            if asked.line == RESPONSES {
                answered.edit_text(|text| without(text, "event: response.output_item.done"));
            }
        },
    },
    Plant {
        fault: "a streamed message says another cost than was charged",
        only: "ai-messages-stream",
        found_by: &["ai-messages-stream"],
        tamper: |asked, answered| {
            if asked.line == MESSAGES {
                answered.edit_text(|text| text.replace("\"cost_msats\":", "\"cost_msats\":1"));
            }
        },
    },
    Plant {
        fault: "a block of a streamed message is not closed",
        only: "ai-messages-stream",
        found_by: &["ai-messages-stream"],
        tamper: |asked, answered| {
            if asked.line == MESSAGES {
                answered.edit_text(|text| without(text, "event: content_block_stop"));
            }
        },
    },
    Plant {
        fault: "a function has another name when it is called",
        only: "ai-tools",
        found_by: &["ai-tools"],
        tamper: |asked, answered| {
            if asked.line == RESPONSES {
                answered.edit_text(|text| text.replace("\"name\":\"weather\"", "\"name\":\"whether\""));
            }
        },
    },
    Plant {
        fault: "a key's answer is made anew",
        only: "ai-idempotency-key",
        found_by: &["ai-idempotency-key"],
        tamper: |_, answered| answered.drop_header("idempotency-replayed"),
    },
    Plant {
        fault: "an SDK's repetition is charged again",
        only: "ai-sdk-retry",
        found_by: &["ai-sdk-retry"],
        tamper: |asked, answered| {
            static RETRIED: AtomicBool = AtomicBool::new(false);
            if is_retry(asked) {
                RETRIED.store(true, Ordering::Release);
            }
            if asked.line.starts_with("GET /api/sessions/") && RETRIED.load(Ordering::Acquire) {
                answered.add("/spentMsats", 1);
            }
        },
    },
    Plant {
        fault: "an SDK's repetition gets half of the answer",
        only: "ai-sdk-retry",
        found_by: &["ai-sdk-retry"],
        tamper: |asked, answered| {
            if is_retry(asked) && asked.line == CHAT {
                answered.edit_text(|text| text.replace("simulated answer", "answer"));
            }
        },
    },
    Plant {
        fault: "a msat has gone that no answer has cost",
        only: "ai-money",
        found_by: &["ai-money"],
        tamper: |asked, answered| {
            static CREDITS: AtomicBool = AtomicBool::new(false);
            // What was read first, twice, was right.
            if asked.line == CHAT {
                CREDITS.store(true, Ordering::Release);
            }
            if asked.line == "GET /v1/credits" && CREDITS.load(Ordering::Acquire) {
                answered.edit(|body| {
                    let left = body["data"]["balance_msats"].as_u64().unwrap();
                    body["data"]["balance_msats"] = json!(left - 1);
                });
            }
        },
    },
    Plant {
        fault: "a key for another model is served",
        only: "ai-other-model",
        found_by: &["ai-other-model"],
        tamper: |_, answered| {
            if answered.status == 403 {
                answered.replace(200, &json!({ "object": "chat.completion" }));
            }
        },
    },
    Plant {
        fault: "a 402 makes agents shorten their prompt",
        only: "ai-no-payer",
        found_by: &["ai-no-payer"],
        tamper: |_, answered| {
            if answered.status == 402 {
                answered.edit(|body| {
                    body["error"]["message"] = json!("the balance is too small for this context");
                });
            }
        },
    },
    Plant {
        fault: "a 402 of Anthropic's API has the type of OpenAI's",
        only: "ai-no-payer",
        found_by: &["ai-no-payer"],
        tamper: |asked, answered| {
            if asked.line == MESSAGES && answered.status == 402 {
                answered.edit(|body| body["error"]["type"] = json!("insufficient_quota"));
            }
        },
    },
    Plant {
        fault: "a wrong key is an error of the server",
        only: "ai-wrong-key",
        found_by: &["ai-wrong-key"],
        tamper: |_, answered| {
            if answered.status == 401 {
                answered.replace(500, &json!({ "error": { "message": "oops", "type": "server_error" } }));
            }
        },
    },
    Plant {
        fault: "a refusal does not say which parameter is wrong",
        only: "ai-bad-request",
        found_by: &["ai-bad-request"],
        tamper: |asked, answered| {
            if asked.line == RESPONSES && answered.status == 400 {
                answered.edit(|body| body["error"]["param"] = Value::Null);
            }
        },
    },
    Plant {
        fault: "a request that is refused is charged",
        only: "ai-unknown-model",
        found_by: &["ai-unknown-model"],
        tamper: |asked, answered| {
            static REFUSED: AtomicBool = AtomicBool::new(false);
            if answered.status == 404 {
                REFUSED.store(true, Ordering::Release);
            }
            if asked.line.starts_with("GET /api/sessions/") && REFUSED.load(Ordering::Acquire) {
                answered.add("/heldMsats", 1);
            }
        },
    },
];
