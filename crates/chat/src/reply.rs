//! An answer, piece by piece and as a whole.

use crate::{Part, Reasoning, ToolCall};

/// A piece of an answer, as it is generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// More text. Never empty.
    Text(String),
    /// More reasoning. Never empty.
    Reasoning(String),
    /// What proves that the reasoning before it is the model's own.
    ReasoningSignature(String),
    /// Reasoning that the backend hides, encrypted.
    RedactedReasoning(String),
    /// A call of a function begins.
    ToolCall {
        /// The number of the call in this answer, from 0.
        index: usize,
        /// The id of the call.
        id: String,
        /// The name of the function.
        name: String,
    },
    /// More of the arguments of a call that has begun. Never empty.
    Arguments {
        /// The number of the call in this answer, from 0.
        index: usize,
        /// A piece of JSON.
        json: String,
    },
}

impl Delta {
    /// Whether the piece adds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self {
            Self::Text(text)
            | Self::Reasoning(text)
            | Self::ReasoningSignature(text)
            | Self::RedactedReasoning(text)
            | Self::Arguments { json: text, .. } => text.is_empty(),
            Self::ToolCall { .. } => false,
        }
    }

    /// What the model has written: the text, the reasoning that is shown, the names and arguments of functions. Tokens of an answer that
    /// no backend has counted are counted over this.
    #[must_use]
    pub fn written(&self) -> &str {
        match self {
            Self::Text(text) | Self::Reasoning(text) => text,
            Self::ToolCall { name, .. } => name,
            Self::Arguments { json, .. } => json,
            Self::ReasoningSignature(_) | Self::RedactedReasoning(_) => "",
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model had finished, or has written a text at which the answer ends.
    Stop,
    /// The allowed output, or the balance, was used up.
    Length,
    /// The model waits for the results of functions.
    ToolCalls,
    /// A content filter ended it.
    ContentFilter,
    /// A reason that is not known. The answer may not be whole.
    Other,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What it consists of, in order: reasoning, text, calls of functions.
    pub parts: Vec<Part>,
    /// Why it ended.
    pub finish: Finish,
}

impl Reply {
    /// An answer of one text, or an empty one.
    #[must_use]
    pub fn of(text: &str, finish: Finish) -> Self {
        let parts = if text.is_empty() { Vec::new() } else { vec![Part::Text(text.to_owned())] };
        Self { parts, finish }
    }

    /// All text of the answer, without reasoning.
    #[must_use]
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// Cuts the answer after so many bytes of what the model has written; calls of functions that have not begun by then are left out.
    pub fn truncate(&mut self, bytes: usize) {
        let mut left = bytes;
        let mut cut = |text: &mut String| {
            let whole = text.len();
            text.truncate(text.floor_char_boundary(left.min(whole)));
            // Nothing follows what was cut.
            left = if text.len() < whole { 0 } else { left.saturating_sub(whole) };
            !text.is_empty()
        };
        self.parts.retain_mut(|part| match part {
            Part::Text(text) => cut(text),
            Part::Reasoning(reasoning) => cut(&mut reasoning.text),
            Part::ToolCall(call) => {
                let has_begun = cut(&mut call.name);
                cut(&mut call.arguments);
                has_begun
            }
            Part::Image(_) | Part::ToolResult(_) => false,
        });
    }

    /// The answer in pieces, as if it had been streamed. None of them is empty.
    #[must_use]
    pub fn deltas(&self) -> Vec<Delta> {
        let mut calls = 0..;
        let mut deltas = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => deltas.push(Delta::Text(text.clone())),
                Part::Reasoning(Reasoning { signature: Some(data), is_redacted: true, .. }) => {
                    deltas.push(Delta::RedactedReasoning(data.clone()));
                }
                Part::Reasoning(reasoning) => {
                    deltas.push(Delta::Reasoning(reasoning.text.clone()));
                    deltas.extend(reasoning.signature.clone().map(Delta::ReasoningSignature));
                }
                Part::ToolCall(call) => {
                    let index = calls.next().unwrap_or_default();
                    deltas.push(Delta::ToolCall { index, id: call.id.clone(), name: call.name.clone() });
                    deltas.push(Delta::Arguments { index, json: call.arguments.clone() });
                }
                // No answer has these.
                Part::Image(_) | Part::ToolResult(_) => {}
            }
        }
        deltas.retain(|delta| !delta.is_empty());
        deltas
    }

    /// The calls of functions, in order.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }
}

/// Puts an answer together from its pieces.
#[derive(Debug, Clone, Default)]
pub struct ReplyBuilder {
    parts: Vec<Part>,
    /// For each call, its place in `parts`.
    calls: Vec<(usize, usize)>,
}

impl ReplyBuilder {
    /// Adds a piece. Arguments of a call that has not begun are dropped.
    pub fn push(&mut self, delta: &Delta) {
        match delta {
            Delta::Text(more) => match self.parts.last_mut() {
                Some(Part::Text(text)) => text.push_str(more),
                _ => self.parts.push(Part::Text(more.clone())),
            },
            Delta::Reasoning(more) => match self.parts.last_mut() {
                // Signed reasoning is complete.
                Some(Part::Reasoning(reasoning)) if reasoning.signature.is_none() => {
                    reasoning.text.push_str(more);
                }
                _ => {
                    let reasoning = Reasoning { text: more.clone(), ..Reasoning::default() };
                    self.parts.push(Part::Reasoning(reasoning));
                }
            },
            Delta::ReasoningSignature(more) => match self.parts.last_mut() {
                Some(Part::Reasoning(reasoning)) if !reasoning.is_redacted => {
                    reasoning.signature.get_or_insert_default().push_str(more);
                }
                _ => {
                    let reasoning = Reasoning { signature: Some(more.clone()), ..Reasoning::default() };
                    self.parts.push(Part::Reasoning(reasoning));
                }
            },
            Delta::RedactedReasoning(data) => {
                let reasoning =
                    Reasoning { signature: Some(data.clone()), is_redacted: true, ..Reasoning::default() };
                self.parts.push(Part::Reasoning(reasoning));
            }
            Delta::ToolCall { index, id, name } => {
                self.calls.push((*index, self.parts.len()));
                let call = ToolCall { id: id.clone(), name: name.clone(), ..ToolCall::default() };
                self.parts.push(Part::ToolCall(call));
            }
            Delta::Arguments { index, json } => {
                let place = self.calls.iter().rev().find(|(call, _)| call == index).map(|(_, place)| *place);
                if let Some(Part::ToolCall(call)) = place.and_then(|place| self.parts.get_mut(place)) {
                    call.arguments.push_str(json);
                }
            }
        }
    }

    /// The whole answer.
    #[must_use]
    pub fn finish(self, finish: Finish) -> Reply {
        Reply { parts: self.parts, finish }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn built(deltas: &[Delta]) -> Reply {
        let mut builder = ReplyBuilder::default();
        for delta in deltas {
            builder.push(delta);
        }
        builder.finish(Finish::Stop)
    }

    #[test]
    fn arguments_of_calls_that_are_written_by_turns_are_kept_apart() {
        let call = |index: usize| Delta::ToolCall { index, id: format!("c{index}"), name: "f".into() };
        let arguments = |index, json: &str| Delta::Arguments { index, json: json.into() };
        let reply = built(&[
            call(0),
            arguments(0, "{\"a\""),
            call(1),
            arguments(1, "{}"),
            arguments(0, ":1}"),
            arguments(7, "lost"),
        ]);
        let written: Vec<&str> = reply.tool_calls().map(|call| call.arguments.as_str()).collect();
        assert_eq!(written, ["{\"a\":1}", "{}"]);
    }

    #[test]
    fn signed_reasoning_is_followed_by_new_reasoning() {
        let reply = built(&[
            Delta::Reasoning("a".into()),
            Delta::Reasoning("b".into()),
            Delta::ReasoningSignature("s1".into()),
            Delta::Reasoning("c".into()),
            Delta::RedactedReasoning("x".into()),
            Delta::ReasoningSignature("s2".into()),
        ]);
        let parts: Vec<(String, Option<&str>, bool)> = reply
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Reasoning(it) => Some((it.text.clone(), it.signature.as_deref(), it.is_redacted)),
                _ => None,
            })
            .collect();
        assert_eq!(
            parts,
            [
                ("ab".to_owned(), Some("s1"), false),
                ("c".to_owned(), None, false),
                (String::new(), Some("x"), true),
                (String::new(), Some("s2"), false),
            ]
        );
    }

    proptest! {
        #[test]
        fn a_cut_answer_is_no_longer_than_what_was_written(text in "\\PC{0,20}", name in "[a-z]{1,8}", json in "\\PC{0,20}", bytes in 0usize..80) {
            let call = Part::ToolCall(ToolCall { id: "c".into(), name, arguments: json });
            let whole = Reply { parts: vec![Part::Text(text), call], finish: Finish::Other };
            let mut cut = whole.clone();
            cut.truncate(bytes);
            let written = |reply: &Reply| reply.deltas().iter().map(Delta::written).collect::<String>();
            prop_assert!(written(&cut).len() <= bytes);
            prop_assert!(written(&whole).starts_with(&written(&cut)));
            // No more is lost than a character.
            prop_assert!(written(&cut).len() + 4 > bytes.min(written(&whole).len()));
        }

        #[test]
        fn it_does_not_matter_where_text_is_cut(text in "\\PC{1,40}", cuts in prop::collection::vec(1usize..5, 0..20)) {
            let mut rest: Vec<char> = text.chars().collect();
            let mut deltas = Vec::new();
            for cut in cuts {
                let piece: String = rest.drain(..cut.min(rest.len())).collect();
                if !piece.is_empty() { deltas.push(Delta::Text(piece)); }
            }
            if !rest.is_empty() { deltas.push(Delta::Text(rest.into_iter().collect())); }
            let reply = built(&deltas);
            prop_assert_eq!(reply.text(), text.clone());
            prop_assert_eq!(deltas.iter().map(Delta::written).collect::<String>(), text);
        }
    }
}
