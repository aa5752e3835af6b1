//! Embeddings as they are stored: exact, and a third larger than in memory.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tithe_chat::Vectors;

/// Embeddings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredVectors {
    /// How many numbers each of them has.
    dimensions: usize,
    /// All numbers, one embedding after the other: little-endian 32-bit floats in base64.
    numbers: String,
}

impl From<&Vectors> for StoredVectors {
    fn from(vectors: &Vectors) -> Self {
        let numbers = vectors.as_slice().iter().flatten();
        let bytes: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
        Self { dimensions: vectors.dimensions(), numbers: STANDARD.encode(bytes) }
    }
}

impl StoredVectors {
    /// The embeddings; none if what is stored cannot be read.
    pub(super) fn read(&self) -> Vec<Vec<f32>> {
        let bytes = STANDARD.decode(&self.numbers).unwrap_or_default();
        let (numbers, _none) = bytes.as_chunks::<4>();
        let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        numbers.chunks(self.dimensions.max(1)).map(<[f32]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_numbers_are_the_same_to_the_bit() {
        let vectors = vec![vec![0.1, -0.0, f32::MIN_POSITIVE / 2.0], vec![f32::MAX, -1.0 / 3.0, 1e-38]];
        let stored = StoredVectors::from(&Vectors::new(vectors.clone()).unwrap());
        let stored: StoredVectors = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
        let bits = |vectors: &[Vec<f32>]| -> Vec<Vec<u32>> {
            vectors.iter().map(|vector| vector.iter().map(|number| number.to_bits()).collect()).collect()
        };
        assert_eq!(bits(&stored.read()), bits(&vectors));
    }
}
