//! Backends.

use crate::backend::BackendError;
use crate::backend::withheld::is_withheld;
use crate::json::append;
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tithe_chat::{EmbeddingInput, EmbeddingTask};
use tithe_pricing::Usage;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Appends the body of a request to a backend: the client's own, but for the model and the format.
pub fn encode_request(out: &mut Vec<u8>, task: &EmbeddingTask, model: &str) {
    out.extend_from_slice(b"{\"model\":");
    append(out, model);
    let mut field = |name: &str, write: &dyn Fn(&mut Vec<u8>)| {
        out.push(b',');
        append(out, name);
        out.push(b':');
        write(out);
    };
    for (name, value) in task.body.iter().filter(|(name, _)| name != "encoding_format" && !is_withheld(name))
    {
        field(name, &|out| out.extend_from_slice(value.get().as_bytes()));
    }
    if task.body.is_empty() {
        field("input", &|out| match &task.input {
            EmbeddingInput::Texts(texts) => append(out, texts),
            EmbeddingInput::Tokens(texts) => append(out, texts),
        });
        if let Some(dimensions) = &task.dimensions {
            field("dimensions", &|out| append(out, dimensions));
        }
    }
    out.push(b'}');
}

/// Embeddings of a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// One for each input, in order; all numbers are finite.
    pub vectors: Vec<Vec<f32>>,
    /// What the backend says that it used; `None` if it does not say.
    pub usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    data: Option<Vec<Element<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Element<'a> {
    #[serde(default)]
    index: Option<usize>,
    #[serde(borrow)]
    embedding: &'a RawValue,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    total_tokens: Option<u64>,
}

/// Reads the body of a backend's answer to a request with this many inputs: arrays of numbers, or base64.
///
/// # Errors
/// [`BackendError`] if it is none, or has another number of embeddings.
pub fn decode_reply(body: &[u8], inputs: usize) -> Result<Embedded, BackendError> {
    let wire: Wire<'_> = serde_json::from_slice(body).map_err(BackendError::Unreadable)?;
    if let Some(error) = wire.error {
        return Err(BackendError::Reported(error));
    }
    let mut data = wire.data.ok_or(BackendError::Wrong("it has no data"))?;
    if data.len() != inputs {
        return Err(BackendError::Wrong("it has another number of embeddings than inputs"));
    }
    // Without numbers, they are in order.
    if data.iter().all(|element| element.index.is_some()) {
        data.sort_by_key(|element| element.index);
        if data.iter().enumerate().any(|(place, element)| element.index != Some(place)) {
            return Err(BackendError::Wrong("its embeddings are not numbered from 0"));
        }
    }
    let vectors = data.iter().map(|element| vector(element.embedding)).collect::<Result<_, _>>()?;
    let usage = wire.usage.and_then(|raw| serde_json::from_str::<WireUsage>(raw.get()).ok());
    let tokens = usage.and_then(|usage| usage.prompt_tokens.max(usage.total_tokens));
    let usage = tokens.map(|input_tokens| Usage { input_tokens, ..Usage::ZERO });
    Ok(Embedded { vectors, usage })
}

fn vector(raw: &RawValue) -> Result<Vec<f32>, BackendError> {
    let unreadable = BackendError::Unreadable;
    let numbers: Vec<f32> = if raw.get().starts_with('"') {
        let text: String = serde_json::from_str(raw.get()).map_err(unreadable)?;
        let bytes = BASE64.decode(text).map_err(|_| BackendError::Wrong("an embedding is no base64"))?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(BackendError::Wrong("an embedding is not made of 32-bit floats"));
        }
        numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    } else {
        serde_json::from_str(raw.get()).map_err(unreadable)?
    };
    if numbers.is_empty() || !numbers.iter().all(|number| number.is_finite()) {
        return Err(BackendError::Wrong("an embedding is empty or has numbers that are not finite"));
    }
    Ok(numbers)
}
