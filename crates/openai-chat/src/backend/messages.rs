//! Messages of a chat that was spoken in another API.

use crate::reply::WireCall;
use serde::{Serialize, Serializer};
use tithe_chat::{Image, Message, Part, Role, ToolResult};

#[derive(Serialize)]
pub(super) struct WireMessage<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    /// `None` only beside calls.
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(String),
    Parts(Vec<WirePart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WirePart<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    #[serde(serialize_with = "data_url")]
    url: &'a Image,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

fn data_url<S: Serializer>(image: &Image, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("data:{};base64,{}", image.kind, image.base64))
}

/// The messages on the wire.
pub(super) fn messages(messages: &[Message]) -> Vec<WireMessage<'_>> {
    let mut wire = Vec::with_capacity(messages.len());
    for message in messages {
        match message.role {
            Role::System => wire.push(plain("system", content(message.parts.iter()))),
            Role::User => user(&message.parts, &mut wire),
            Role::Assistant => wire.push(assistant(&message.parts)),
        }
    }
    wire
}

const fn plain<'a>(role: &'static str, content: Content<'a>) -> WireMessage<'a> {
    WireMessage { role, tool_call_id: None, content: Some(content), tool_calls: Vec::new() }
}

/// Results of functions come first, as they must follow the calls. They are texts in this API: their images come with what the user
/// says.
fn user<'a>(parts: &'a [Part], wire: &mut Vec<WireMessage<'a>>) {
    let results = || parts.iter().filter_map(as_result);
    for result in results() {
        let texts = result.parts.iter().filter(|part| matches!(part, Part::Text(_)));
        let tool_call_id = Some(result.call.as_str());
        wire.push(WireMessage { tool_call_id, ..plain("tool", content(texts)) });
    }
    let images = results().flat_map(|result| &result.parts).filter(|part| matches!(part, Part::Image(_)));
    let said = parts.iter().filter(|part| as_result(part).is_none());
    let mut said = images.chain(said).peekable();
    if said.peek().is_some() || parts.is_empty() {
        wire.push(plain("user", content(said)));
    }
}

const fn as_result(part: &Part) -> Option<&ToolResult> {
    match part {
        Part::ToolResult(result) => Some(result),
        _ => None,
    }
}

/// What the model has said. Its reasoning is left out: it is the other API's.
fn assistant(parts: &[Part]) -> WireMessage<'_> {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let text: String = texts.collect();
    let calls = parts.iter().filter_map(|part| match part {
        Part::ToolCall(call) => Some(WireCall::of(call)),
        _ => None,
    });
    let tool_calls: Vec<_> = calls.collect();
    let content = (!text.is_empty() || tool_calls.is_empty()).then_some(Content::Text(text));
    WireMessage { role: "assistant", tool_call_id: None, content, tool_calls }
}

/// Texts alone are one string: many servers read nothing else.
fn content<'a>(parts: impl Iterator<Item = &'a Part> + Clone) -> Content<'a> {
    if parts.clone().any(|part| matches!(part, Part::Image(_))) {
        let parts = parts.filter_map(|part| match part {
            Part::Text(text) => Some(WirePart::Text { text }),
            Part::Image(image) => {
                let image_url = ImageUrl { url: image, detail: image.detail.as_deref() };
                Some(WirePart::ImageUrl { image_url })
            }
            _ => None,
        });
        return Content::Parts(parts.collect());
    }
    let texts = parts.filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    });
    Content::Text(texts.collect::<Vec<_>>().join("\n\n"))
}
