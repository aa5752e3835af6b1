//! Answers: streams, whole ones, and that both are the same.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test fails; the exemption for tests does not reach their helpers"
)]

use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tithe_chat::{Charge, Delta, Finish, ReplyBuilder};
use tithe_money::{Msats, UsdMicros};
use tithe_openai_responses::{
    Encoder, FailureCode, KEEP_ALIVE, Outcome, ResponseHead, ResponsesRequest, write_response,
};
use tithe_pricing::Usage;

fn head() -> ResponseHead {
    let request = ResponsesRequest::decode(include_bytes!("requests/codex_first_turn.json")).unwrap();
    ResponseHead::new("resp_68af", 1_800_000_000, &request)
}

fn outcome(finish: Finish) -> Outcome {
    Outcome {
        finish,
        usage: Usage {
            input_tokens: 100,
            cached_input_tokens: 60,
            cache_write_tokens: 10,
            cache_write_1h_tokens: 5,
            output_tokens: 30,
            reasoning_tokens: 12,
        },
        charge: Some(Charge {
            usd: UsdMicros::parse("0.001234").unwrap(),
            msats: Msats::new(1234).unwrap(),
            absorbed: Msats::new(234).unwrap(),
        }),
        completed_at: 1_800_000_009,
    }
}

fn text(text: &str) -> Delta {
    Delta::Text(text.into())
}

fn call(index: usize, name: &str) -> Delta {
    Delta::ToolCall { index, id: format!("call_{index}"), name: name.into() }
}

fn arguments(index: usize, json: &str) -> Delta {
    Delta::Arguments { index, json: json.into() }
}

/// The bytes of a stream.
fn streamed(deltas: &[Delta], finish: Finish) -> String {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(head());
    encoder.start(&mut out);
    for delta in deltas {
        encoder.push(delta, &mut out);
    }
    encoder.finish(&outcome(finish), &mut out);
    assert!(encoder.is_finished());
    String::from_utf8(out).unwrap()
}

/// The data of the events, as a careless reader gets them: one that ends lines wherever Unicode does.
fn events(stream: &str) -> Vec<Value> {
    assert!(stream.ends_with("\n\n"));
    let mut events: Vec<Value> = Vec::new();
    let mut name = None;
    for line in stream.split(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']) {
        match line.split_once(": ") {
            Some(("event", kind)) => name = Some(kind.to_owned()),
            Some(("data", data)) => {
                let data: Value = serde_json::from_str(data).unwrap();
                assert_eq!(data["type"].as_str(), name.take().as_deref(), "{data}");
                assert_eq!(data["sequence_number"], events.len(), "{data}");
                events.push(data);
            }
            Some(("", _)) => {}
            _ => assert_eq!(line, ""),
        }
    }
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn whole(deltas: &[Delta], finish: Finish) -> Value {
    let mut builder = ReplyBuilder::default();
    for delta in deltas {
        builder.push(delta);
    }
    let mut out = Vec::new();
    write_response(&mut out, &head(), &builder.finish(finish), &outcome(finish));
    serde_json::from_slice(&out).unwrap()
}

fn full_answer() -> Vec<Delta> {
    vec![
        Delta::Reasoning("The user wants".into()),
        Delta::Reasoning(" two things.".into()),
        Delta::ReasoningSignature("c2ln".into()),
        Delta::RedactedReasoning("aGlkZGVu".into()),
        text("Let me "),
        text("see."),
        call(0, "shell"),
        arguments(0, "{\"command\":"),
        call(1, "mcp__files__read"),
        arguments(1, "{\"path\":\"a\"}"),
        arguments(0, "[\"ls\"]}"),
    ]
}

#[test]
fn a_whole_stream_is_as_clients_expect_it() {
    insta::assert_snapshot!(streamed(&full_answer(), Finish::ToolCalls));
}

#[test]
fn a_whole_response_is_as_clients_expect_it() {
    insta::assert_json_snapshot!(whole(&full_answer(), Finish::ToolCalls));
}

#[test]
fn a_text_is_one_item_with_one_part() {
    let stream = streamed(&[text("Good "), text("day")], Finish::Stop);
    let events = events(&stream);
    assert_eq!(
        kinds(&events),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    assert_eq!(events[0]["response"]["id"], "resp_68af");
    assert_eq!(events[0]["response"]["status"], "in_progress");
    assert_eq!(events[0]["response"]["usage"], Value::Null);
    assert_eq!(events[9]["response"]["output"][0]["content"][0]["text"], "Good day");
    assert!(!stream.contains("[DONE]"));
}

#[test]
fn the_end_has_the_id_and_all_counts_and_the_cost() {
    let events = events(&streamed(&[text("x")], Finish::Stop));
    let response = &events.last().unwrap()["response"];
    assert_eq!(response["id"], "resp_68af");
    assert_eq!(response["completed_at"], 1_800_000_009);
    assert_eq!(
        response["usage"],
        json!({
            "input_tokens": 100, "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 15},
            "output_tokens": 30, "output_tokens_details": {"reasoning_tokens": 12}, "total_tokens": 130,
            "cost": 0.001_234, "cost_msats": 1234, "absorbed_msats": 234,
        })
    );
}

#[test]
fn an_answer_without_anything_is_complete() {
    let events = events(&streamed(&[], Finish::Stop));
    assert_eq!(kinds(&events), ["response.created", "response.in_progress", "response.completed"]);
    assert_eq!(events[2]["response"]["output"], json!([]));
}

#[test]
fn a_length_stop_is_an_incomplete_response_with_usage() {
    for (finish, reason) in [(Finish::Length, "max_output_tokens"), (Finish::ContentFilter, "content_filter")]
    {
        let events = events(&streamed(&[text("x")], finish));
        let end = events.last().unwrap();
        assert_eq!(end["type"], "response.incomplete");
        assert_eq!(end["response"]["status"], "incomplete");
        assert_eq!(end["response"]["incomplete_details"], json!({ "reason": reason }));
        assert_eq!(end["response"]["usage"]["total_tokens"], 130);
        assert_eq!(end["response"]["output"][0]["status"], "incomplete");
        assert_eq!(end["response"]["completed_at"], Value::Null);
    }
}

#[test]
fn a_failure_is_a_failed_response_and_closes_nothing() {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(head());
    encoder.push(&text("x"), &mut out);
    encoder.fail(FailureCode::ServerError, "the backend failed", &mut out);
    encoder.push(&text("y"), &mut out);
    encoder.finish(&outcome(Finish::Stop), &mut out);
    encoder.fail(FailureCode::InsufficientQuota, "again", &mut out);
    let events = events(&String::from_utf8(out).unwrap());
    assert_eq!(
        kinds(&events),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.failed",
        ]
    );
    let response = &events[5]["response"];
    assert_eq!(response["status"], "failed");
    assert_eq!(response["error"], json!({"code": "server_error", "message": "the backend failed"}));
}

#[test]
fn failures_have_the_codes_that_clients_act_on() {
    let codes = [
        FailureCode::ServerError,
        FailureCode::RateLimitExceeded,
        FailureCode::InsufficientQuota,
        FailureCode::InvalidPrompt,
    ];
    assert_eq!(
        codes.map(FailureCode::as_str),
        ["server_error", "rate_limit_exceeded", "insufficient_quota", "invalid_prompt"]
    );
}

#[test]
fn a_keep_alive_is_a_comment() {
    let stream = format!("{}{}", std::str::from_utf8(KEEP_ALIVE).unwrap(), streamed(&[], Finish::Stop));
    assert!(stream.starts_with(": "));
    assert_eq!(events(&stream).len(), 3);
}

#[test]
fn texts_with_any_line_ends_stay_on_one_line() {
    let all = "a\nb\rc\u{2028}d\u{2029}e\u{85}f\u{b}g\"\\\u{1f600}";
    let events = events(&streamed(&[text(all), call(0, "shell"), arguments(0, all)], Finish::Stop));
    let output = &events.last().unwrap()["response"]["output"];
    assert_eq!(output[0]["content"][0]["text"], all);
    assert_eq!(output[1]["arguments"], all);
}

#[test]
fn parameters_are_repeated_on_one_line_and_hosted_tools_are_not() {
    let response = whole(&[text("x")], Finish::Stop);
    assert_eq!(response["instructions"], "You are a coding agent running in the Codex CLI.\nBe precise.");
    assert_eq!(response["model"], "some/model");
    assert_eq!(response["store"], false);
    assert_eq!(response["background"], false);
    assert_eq!(response["previous_response_id"], Value::Null);
    assert_eq!(response["parallel_tool_calls"], true);
    assert_eq!(response["tool_choice"], "auto");
    assert_eq!(response["reasoning"], json!({"effort": "xhigh", "summary": "auto"}));
    assert_eq!(response["text"], json!({"verbosity": "low"}));
    assert_eq!(response["metadata"], json!({}));
    assert_eq!(response["temperature"], 1.0);
    let tools: Vec<&str> =
        response["tools"].as_array().unwrap().iter().map(|tool| tool["type"].as_str().unwrap()).collect();
    assert_eq!(tools, ["function", "custom", "namespace", "namespace", "tool_search"]);
}

#[test]
fn parameters_of_the_wrong_kind_are_not_repeated() {
    let body =
        br#"{"model":"m","input":"x","metadata":7,"user":[],"max_tool_calls":"x","safety_identifier":{}}"#;
    let request = ResponsesRequest::decode(body).unwrap();
    let mut out = Vec::new();
    let reply = ReplyBuilder::default().finish(Finish::Stop);
    write_response(&mut out, &ResponseHead::new("resp_1", 0, &request), &reply, &outcome(Finish::Stop));
    let response: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(response["metadata"], json!({}));
    for field in ["user", "max_tool_calls", "safety_identifier"] {
        assert_eq!(response[field], Value::Null);
    }
}

#[test]
fn calls_are_given_back_in_the_words_of_the_client() {
    let deltas = [
        call(0, "mcp__files__read"),
        arguments(0, "{}"),
        // Some models leave the namespace out.
        call(1, "wait_agent"),
        arguments(1, "{}"),
        call(2, "apply_patch"),
        arguments(2, "{\"input\": \"*** Begin"),
        arguments(2, " Patch\\n\\u00"),
        arguments(2, "e9\"}"),
        call(3, "unknown"),
        call(4, "tool_search"),
        arguments(4, "{\"query\":"),
        arguments(4, "\"mail\"}"),
        call(5, "tool_search"),
        arguments(5, "mail"),
    ];
    let stream = streamed(&deltas, Finish::ToolCalls);
    let events = events(&stream);
    let items: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| &event["item"])
        .collect();
    assert_eq!(
        json!(items),
        json!([
            {"id": "fc_68af_0", "type": "function_call", "status": "completed", "arguments": "{}", "call_id": "call_0", "name": "read", "namespace": "mcp__files__"},
            {"id": "fc_68af_1", "type": "function_call", "status": "completed", "arguments": "{}", "call_id": "call_1", "name": "wait_agent", "namespace": "collaboration"},
            {"id": "ctc_68af_2", "type": "custom_tool_call", "status": "completed", "input": "*** Begin Patch\né", "call_id": "call_2", "name": "apply_patch"},
            {"id": "fc_68af_3", "type": "function_call", "status": "completed", "arguments": "{}", "call_id": "call_3", "name": "unknown"},
            {"id": "tsc_68af_4", "type": "tool_search_call", "execution": "client", "status": "completed", "call_id": "call_4", "arguments": {"query": "mail"}},
            {"id": "tsc_68af_5", "type": "tool_search_call", "execution": "client", "status": "completed", "call_id": "call_5", "arguments": {}},
        ])
    );
    let written: String = events
        .iter()
        .filter(|event| event["type"] == "response.custom_tool_call_input.delta")
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    assert_eq!(written, "*** Begin Patch\né");
}

#[test]
fn a_call_that_was_cut_off_is_never_closed() {
    let deltas = [
        call(0, "shell"),
        arguments(0, "{\"command\":[]}"),
        call(1, "apply_patch"),
        arguments(1, "{\"input\":\"*** Begin"),
    ];
    let events = events(&streamed(&deltas, Finish::Length));
    let closed: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| &event["output_index"])
        .collect();
    assert_eq!(closed, [0]);
    let output = &events.last().unwrap()["response"]["output"];
    assert_eq!(output[0]["status"], "completed");
    assert_eq!((&output[1]["status"], &output[1]["input"]), (&json!("incomplete"), &json!("*** Begin")));
}

#[test]
fn reasoning_goes_out_and_comes_back() {
    let output = whole(&full_answer(), Finish::ToolCalls)["output"].clone();
    let body = json!({"model": "m", "input": output}).to_string();
    let request = ResponsesRequest::decode(body.as_bytes()).unwrap();
    let mut builder = ReplyBuilder::default();
    for delta in full_answer() {
        builder.push(&delta);
    }
    assert_eq!(request.chat.messages[0].parts, builder.finish(Finish::Stop).parts);
}

/// The items of a stream, put together from its pieces as the SDKs do it.
fn accumulated(events: &[Value]) -> Vec<Value> {
    let mut items: BTreeMap<u64, Value> = BTreeMap::new();
    let mut closed = Vec::new();
    for event in events {
        let kind = event["type"].as_str().unwrap();
        if kind == "response.output_item.added" {
            let before = items.insert(event["output_index"].as_u64().unwrap(), event["item"].clone());
            assert_eq!(before, None);
            continue;
        }
        let Some(place) = event["output_index"].as_u64() else { continue };
        let item = items.get_mut(&place).unwrap();
        assert!(!closed.contains(&place), "{event} after its item was closed");
        if let Some(id) = event.get("item_id") {
            assert_eq!(*id, item["id"]);
        }
        let append = |text: &mut Value, delta: &Value| {
            *text = json!(format!("{}{}", text.as_str().unwrap(), delta.as_str().unwrap()));
        };
        match kind {
            "response.content_part.added" => item["content"] = json!([event["part"]]),
            "response.output_text.delta" => append(&mut item["content"][0]["text"], &event["delta"]),
            "response.output_text.done" => assert_eq!(item["content"][0]["text"], event["text"]),
            "response.content_part.done" => assert_eq!(item["content"][0], event["part"]),
            "response.reasoning_summary_part.added" => item["summary"] = json!([event["part"]]),
            "response.reasoning_summary_text.delta" => {
                append(&mut item["summary"][0]["text"], &event["delta"]);
            }
            "response.reasoning_summary_text.done" => assert_eq!(item["summary"][0]["text"], event["text"]),
            "response.reasoning_summary_part.done" => assert_eq!(item["summary"][0], event["part"]),
            "response.function_call_arguments.delta" => append(&mut item["arguments"], &event["delta"]),
            "response.function_call_arguments.done" => {
                assert_eq!(item["arguments"], event["arguments"]);
                assert_eq!(item["name"], event["name"]);
            }
            "response.custom_tool_call_input.delta" => append(&mut item["input"], &event["delta"]),
            "response.custom_tool_call_input.done" => assert_eq!(item["input"], event["input"]),
            "response.output_item.done" => {
                let done = event["item"].clone();
                // What no piece brings.
                if item["type"] == "tool_search_call" {
                    item["arguments"] = done["arguments"].clone();
                }
                if item["type"] != "reasoning" {
                    item["status"] = done["status"].clone();
                } else if let Some(signature) = done.get("encrypted_content") {
                    item["encrypted_content"] = signature.clone();
                }
                assert_eq!(*item, done);
                closed.push(place);
            }
            other => panic!("unexpected {other}"),
        }
    }
    for (place, item) in &mut items {
        if !closed.contains(place) {
            assert!(item["type"].as_str().unwrap().ends_with("_call"), "{item} is not closed");
            item["status"] = json!("incomplete");
        }
        // No piece brings them, so that a search that was cut off shows none.
        if item["type"] == "tool_search_call" && !closed.contains(place) {
            item["arguments"] = json!({});
        }
    }
    items.into_values().collect()
}

fn any_delta() -> impl Strategy<Value = Delta> {
    let name = prop::sample::select(vec![
        "shell",
        "apply_patch",
        "mcp__files__read",
        "read",
        "other",
        "tool_search",
    ]);
    let json = prop::sample::select(vec![
        "{",
        "{\"input\":\"",
        "a\\n",
        "\\u00e9",
        "\"}",
        "{}",
        "}",
        "é",
        "\u{2028}",
    ]);
    prop_oneof![
        "\\PC{1,5}".prop_map(Delta::Text),
        "\\PC{1,5}".prop_map(Delta::Reasoning),
        "[a-z]{1,3}".prop_map(Delta::ReasoningSignature),
        "[a-z]{1,3}".prop_map(Delta::RedactedReasoning),
        (0usize..3, name).prop_map(|(index, name)| call(index, name)),
        (0usize..4, json.clone()).prop_map(|(index, json)| arguments(index, json)),
        (0usize..4, json).prop_map(|(index, json)| arguments(index, json)),
    ]
}

proptest! {
    #[test]
    fn the_items_of_a_stream_are_those_of_the_whole_answer(
        deltas in prop::collection::vec(any_delta(), 0..25),
        finish in prop::sample::select(vec![Finish::Stop, Finish::Length, Finish::ToolCalls, Finish::ContentFilter, Finish::Other]),
    ) {
        let events = events(&streamed(&deltas, finish));
        let whole = whole(&deltas, finish);
        prop_assert_eq!(&json!(accumulated(&events)), &whole["output"]);
        prop_assert_eq!(&events.last().unwrap()["response"], &whole);
    }

    #[test]
    fn a_stream_may_fail_at_any_point(deltas in prop::collection::vec(any_delta(), 0..12), message in any::<String>()) {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(head());
        for delta in &deltas {
            encoder.push(delta, &mut out);
        }
        encoder.fail(FailureCode::ServerError, &message, &mut out);
        let events = events(&String::from_utf8(out).unwrap());
        let last = events.last().unwrap();
        prop_assert_eq!(&last["type"], "response.failed");
        prop_assert_eq!(last["response"]["error"]["message"].as_str().unwrap(), message);
    }
}
