//! Chats of other APIs, translated.

use super::reasoning::{Plan, Thinking};
use super::request::{BackendRequest, SamplingStyle};
use crate::json;
use serde::Deserialize;
use serde_json::value::RawValue;
use tithe_chat::{Chat, Image, Part, ReplyFormat, Role, Tool, ToolChoice, ToolResult};

/// Consecutive messages of one role.
struct Turn<'a> {
    is_user: bool,
    parts: Vec<&'a Part>,
}

/// Appends a chat of another API as a request of this one.
pub(super) fn encode(out: &mut Vec<u8>, chat: &Chat, request: &BackendRequest<'_>) {
    let plan = Plan::new(chat, request);
    out.extend_from_slice(b"{\"model\":");
    json::string(out, request.model);
    out.extend_from_slice(b",\"max_tokens\":");
    json::number(out, request.max_output_tokens);
    out.extend_from_slice(if request.stream { b",\"stream\":true" } else { b",\"stream\":false" });
    messages(out, chat);
    sampling(out, chat, request, plan);
    if !chat.tools.is_empty() {
        tools(out, &chat.tools);
        tool_choice(out, &chat.tool_choice, chat.parallel_tool_calls);
    }
    output(out, chat, plan);
    out.push(b'}');
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Whether this API can say a part in a turn. It refuses blank texts, and reasoning that it has not signed.
fn can_be_said(part: &Part, is_user: bool) -> bool {
    match part {
        Part::Text(text) => !is_blank(text),
        Part::Image(_) | Part::ToolResult(_) => is_user,
        Part::Reasoning(reasoning) => !is_user && reasoning.signature.is_some(),
        Part::ToolCall(_) => !is_user,
    }
}

/// The turns of the user and the model by turns: this API takes no two of one role in a row, and the results of functions first.
fn turns(chat: &Chat) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for message in chat.messages.iter().filter(|message| message.role != Role::System) {
        let is_user = message.role == Role::User;
        for part in message.parts.iter().filter(|part| can_be_said(part, is_user)) {
            match turns.last_mut() {
                Some(turn) if turn.is_user == is_user => turn.parts.push(part),
                _ => turns.push(Turn { is_user, parts: vec![part] }),
            }
        }
    }
    for turn in &mut turns {
        turn.parts.sort_by_key(|part| !matches!(part, Part::ToolResult(_)));
    }
    turns
}

/// Instructions, wherever they are in the chat, are one text of their own; so is the form of the answer, where the API cannot demand
/// it.
fn system(chat: &Chat) -> String {
    let instructions = chat.messages.iter().filter(|message| message.role == Role::System);
    let texts = instructions.flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::Text(text) if !is_blank(text) => Some(text.as_str()),
        _ => None,
    });
    let mut system = texts.collect::<Vec<_>>().join("\n\n");
    let form = match &chat.format {
        ReplyFormat::Text => return system,
        ReplyFormat::Json => "Answer with one JSON object, and nothing before or after it.".to_owned(),
        ReplyFormat::Schema(schema) if schema.strict == Some(true) => return system,
        ReplyFormat::Schema(schema) => format!(
            "Answer with JSON that fits this JSON schema, and nothing before or after it:\n{}",
            schema.schema.get()
        ),
    };
    if !system.is_empty() {
        system.push_str("\n\n");
    }
    system.push_str(&form);
    system
}

fn messages(out: &mut Vec<u8>, chat: &Chat) {
    let turns = turns(chat);
    let system = system(chat);
    if turns.is_empty() && !system.is_empty() {
        // The API demands a message; a chat of instructions alone is one.
        out.extend_from_slice(b",\"messages\":[{\"role\":\"user\",\"content\":");
        json::string(out, &system);
        out.extend_from_slice(b"}]");
        return;
    }
    if !system.is_empty() {
        out.extend_from_slice(b",\"system\":");
        json::string(out, &system);
    }
    out.extend_from_slice(b",\"messages\":[");
    let last = turns.len().saturating_sub(1);
    let mut is_first = true;
    for (index, turn) in turns.iter().enumerate() {
        json::comma(out, &mut is_first);
        out.extend_from_slice(if turn.is_user {
            b"{\"role\":\"user\",\"content\":".as_slice()
        } else {
            b"{\"role\":\"assistant\",\"content\":".as_slice()
        });
        // The API refuses an answer that it is to continue and that ends in blanks.
        let is_continued = !turn.is_user && index == last;
        content(out, &turn.parts, is_continued);
        out.push(b'}');
    }
    out.push(b']');
}

fn content(out: &mut Vec<u8>, parts: &[&Part], is_continued: bool) {
    let said = |text: &'_ str| if is_continued { text.trim_end().to_owned() } else { text.to_owned() };
    if let [Part::Text(text)] = parts {
        json::string(out, &said(text));
        return;
    }
    out.push(b'[');
    let mut is_first = true;
    for part in parts {
        json::comma(out, &mut is_first);
        match part {
            Part::Text(text) => self::text(out, &said(text)),
            part => block(out, part),
        }
    }
    out.push(b']');
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
    json::string(out, text);
    out.push(b'}');
}

fn image(out: &mut Vec<u8>, image: &Image) {
    out.extend_from_slice(b"{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":");
    json::string(out, image.kind.media_type());
    out.extend_from_slice(b",\"data\":");
    json::string(out, &image.base64);
    out.extend_from_slice(b"}}");
}

fn block(out: &mut Vec<u8>, part: &Part) {
    match part {
        Part::Text(text) => self::text(out, text),
        Part::Image(image) => self::image(out, image),
        Part::Reasoning(reasoning) => {
            let signature = reasoning.signature.as_deref().unwrap_or_default();
            if reasoning.is_redacted {
                out.extend_from_slice(b"{\"type\":\"redacted_thinking\",\"data\":");
            } else {
                out.extend_from_slice(b"{\"type\":\"thinking\",\"thinking\":");
                json::string(out, &reasoning.text);
                out.extend_from_slice(b",\"signature\":");
            }
            json::string(out, signature);
            out.push(b'}');
        }
        Part::ToolCall(call) => {
            out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":");
            json::string(out, &call_id(&call.id));
            out.extend_from_slice(b",\"name\":");
            json::string(out, &call.name);
            out.extend_from_slice(b",\"input\":");
            json::arguments(out, &call.arguments);
            out.push(b'}');
        }
        Part::ToolResult(result) => tool_result(out, result),
    }
}

fn tool_result(out: &mut Vec<u8>, result: &ToolResult) {
    out.extend_from_slice(b"{\"type\":\"tool_result\",\"tool_use_id\":");
    json::string(out, &call_id(&result.call));
    let is_content =
        |part: &&Part| matches!(part, Part::Image(_)) || matches!(part, Part::Text(text) if !is_blank(text));
    let parts: Vec<&Part> = result.parts.iter().filter(is_content).collect();
    if !parts.is_empty() {
        out.extend_from_slice(b",\"content\":");
        content(out, &parts, false);
    }
    if result.is_error {
        out.extend_from_slice(b",\"is_error\":true");
    }
    out.push(b'}');
}

/// The API takes ids of letters, digits, `_` and `-` only.
fn call_id(id: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    let id: String = id.chars().map(|character| if is_plain(character) { character } else { '_' }).collect();
    if id.is_empty() { "_".to_owned() } else { id }
}

/// The API's temperatures end at 1, its models think at their own temperature only, and newer ones take either a temperature or
/// `top_p`.
fn sampling(out: &mut Vec<u8>, chat: &Chat, request: &BackendRequest<'_>, plan: Plan) {
    let zero = request.is_at_zero_temperature().then_some(0.0);
    let is_sent = plan.thinking.is_none() && request.sampling == SamplingStyle::Send;
    let temperature = chat.sampling.temperature.filter(|it| is_sent && it.is_finite()).or(zero);
    if let Some(temperature) = temperature {
        number(out, "temperature", temperature.clamp(0.0, 1.0));
    } else if let Some(top_p) = chat.sampling.top_p.filter(|it| is_sent && it.is_finite()) {
        number(out, "top_p", top_p.clamp(0.0, 1.0));
    }
    let mut is_first = true;
    for stop in chat.sampling.stop.iter().filter(|stop| !is_blank(stop)) {
        if is_first {
            out.extend_from_slice(b",\"stop_sequences\":[");
        }
        json::comma(out, &mut is_first);
        json::string(out, stop);
    }
    if !is_first {
        out.push(b']');
    }
}

fn number(out: &mut Vec<u8>, name: &str, number: f64) {
    out.push(b',');
    json::string(out, name);
    out.push(b':');
    // Zero and one without a fraction, as people write them.
    _ = if number == 0.0 { serde_json::to_writer(out, &0) } else { serde_json::to_writer(out, &number) };
}

/// `strict` is left out: most schemas that other APIs take are not of the kind that this one can follow exactly, and it refuses those.
fn tools(out: &mut Vec<u8>, tools: &[Tool]) {
    out.extend_from_slice(b",\"tools\":[");
    let mut is_first = true;
    for tool in tools {
        json::comma(out, &mut is_first);
        out.extend_from_slice(b"{\"name\":");
        json::string(out, &tool.name);
        if let Some(description) = &tool.description {
            out.extend_from_slice(b",\"description\":");
            json::string(out, description);
        }
        out.extend_from_slice(b",\"input_schema\":");
        input_schema(out, tool.parameters.as_deref());
        out.push(b'}');
    }
    out.push(b']');
}

#[derive(Deserialize)]
struct SchemaType<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a RawValue>,
}

/// The API demands a schema of type `object`.
fn input_schema(out: &mut Vec<u8>, parameters: Option<&RawValue>) {
    let inner = parameters.and_then(|schema| schema.get().strip_prefix('{')).map(str::trim_start);
    match (parameters, inner) {
        (Some(schema), Some(inner)) if inner != "}" => {
            let kind = SchemaType::deserialize(schema).ok().and_then(|schema| schema.kind);
            if kind.is_some() {
                out.extend_from_slice(schema.get().as_bytes());
            } else {
                out.extend_from_slice(b"{\"type\":\"object\",");
                out.extend_from_slice(inner.as_bytes());
            }
        }
        _ => out.extend_from_slice(b"{\"type\":\"object\",\"properties\":{}}"),
    }
}

fn tool_choice(out: &mut Vec<u8>, choice: &ToolChoice, parallel: Option<bool>) {
    let kind = match choice {
        ToolChoice::Auto if parallel != Some(false) => return,
        ToolChoice::Auto => "auto",
        ToolChoice::None => "none",
        ToolChoice::Required => "any",
        ToolChoice::Named(_) => "tool",
    };
    out.extend_from_slice(b",\"tool_choice\":{\"type\":");
    json::string(out, kind);
    if let ToolChoice::Named(name) = choice {
        out.extend_from_slice(b",\"name\":");
        json::string(out, name);
    }
    if parallel == Some(false) && *choice != ToolChoice::None {
        out.extend_from_slice(b",\"disable_parallel_tool_use\":true");
    }
    out.push(b'}');
}

/// Only a schema that is to be followed exactly is demanded of the API: it takes no others. The rest is asked for in the instructions.
fn output(out: &mut Vec<u8>, chat: &Chat, plan: Plan) {
    let schema = match &chat.format {
        ReplyFormat::Schema(schema) if schema.strict == Some(true) => Some(&schema.schema),
        _ => None,
    };
    if plan.effort.is_some() || schema.is_some() {
        out.extend_from_slice(b",\"output_config\":{");
        let mut is_first = true;
        if let Some(effort) = plan.effort {
            json::comma(out, &mut is_first);
            out.extend_from_slice(b"\"effort\":");
            json::string(out, effort);
        }
        if let Some(schema) = schema {
            json::comma(out, &mut is_first);
            out.extend_from_slice(b"\"format\":{\"type\":\"json_schema\",\"schema\":");
            out.extend_from_slice(schema.get().as_bytes());
            out.push(b'}');
        }
        out.push(b'}');
    }
    match plan.thinking {
        Some(Thinking::Adaptive) => out.extend_from_slice(b",\"thinking\":{\"type\":\"adaptive\"}"),
        Some(Thinking::Budget(tokens)) => {
            out.extend_from_slice(b",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":");
            json::number(out, tokens);
            out.push(b'}');
        }
        None => {}
    }
}
