//! Answers as servers write them, whole and in chunks. Whatever is of no use is not read.

use super::calls::{Calls, Piece};
use super::{BackendError, finish, usage};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use tithe_chat::{Delta, Finish, Reply, ReplyBuilder};
use tithe_pricing::Usage;

/// A response, or one chunk of it.
#[derive(Debug, Deserialize)]
pub(super) struct Wire<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    x_groq: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Choice<'a> {
    /// A chunk's. Some servers write a whole answer as one chunk with a `message`.
    #[serde(borrow, default)]
    delta: Option<Said<'a>>,
    #[serde(borrow, default)]
    message: Option<Said<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    /// Moonshot reports here.
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

/// Groq's own part of a chunk.
#[derive(Debug, Deserialize)]
struct Groq<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
struct Said<'a> {
    #[serde(default)]
    content: Words,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    /// `DeepSeek`'s name for shown reasoning, and the most common one.
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    /// `OpenRouter`'s. A server that sends both sends the same text.
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<WireCall<'a>>>,
    /// The only call, as the API had it at first.
    #[serde(borrow, default)]
    function_call: Option<WireFunction<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct WireCall<'a> {
    #[serde(borrow, default)]
    index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function: Option<WireFunction<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct WireFunction<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// Text wherever servers put it: a string, or parts. Parts of Mistral's have reasoning too.
#[derive(Debug, Default)]
struct Words {
    text: String,
    reasoning: String,
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordsVisitor)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of parts")
    }

    fn visit_str<E>(self, text: &str) -> Result<Words, E> {
        Ok(Words { text: text.to_owned(), reasoning: String::new() })
    }

    fn visit_string<E>(self, text: String) -> Result<Words, E> {
        Ok(Words { text, reasoning: String::new() })
    }

    fn visit_unit<E>(self) -> Result<Words, E> {
        Ok(Words::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Words, A::Error> {
        let mut all = Words::default();
        while let Some(words) = parts.next_element::<Words>()? {
            all.text.push_str(&words.text);
            all.reasoning.push_str(&words.reasoning);
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut part: A) -> Result<Words, A::Error> {
        let mut all = Words::default();
        while let Some(name) = part.next_key::<Cow<'de, str>>()? {
            match name.as_ref() {
                "text" => all.text = part.next_value::<Words>()?.text,
                "thinking" => all.reasoning = part.next_value::<Words>()?.text,
                _ => drop(part.next_value::<IgnoredAny>()?),
            }
        }
        Ok(all)
    }
}

impl Wire<'_> {
    fn is_error(&self) -> bool {
        self.error.is_some() || self.object.is_some_and(|object| object.get() == "\"error\"")
    }
}

/// The string that a value is; anything else is no more than absent.
fn string(raw: Option<&RawValue>) -> String {
    let raw = raw.filter(|raw| raw.get().starts_with('"'));
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// An id, which some servers write as a number.
fn id(raw: Option<&RawValue>) -> String {
    let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.to_owned());
    raw.and_then(|raw| digits(raw.get())).unwrap_or_else(|| string(raw))
}

/// Arguments: JSON in a string, or as it is.
fn arguments(raw: Option<&RawValue>) -> String {
    match raw.map(RawValue::get) {
        Some(text) if text.starts_with('{') || text.starts_with('[') => text.to_owned(),
        _ => string(raw),
    }
}

impl WireFunction<'_> {
    fn piece(&self, index: Option<u64>, id: String) -> Piece {
        Piece { index, id, name: string(self.name), arguments: arguments(self.arguments) }
    }
}

/// An answer as far as it has come.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    id: String,
    calls: Calls,
    /// The reason that the server has given.
    finish: Option<Finish>,
    pub(super) usage: Option<Usage>,
    has_choices: bool,
    /// Whether this is a whole answer, not a stream.
    is_whole: bool,
}

impl State {
    /// Reads a response or a chunk of it.
    pub(super) fn read(&mut self, json: &str, sink: &mut impl FnMut(Delta)) -> Result<(), BackendError> {
        if let Ok(wire) = serde_json::from_str::<Wire<'_>>(json)
            && !wire.is_error()
        {
            return self.take(wire, sink);
        }
        // What is no answer is an error, or has a name twice.
        let value: Value = serde_json::from_str(json).map_err(BackendError::Unreadable)?;
        if value.is_null() {
            return Ok(());
        }
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Err(BackendError::Reported(error.clone()));
        }
        if value.get("object").is_some_and(|object| object == "error") {
            return Err(BackendError::Reported(value));
        }
        let canonical = value.to_string();
        let wire = serde_json::from_str(&canonical).map_err(BackendError::Unreadable)?;
        self.take(wire, sink)
    }

    fn take(&mut self, wire: Wire<'_>, sink: &mut impl FnMut(Delta)) -> Result<(), BackendError> {
        if self.id.is_empty() {
            self.id = string(wire.id);
        }
        let groq = wire.x_groq.and_then(|raw| serde_json::from_str::<Groq<'_>>(raw.get()).ok());
        for report in [wire.usage, groq.and_then(|groq| groq.usage)] {
            self.usage = larger_of(self.usage, report);
        }
        let Some(choice) = wire.choices.into_iter().flatten().next() else { return Ok(()) };
        self.has_choices = true;
        self.usage = larger_of(self.usage, choice.usage);
        let name = string(choice.finish_reason);
        if finish::is_failure(&name) {
            return Err(BackendError::Reported(Value::String(name)));
        }
        self.finish = finish::reason(&name).or(self.finish);
        // Perplexity sends both: in a chunk, the message is all that was said; in a whole answer, the delta is empty.
        let (first, second) =
            if self.is_whole { (choice.message, choice.delta) } else { (choice.delta, choice.message) };
        if let Some(said) = first.or(second) {
            self.said(said, sink);
        }
        Ok(())
    }

    fn said(&mut self, said: Said<'_>, sink: &mut impl FnMut(Delta)) {
        let reasoning = [said.reasoning_content, said.reasoning].into_iter().map(string);
        let reasoning = reasoning.chain([said.content.reasoning]).find(|text| !text.is_empty());
        if let Some(reasoning) = reasoning {
            sink(Delta::Reasoning(reasoning));
        }
        let text = if said.content.text.is_empty() { string(said.refusal) } else { said.content.text };
        if !text.is_empty() {
            sink(Delta::Text(text));
        }
        for call in said.tool_calls.iter().flatten() {
            let index = call.index.and_then(|raw| raw.get().parse().ok());
            let function = call.function.as_ref();
            let piece = |function: &WireFunction<'_>| function.piece(index, id(call.id));
            let piece = function.map_or_else(|| WireFunction::default().piece(index, id(call.id)), piece);
            self.calls.push(piece, &self.id, sink);
        }
        // A server that sends both sends the same call.
        let function = said.function_call.filter(|_| said.tool_calls.iter().flatten().next().is_none());
        if let Some(function) = function {
            self.calls.push(function.piece(None, String::new()), &self.id, sink);
        }
    }

    /// Ends an answer whose server gives no reason, but says that this is all.
    pub(super) fn end(&mut self) {
        self.finish.get_or_insert(Finish::Stop);
    }

    pub(super) fn finish(&self) -> Option<Finish> {
        Some(finish::of_answer(self.finish?, !self.calls.is_empty()))
    }
}

fn larger_of(known: Option<Usage>, report: Option<&RawValue>) -> Option<Usage> {
    usage::larger(usage::read(report), known)
}

/// A whole answer of a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct WholeReply {
    /// The answer.
    pub reply: Reply,
    /// What the backend says that it used; `None` if it does not say, or only in part.
    pub usage: Option<Usage>,
}

/// Reads the body of a whole answer.
///
/// # Errors
/// [`BackendError`] if it is none.
pub fn decode_reply(body: &[u8]) -> Result<WholeReply, BackendError> {
    let text = String::from_utf8_lossy(body);
    let (mut state, mut builder) = (State { is_whole: true, ..State::default() }, ReplyBuilder::default());
    state.read(text.trim_start_matches('\u{feff}'), &mut |delta| builder.push(&delta))?;
    if !state.has_choices {
        return Err(BackendError::Wrong("it has no choices"));
    }
    // A whole answer without a reason is whole.
    state.end();
    let finish = state.finish().unwrap_or(Finish::Other);
    Ok(WholeReply { reply: builder.finish(finish), usage: state.usage })
}
