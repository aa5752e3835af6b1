//! Embeddings: what a client asks for, and what it gets.

use serde_json::value::RawValue;

/// What is to be embedded. There is at least one input, and none is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbeddingInput {
    /// Texts.
    Texts(Vec<String>),
    /// Texts as tokens of the model's own.
    Tokens(Vec<Vec<u32>>),
}

impl EmbeddingInput {
    /// The number of inputs.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Tokens(texts) => texts.len(),
        }
    }

    /// Whether there is no input.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A request for embeddings, in no API's words.
#[derive(Debug, Clone)]
pub struct EmbeddingTask {
    /// What is to be embedded.
    pub input: EmbeddingInput,
    /// How many numbers an embedding is to have; `None` leaves it to the model.
    pub dimensions: Option<u64>,
    /// The fields of the body as the client sent them to OpenAI's API, each name once; empty if the request is no client's.
    pub body: Vec<(String, Box<RawValue>)>,
}

impl EmbeddingTask {
    /// The request to embed these texts, which no client has sent.
    #[must_use]
    pub const fn of(texts: Vec<String>) -> Self {
        Self { input: EmbeddingInput::Texts(texts), dimensions: None, body: Vec::new() }
    }
}

/// Embeddings: at least one, all with the same number of dimensions, which is not 0. All numbers are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors(Vec<Vec<f32>>);

/// Finite numbers are equal to themselves.
impl Eq for Vectors {}

/// Why vectors are no embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidVectors {
    /// There is no vector, or one has no numbers.
    #[error("an embedding is empty")]
    Empty,
    /// Not all vectors have the same number of dimensions.
    #[error("the embeddings have different numbers of dimensions")]
    Uneven,
    /// A number is infinite, or not a number.
    #[error("an embedding has a number that is not finite")]
    NotFinite,
}

impl Vectors {
    /// Checks vectors.
    ///
    /// # Errors
    /// [`InvalidVectors`].
    pub fn new(vectors: Vec<Vec<f32>>) -> Result<Self, InvalidVectors> {
        let dimensions = vectors.first().map_or(0, Vec::len);
        if dimensions == 0 {
            return Err(InvalidVectors::Empty);
        }
        if vectors.iter().any(|vector| vector.len() != dimensions) {
            return Err(InvalidVectors::Uneven);
        }
        if !vectors.iter().flatten().all(|number| number.is_finite()) {
            return Err(InvalidVectors::NotFinite);
        }
        Ok(Self(vectors))
    }

    /// The vectors, in the order of the inputs.
    #[must_use]
    pub fn as_slice(&self) -> &[Vec<f32>] {
        &self.0
    }

    /// How many numbers each vector has.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_finite_even_and_not_empty() {
        assert_eq!(Vectors::new(vec![vec![1.0, -0.0], vec![f32::MIN, 2.0]]).unwrap().dimensions(), 2);
        for (vectors, expected) in [
            (vec![], InvalidVectors::Empty),
            (vec![vec![]], InvalidVectors::Empty),
            (vec![vec![1.0], vec![]], InvalidVectors::Uneven),
            (vec![vec![1.0], vec![1.0, 2.0]], InvalidVectors::Uneven),
            (vec![vec![f32::NAN]], InvalidVectors::NotFinite),
            (vec![vec![1.0], vec![f32::INFINITY]], InvalidVectors::NotFinite),
        ] {
            assert_eq!(Vectors::new(vectors), Err(expected));
        }
    }
}
