//! A backend whose streams are as odd as those of real servers, which clients break on; Tithe's own streams are not.

use crate::program::python;
use crate::shop::Shop;
use serde_json::json;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// A stream: what it is called, what a client makes of it (`text`: "Hello there."; `call`: of `weather` in Rome; `length`: "Hello" and
/// no more; `failure`), and its bytes.
struct Odd {
    name: &'static str,
    becomes: &'static str,
    body: &'static str,
}

const ODD: &[Odd] = &[
    Odd {
        name: "comments and named events",
        becomes: "text",
        body: concat!(
            ": OPENROUTER PROCESSING\n\n: keepalive\n\nid: 7\nretry: 3000\nevent: message\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",",
            "\"content\":\"Hello\"}}]}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n: keepalive\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":",
            "\" there.\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        ),
    },
    Odd {
        name: "frames without JSON or without choices",
        becomes: "text",
        body: concat!(
            "data: null\n\ndata:\n\ndata: : keepalive\n\ndata: {\"choices\":null}\n\ndata: {\"id\":\"\",\"choices\":[],\"prompt_filter_results\":[]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello there.\",\"tool_calls\":[]}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":null,\"finish_reason\":\"stop\"}]}\n\ndata: {\"cost\":0.01,\"balance\":7}\n\ndata: [DONE]\n\n",
        ),
    },
    Odd {
        name: "line ends of two bytes and no space",
        becomes: "text",
        body: concat!(
            "data:{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":\"\"}]}\r\n\r\n",
            "data:{\"choices\":[{\"index\":0,\"delta\":{\"content\":\" there.\"},\"finish_reason\":\"stop\"}]}\r\n\r\ndata:[DONE]\r\n\r\n",
        ),
    },
    Odd {
        name: "no done and usage with the last text",
        becomes: "text",
        body: concat!(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}],\"usage\":null}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" there.\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,",
            "\"completion_tokens\":3,\"total_tokens\":12}}\n\n",
        ),
    },
    Odd {
        name: "done without a reason",
        becomes: "text",
        body: "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello there.\"}}]}\n\ndata: [DONE]\n\n",
    },
    Odd {
        name: "usage in every frame",
        becomes: "text",
        body: concat!(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":10}}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" there.\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,",
            "\"completion_tokens\":3,\"total_tokens\":12}}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\ndata: [DONE]\n\n",
        ),
    },
    Odd {
        name: "reasoning under another name",
        becomes: "text",
        body: concat!(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,\"reasoning\":\"Hm.\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello there.\",\"reasoning_content\":null}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        ),
    },
    Odd {
        name: "a call without an index and a stop for a reason",
        becomes: "call",
        body: concat!(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":",
            "\"weather\",\"arguments\":\"\"}}]}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"id\":null,\"function\":{\"name\":null,\"arguments\":",
            "\"{\\\"city\\\":\"}}]}}]}\n\ndata: {\"choices\":[],\"usage\":null}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":",
            "\"\\\"Rome\\\"}\"}}]}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        ),
    },
    Odd {
        name: "a call whose arguments are an object",
        becomes: "call",
        body: concat!(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"weather\",\"arguments\":{\"city\":\"Rome\"}}}]},",
            "\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n",
        ),
    },
    Odd {
        name: "a length",
        becomes: "length",
        body: "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n",
    },
    Odd {
        name: "an end in the middle",
        becomes: "failure",
        body: "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n",
    },
    Odd {
        name: "an error in the middle",
        becomes: "failure",
        body: concat!(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n",
            "data: {\"error\":{\"message\":\"Provider returned error\",\"code\":502},\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
        ),
    },
];

/// Answers a request with the stream that its prompt names, and others, such as a probe, with a plain answer.
fn answer(request: &Request) -> ResponseTemplate {
    let asked = String::from_utf8_lossy(&request.body).into_owned();
    match ODD.iter().find(|odd| asked.contains(&format!("<{}>", odd.name))) {
        Some(odd) => ResponseTemplate::new(200).set_body_raw(odd.body, "text/event-stream"),
        None => ResponseTemplate::new(200).set_body_json(json!({
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Yes." }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 },
        })),
    }
}

pub(crate) async fn become_plain_ones() {
    let backend = MockServer::start().await;
    Mock::given(method("POST")).and(path("/v1/chat/completions")).respond_with(answer).mount(&backend).await;
    let shop = Shop::open(&[
        ("TITHE_INFERENCE", "openai"),
        ("TITHE_INFERENCE_URL", &format!("{}/v1", backend.uri())),
        ("TITHE_INFERENCE_API_KEY", "sk-right"),
        ("TITHE_EVAL_MODEL", "sim-small"),
        ("TITHE_WORK_MODEL", "sim-large"),
    ])
    .await;
    let cases: Vec<_> = ODD.iter().map(|odd| json!({ "name": odd.name, "becomes": odd.becomes })).collect();
    let mut script = python("odd_streams_client.py");
    script.env("ODD_STREAMS", json!(cases).to_string());
    let printed = shop.run(script);
    assert!(printed.contains(" are served"), "{printed}");
    shop.close().await;
}
