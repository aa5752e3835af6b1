//! The simulation's embeddings.

use super::answer::TOKENIZER;
use crate::failure::BackendFailure;
use tithe_chat::{EmbeddingInput, EmbeddingTask, Vectors};
use tithe_engine::inference::InferenceError;
use tithe_pricing::Usage;

const DIMENSIONS_DEFAULT: usize = 256;
const DIMENSIONS_MAX: usize = 4096;

/// The tokens of the inputs.
pub(super) fn usage(input: &EmbeddingInput) -> Usage {
    let input_tokens = match input {
        EmbeddingInput::Texts(texts) => texts.iter().map(|text| TOKENIZER.count(text)).sum(),
        EmbeddingInput::Tokens(texts) => {
            texts.iter().map(|tokens| u64::try_from(tokens.len()).unwrap_or(u64::MAX)).sum()
        }
    };
    Usage { input_tokens, ..Usage::ZERO }
}

/// The vectors of the inputs.
pub(super) fn vectors(task: &EmbeddingTask) -> Result<Vectors, InferenceError> {
    let dimensions = match task.dimensions.map(usize::try_from) {
        None => DIMENSIONS_DEFAULT,
        Some(Ok(dimensions)) if (1..=DIMENSIONS_MAX).contains(&dimensions) => dimensions,
        Some(_) => return Err(BackendFailure::Simulated.refused()),
    };
    let vectors = match &task.input {
        EmbeddingInput::Texts(texts) => texts.iter().map(|text| of_text(text, dimensions)).collect(),
        EmbeddingInput::Tokens(texts) => texts
            .iter()
            .map(|tokens| of_words(tokens.iter().map(|token| token.to_le_bytes()), dimensions))
            .collect(),
    };
    Vectors::new(vectors).map_err(|invalid| BackendFailure::Invalid(invalid).nonsense())
}

fn of_text(text: &str, dimensions: usize) -> Vec<f32> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    // A text without words is a word of its own.
    let words: Vec<&str> = words.collect();
    if words.is_empty() { of_words([text], dimensions) } else { of_words(words, dimensions) }
}

/// The sum of a random direction for each word, with length 1.
fn of_words<T: AsRef<[u8]>>(words: impl IntoIterator<Item = T>, dimensions: usize) -> Vec<f32> {
    let mut sum = vec![0_f32; dimensions];
    for word in words {
        for (number, random) in sum.iter_mut().zip(numbers(word.as_ref())) {
            *number += random;
        }
    }
    let length = sum.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        for number in &mut sum {
            *number /= length;
        }
    }
    sum
}

/// Numbers between -1 and 1 that only depend on the word: `SplitMix64`, seeded with the word's FNV-1a hash.
fn numbers(word: &[u8]) -> impl Iterator<Item = f32> {
    let hash = word.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (1_u64..).map(move |n| {
        let mixed = hash.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let [low, high, ..] = (mixed ^ (mixed >> 31)).to_le_bytes();
        f32::from(i16::from_le_bytes([low, high])) / 32_768.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded(texts: &[&str], dimensions: Option<u64>) -> Vec<Vec<f32>> {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        vectors(&EmbeddingTask { dimensions, ..EmbeddingTask::of(texts) }).unwrap().as_slice().to_vec()
    }

    fn product(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_have_length_1_and_say_which_texts_are_alike() {
        let texts = ["The cat sat.", "the CAT sat", "A cat sat down", "Rust is a language", "?!", "☃"];
        let vectors = embedded(&texts, None);
        for vector in &vectors {
            assert_eq!(vector.len(), 256);
            assert!((product(vector, vector) - 1.0).abs() < 1e-5);
        }
        let alike = |a: usize, b: usize| product(&vectors[a], &vectors[b]);
        assert!(
            alike(0, 1) > 0.999 && alike(0, 2) > 0.3 && alike(0, 3) < 0.3,
            "{} {} {}",
            alike(0, 1),
            alike(0, 2),
            alike(0, 3)
        );
        assert_eq!(embedded(&texts, None), vectors);
    }

    #[test]
    fn the_request_says_how_many_dimensions_there_are() {
        assert_eq!(embedded(&["a"], Some(3))[0].len(), 3);
        let task = EmbeddingTask { dimensions: Some(4097), ..EmbeddingTask::of(vec!["a".to_owned()]) };
        assert!(vectors(&task).unwrap_err().is_refusal());
    }

    #[test]
    fn tokens_are_embedded_and_counted_as_they_are() {
        let task = EmbeddingTask {
            input: EmbeddingInput::Tokens(vec![vec![1, 2, 3], vec![4]]),
            dimensions: None,
            body: Vec::new(),
        };
        assert_eq!(vectors(&task).unwrap().as_slice().len(), 2);
        assert_eq!(usage(&task.input).input_tokens, 4);
        assert_eq!(usage(&EmbeddingInput::Texts(vec!["hello world".to_owned()])).input_tokens, 2);
    }
}
