//! Embeddings: `POST /v1/embeddings`, both sides.
//!
//! Backends are always asked for numbers, which all of them know; base64, which the SDKs ask for unless told otherwise, is made here.

mod backend;
mod reply;

pub use backend::{Embedded, decode_reply, encode_request};
pub use reply::encode;

use crate::json::{Fields, Node, Path};
use crate::request::{Top, owned};
use crate::request_error::RequestError;
use serde_json::value::RawValue;
use tithe_chat::{EmbeddingInput as Input, EmbeddingTask};

/// The most inputs of a request: OpenAI's own limit.
pub const INPUTS_MAX: usize = 2048;

/// A request of a client.
#[derive(Debug, Clone)]
pub struct EmbeddingsRequest {
    /// The model, as the client calls it.
    pub model: String,
    /// What the client asks for, with the body as it was sent.
    pub task: EmbeddingTask,
    /// How the client wants the embeddings.
    pub format: Format,
}

/// The form of embeddings in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Arrays of numbers.
    #[default]
    Float,
    /// Little-endian 32-bit floats in base64.
    Base64,
}

const INPUT: Path<'_> = Path::Field(&Path::Body, "input");
const EXPECTED: &str = "a string, an array of strings, or tokens";

impl EmbeddingsRequest {
    /// Reads a body. Fields that are not known are kept in `body`, whatever they are.
    ///
    /// # Errors
    /// [`RequestError`] if the body is no JSON object, or if a field that is known is not what it should be.
    pub fn decode(body: &[u8]) -> Result<Self, RequestError> {
        let fields = Fields::of_body(body)?;
        let top = Top(&fields);
        let format = match top.get("encoding_format") {
            None => Format::Float,
            Some(node) => match node.string()?.as_ref() {
                "float" => Format::Float,
                "base64" => Format::Base64,
                _ => return Err(node.wrong_value("float or base64")),
            },
        };
        Ok(Self {
            model: top.model()?,
            task: EmbeddingTask {
                input: input(&top.get("input").ok_or_else(|| INPUT.missing(EXPECTED))?)?,
                dimensions: top.get("dimensions").map(|node| node.positive()).transpose()?,
                body: owned(&fields)?,
            },
            format,
        })
    }
}

fn input(node: &Node<'_, '_>) -> Result<Input, RequestError> {
    if node.is_string() {
        return Ok(Input::Texts(vec![text(node)?]));
    }
    let elements = node.array(EXPECTED)?;
    if elements.len() > INPUTS_MAX && !elements.first().is_some_and(|first| is_number(first)) {
        let got = format!("at most {INPUTS_MAX} inputs, got {}", elements.len());
        return Err(node.path.error("array_above_max_length", "invalid", &got));
    }
    let nodes = || elements.iter().enumerate().map(|(index, raw)| node.element(index, raw));
    match nodes().next() {
        None => Err(node.path.error("empty_array", "invalid", "at least 1 input, got none")),
        Some(first) if first.is_string() => {
            nodes().map(|node| text(&node)).collect::<Result<_, _>>().map(Input::Texts)
        }
        Some(first) if first.is_array() => {
            nodes().map(|node| tokens(&node)).collect::<Result<_, _>>().map(Input::Tokens)
        }
        Some(first) if is_number(first.raw) => Ok(Input::Tokens(vec![tokens(node)?])),
        Some(first) => Err(first.wrong_type(EXPECTED)),
    }
}

fn is_number(raw: &RawValue) -> bool {
    raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn text(node: &Node<'_, '_>) -> Result<String, RequestError> {
    let text = node.string()?.into_owned();
    if text.is_empty() { Err(node.wrong_value("a text that is not empty")) } else { Ok(text) }
}

fn tokens(node: &Node<'_, '_>) -> Result<Vec<u32>, RequestError> {
    let elements = node.array("an array of tokens")?;
    if elements.is_empty() {
        return Err(node.wrong_value("at least 1 token"));
    }
    let token = |(index, raw): (usize, &RawValue)| {
        raw.get().parse().map_err(|_| {
            let path = Path::Element(&node.path, index);
            Node { path, raw }.wrong_value("a token, an integer from 0")
        })
    };
    elements.into_iter().enumerate().map(token).collect()
}

#[cfg(test)]
mod tests;
