//! Answers.

use super::Format;
use crate::Spent;
use crate::json::append;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use std::io::Write as _;

/// Appends an answer to `out`: the body of the response.
pub fn encode(out: &mut Vec<u8>, model: &str, vectors: &[Vec<f32>], format: Format, spent: &Spent) {
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    let mut bytes = Vec::new();
    for (index, vector) in vectors.iter().enumerate() {
        let separator: &[u8] = if index == 0 { b"" } else { b"," };
        out.extend_from_slice(separator);
        out.extend_from_slice(b"{\"object\":\"embedding\",\"index\":");
        append(out, &index);
        out.extend_from_slice(b",\"embedding\":");
        match format {
            Format::Float => append(out, vector),
            Format::Base64 => {
                bytes.clear();
                bytes.extend(vector.iter().flat_map(|number| number.to_le_bytes()));
                // Memory takes everything.
                let _ = write!(out, "\"{}\"", Base64Display::new(&bytes, &STANDARD));
            }
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"model\":");
    append(out, model);
    out.extend_from_slice(b",\"usage\":");
    append(out, &spent.of_embeddings());
    out.push(b'}');
}
