//! The items of an answer, as they are written.

use crate::custom_input::CustomInput;
use crate::items::REDACTED;
use crate::tools::{ToolKind, ToolNames};
use crate::{field, json};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tithe_chat::{Part, Reply};

/// An item of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    /// The text, the reasoning, the arguments of a function, or the input of a custom tool.
    pub(crate) text: String,
    pub(crate) status: Status,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Message,
    Reasoning { signature: Option<String>, is_redacted: bool },
    Function(Called),
    Custom(Called, CustomInput),
    Search(Called),
}

/// A call: its id, and what the client calls the tool.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    id: String,
    name: String,
    namespace: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    InProgress,
    Completed,
    Incomplete,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
        }
    }
}

impl Item {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, text: String::new(), status: Status::InProgress }
    }

    /// A call of the tool that the model calls `name`.
    pub(crate) fn call(id: &str, name: &str, names: &ToolNames) -> Self {
        let own = names.own(name);
        let called = Called {
            id: id.to_owned(),
            name: own.name.to_owned(),
            namespace: own.namespace.map(str::to_owned),
        };
        Self::new(match own.kind {
            ToolKind::Function => Kind::Function(called),
            ToolKind::Custom => Kind::Custom(called, CustomInput::default()),
            ToolKind::Search => Kind::Search(called),
        })
    }

    /// Writes what the client calls the tool that is called.
    pub(crate) fn write_name(&self, out: &mut Vec<u8>) {
        match &self.kind {
            Kind::Function(called) | Kind::Custom(called, _) | Kind::Search(called) => {
                json::string(out, &called.name);
            }
            Kind::Message | Kind::Reasoning { .. } => json::text(out, "null"),
        }
    }

    /// What ids of such items begin with.
    const fn prefix(&self) -> &'static str {
        match self.kind {
            Kind::Message => "msg_",
            Kind::Reasoning { .. } => "rs_",
            Kind::Function(_) => "fc_",
            Kind::Custom(..) => "ctc_",
            Kind::Search(_) => "tsc_",
        }
    }

    /// Writes the id, which is that of the response and the place in it: it needs no randomness and is the same in all events.
    pub(crate) fn write_id(&self, out: &mut Vec<u8>, response: &str, place: usize) {
        out.push(b'"');
        json::text(out, self.prefix());
        json::string_part(out, response.strip_prefix("resp_").unwrap_or(response));
        out.push(b'_');
        json::number(out, place);
        out.push(b'"');
    }

    /// Writes the item; a new one with nothing in it yet.
    pub(crate) fn write(&self, out: &mut Vec<u8>, response: &str, place: usize) {
        let is_new = self.status == Status::InProgress;
        json::text(out, "{\"id\":");
        self.write_id(out, response, place);
        match &self.kind {
            Kind::Message => {
                json::text(out, ",\"type\":\"message\",\"status\":\"");
                json::text(out, self.status.as_str());
                json::text(out, "\",\"role\":\"assistant\",\"content\":[");
                if !is_new {
                    write_text_part(out, &self.text);
                }
                out.push(b']');
            }
            Kind::Reasoning { signature, is_redacted } => {
                json::text(out, ",\"type\":\"reasoning\",\"summary\":[");
                if !is_new && !self.text.is_empty() {
                    write_summary_part(out, &self.text);
                }
                out.push(b']');
                if let Some(signature) = signature.as_deref().filter(|_| !is_new) {
                    json::text(out, ",\"encrypted_content\":\"");
                    json::text(out, if *is_redacted { REDACTED } else { "" });
                    json::string_part(out, signature);
                    out.push(b'"');
                }
            }
            Kind::Function(called) => {
                json::text(out, ",\"type\":\"function_call\",\"status\":\"");
                json::text(out, self.status.as_str());
                json::text(out, "\",\"arguments\":");
                json::string(out, &self.text);
                called.write(out);
            }
            Kind::Custom(called, _) => {
                json::text(out, ",\"type\":\"custom_tool_call\",\"status\":\"");
                json::text(out, self.status.as_str());
                json::text(out, "\",\"input\":");
                json::string(out, &self.text);
                called.write(out);
            }
            Kind::Search(called) => {
                json::text(out, ",\"type\":\"tool_search_call\",\"execution\":\"client\",\"status\":\"");
                json::text(out, self.status.as_str());
                json::text(out, "\",\"call_id\":");
                json::string(out, &called.id);
                json::text(out, ",\"arguments\":");
                // Here the arguments are an object, not a text.
                match serde_json::from_str::<&RawValue>(&self.text) {
                    Ok(arguments) if field::is_object(arguments) => json::raw(out, arguments.get()),
                    _ => json::text(out, NO_ARGUMENTS),
                }
            }
        }
        out.push(b'}');
    }
}

impl Called {
    fn write(&self, out: &mut Vec<u8>) {
        json::text(out, ",\"call_id\":");
        json::string(out, &self.id);
        json::text(out, ",\"name\":");
        json::string(out, &self.name);
        if let Some(namespace) = &self.namespace {
            json::text(out, ",\"namespace\":");
            json::string(out, namespace);
        }
    }
}

/// Writes the content of a message.
pub(crate) fn write_text_part(out: &mut Vec<u8>, text: &str) {
    json::text(out, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":");
    json::string(out, text);
    out.push(b'}');
}

/// Writes the content of reasoning.
pub(crate) fn write_summary_part(out: &mut Vec<u8>, text: &str) {
    json::text(out, "{\"type\":\"summary_text\",\"text\":");
    json::string(out, text);
    out.push(b'}');
}

/// The items of a whole answer.
pub(crate) fn items(reply: &Reply, names: &ToolNames, is_cut: bool) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::with_capacity(reply.parts.len());
    for part in &reply.parts {
        items.push(match part {
            Part::Text(text) => Item { text: text.clone(), ..Item::new(Kind::Message) },
            Part::Reasoning(reasoning) => {
                let signature = reasoning.signature.clone();
                let kind = Kind::Reasoning { signature, is_redacted: reasoning.is_redacted };
                Item { text: reasoning.text.clone(), ..Item::new(kind) }
            }
            Part::ToolCall(call) => {
                let mut item = Item::call(&call.id, &call.name, names);
                item.append(&call.arguments);
                item
            }
            // A model writes no images and no results.
            Part::Image(_) | Part::ToolResult(_) => continue,
        });
    }
    let count = items.len();
    for (place, item) in items.iter_mut().enumerate() {
        item.status = item.end(is_cut, place + 1 == count);
        if item.has_no_arguments() {
            item.append(NO_ARGUMENTS);
        }
    }
    items
}

/// The arguments of a call that has none, as the clients of OpenAI read them: they parse them as JSON.
pub(crate) const NO_ARGUMENTS: &str = "{}";

impl Item {
    /// Adds to the text. Returns what was added.
    pub(crate) fn append(&mut self, more: &str) -> &str {
        let before = self.text.len();
        match &mut self.kind {
            Kind::Custom(_, input) => input.push(more, &mut self.text),
            _ => self.text.push_str(more),
        }
        self.text.get(before..).unwrap_or_default()
    }

    /// The status at the end of the answer; `is_cut` says that the answer was cut off, `is_last` that no item follows.
    pub(crate) fn end(&self, is_cut: bool, is_last: bool) -> Status {
        let is_whole = match &self.kind {
            _ if !is_cut => true,
            // Models may write the arguments of several calls by turns, so that each of them may have been cut off.
            Kind::Function(_) | Kind::Search(_) if !self.text.is_empty() => {
                serde_json::from_str::<IgnoredAny>(&self.text).is_ok()
            }
            Kind::Custom(_, input) if !input.is_plain() => input.is_whole(),
            _ => !is_last,
        };
        if is_whole { Status::Completed } else { Status::Incomplete }
    }

    /// Whether this is a whole call of a function for which the model has written no arguments.
    pub(crate) fn has_no_arguments(&self) -> bool {
        matches!(self.kind, Kind::Function(_)) && self.text.is_empty() && self.status == Status::Completed
    }

    pub(crate) const fn is_call(&self) -> bool {
        matches!(self.kind, Kind::Function(_) | Kind::Custom(..) | Kind::Search(_))
    }
}
