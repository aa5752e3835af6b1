//! Reading answers of the AI API, as strictly as the strictest client.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An answer, in no API's words.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Read {
    pub(crate) id: String,
    pub(crate) text: String,
    /// Id, name and arguments.
    pub(crate) calls: Vec<(String, String, String)>,
    /// `stop`, `length` or `tool_calls`; empty if the answer has failed.
    pub(crate) finish: String,
    pub(crate) usage: Value,
    /// The error that a stream has ended with.
    pub(crate) error: Value,
}

impl Read {
    pub(crate) fn cost(&self) -> u64 {
        self.usage["cost_msats"].as_u64().unwrap_or_else(|| panic!("no cost in {self:?}"))
    }

    pub(crate) fn absorbed(&self) -> u64 {
        self.usage["absorbed_msats"].as_u64().unwrap_or_else(|| panic!("no absorbed cost in {self:?}"))
    }

    pub(super) fn response(&mut self, body: &Value) {
        self.id = text(&body["id"]);
        assert_eq!((&body["object"], &body["store"]), (&json!("response"), &json!(false)));
        self.usage = body["usage"].clone();
        let mut is_call = false;
        for item in body["output"].as_array().unwrap() {
            match item["type"].as_str().unwrap() {
                "message" => {
                    for part in item["content"].as_array().unwrap() {
                        self.text.push_str(part["text"].as_str().unwrap());
                    }
                }
                "function_call" => {
                    is_call = true;
                    self.calls.push((text(&item["call_id"]), text(&item["name"]), text(&item["arguments"])));
                }
                "reasoning" => {}
                other => panic!("{other}"),
            }
        }
        let finish = match (body["status"].as_str().unwrap(), is_call) {
            ("completed", true) => "tool_calls",
            ("completed", false) => "stop",
            ("incomplete", _) => {
                assert_eq!(body["incomplete_details"]["reason"], "max_output_tokens", "{body}");
                "length"
            }
            ("failed", _) => {
                self.error = body["error"].clone();
                ""
            }
            other => panic!("{other:?}"),
        };
        finish.clone_into(&mut self.finish);
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

pub(super) fn message_finish(reason: &Value) -> String {
    match reason.as_str().unwrap() {
        "end_turn" => "stop",
        "max_tokens" => "length",
        "tool_use" => "tool_calls",
        other => panic!("{other}"),
    }
    .to_owned()
}

/// The events of a stream: name and data. Nothing but whole events may be in it.
pub(crate) fn frames(stream: &str) -> Vec<(Option<String>, String)> {
    let mut frames = Vec::new();
    assert!(stream.is_empty() || stream.ends_with("\n\n"), "{stream:?}");
    for block in stream.split("\n\n").filter(|block| !block.is_empty()) {
        let (mut name, mut data) = (None, None);
        for line in block.lines() {
            if let Some(text) = line.strip_prefix("event: ") {
                assert!(name.replace(text.to_owned()).is_none(), "{block:?}");
            } else if let Some(text) = line.strip_prefix("data: ") {
                assert!(data.replace(text.to_owned()).is_none(), "{block:?}");
            } else {
                panic!("{line:?} is neither an event nor its data");
            }
        }
        frames.push((name, data.unwrap_or_else(|| panic!("{block:?} has no data"))));
    }
    frames
}

/// Reads a stream as a strict client of OpenAI's chat completions does.
pub(super) fn read_chunks(stream: &str) -> Read {
    let mut read = Read::default();
    let frames = frames(stream);
    let (last, chunks) = frames.split_last().unwrap();
    assert_eq!(last, &(None, "[DONE]".to_owned()));
    for (n, (name, data)) in chunks.iter().enumerate() {
        assert_eq!(name, &None, "nothing but chunks");
        let chunk: Value = serde_json::from_str(data).unwrap_or_else(|wrong| panic!("{wrong}: {data}"));
        if chunk.get("error").is_some() {
            assert!(n == chunks.len() - 1 && chunk["error"]["message"].is_string(), "{chunk}");
            read.error = chunk["error"].clone();
            continue;
        }
        assert_eq!(chunk["object"], "chat.completion.chunk");
        let id = text(&chunk["id"]);
        assert!(read.id.is_empty() || read.id == id);
        read.id = id;
        let choices = chunk["choices"].as_array().unwrap();
        if choices.is_empty() {
            // The usage is alone, and the last.
            assert!(n == chunks.len() - 1 && read.usage.is_null(), "{chunk}");
            for count in ["prompt_tokens", "completion_tokens", "total_tokens"] {
                assert!(chunk["usage"][count].is_u64(), "{chunk}");
            }
            read.usage = chunk["usage"].clone();
            continue;
        }
        assert!(chunk["usage"].is_null(), "{chunk}");
        assert!(read.finish.is_empty(), "a chunk after the finish: {chunk}");
        assert_eq!(choices[0]["index"], 0);
        let delta = &choices[0]["delta"];
        read.text.push_str(delta["content"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            if index == read.calls.len() {
                assert_eq!(call["type"], "function");
                read.calls.push((text(&call["id"]), text(&call["function"]["name"]), String::new()));
            }
            read.calls[index].2.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
        }
        choices[0]["finish_reason"].as_str().unwrap_or_default().clone_into(&mut read.finish);
    }
    read
}

/// Reads a stream as Codex does: everything from `type`, the items and the usage from the end.
pub(super) fn read_response_events(stream: &str) -> Read {
    let (mut read, mut deltas, mut items) = (Read::default(), String::new(), Vec::new());
    let frames = frames(stream);
    for (n, (name, data)) in frames.iter().enumerate() {
        let event: Value = serde_json::from_str(data).unwrap_or_else(|wrong| panic!("{wrong}: {data}"));
        assert_eq!(event["type"].as_str(), name.as_deref(), "{event}");
        assert_eq!(event["sequence_number"], n, "{event}");
        match event["type"].as_str().unwrap() {
            "response.created" => {
                assert_eq!(n, 0);
                read.id = text(&event["response"]["id"]);
            }
            "response.output_text.delta" => deltas.push_str(event["delta"].as_str().unwrap()),
            "response.output_item.done" => items.push(event["item"].clone()),
            "response.completed" | "response.incomplete" | "response.failed" => {
                assert_eq!(n, frames.len() - 1, "the end is the last");
                let id = read.id.clone();
                read.response(&event["response"]);
                assert_eq!(id, read.id);
                if read.error.is_null() {
                    let output = event["response"]["output"].as_array().unwrap();
                    // Clients do what a call says as soon as it is done: one that was cut never is.
                    let is_done =
                        |item: &&Value| item["type"] != "function_call" || item["status"] == "completed";
                    assert_eq!(
                        output.iter().filter(is_done).collect::<Vec<_>>(),
                        items.iter().collect::<Vec<_>>()
                    );
                    for count in ["input_tokens", "output_tokens", "total_tokens"] {
                        assert!(read.usage[count].is_u64(), "{event}");
                    }
                    assert_eq!(read.text, deltas);
                }
            }
            _ => {}
        }
    }
    assert!(!read.finish.is_empty() || !read.error.is_null(), "no end: {stream}");
    read.text = deltas;
    read
}

/// Reads a stream as Anthropic's SDK does.
pub(super) fn read_message_events(stream: &str) -> Read {
    let mut read = Read::default();
    let mut blocks: BTreeMap<u64, usize> = BTreeMap::new();
    let frames = frames(stream);
    for (n, (name, data)) in frames.iter().enumerate() {
        let event: Value = serde_json::from_str(data).unwrap_or_else(|wrong| panic!("{wrong}: {data}"));
        assert_eq!(event["type"].as_str(), name.as_deref(), "{event}");
        let is_last = n == frames.len() - 1;
        match event["type"].as_str().unwrap() {
            "message_start" => {
                assert_eq!(n, 0);
                read.id = text(&event["message"]["id"]);
                assert!(event["message"]["usage"]["input_tokens"].as_u64().unwrap() > 0, "{event}");
            }
            "content_block_start" => {
                let block = &event["content_block"];
                if block["type"] == "tool_use" {
                    blocks.insert(event["index"].as_u64().unwrap(), read.calls.len());
                    read.calls.push((text(&block["id"]), text(&block["name"]), String::new()));
                }
            }
            "content_block_delta" => match event["delta"]["type"].as_str().unwrap() {
                "text_delta" => read.text.push_str(event["delta"]["text"].as_str().unwrap()),
                "input_json_delta" => {
                    let call = blocks[&event["index"].as_u64().unwrap()];
                    read.calls[call].2.push_str(event["delta"]["partial_json"].as_str().unwrap());
                }
                "thinking_delta" | "signature_delta" => {}
                other => panic!("{other}"),
            },
            "content_block_stop" | "ping" => {}
            "message_delta" => {
                read.finish = message_finish(&event["delta"]["stop_reason"]);
                read.usage = event["usage"].clone();
            }
            "message_stop" => assert!(is_last && !read.finish.is_empty()),
            "error" => {
                assert!(is_last);
                read.error = event["error"].clone();
            }
            other => panic!("{other}"),
        }
    }
    assert!(!read.finish.is_empty() || !read.error.is_null(), "no end: {stream}");
    read
}
