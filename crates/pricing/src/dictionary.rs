//! The dictionaries of the tokenizers, decompressed when they are first used.

use bpe_openai::Tokenizer;
use bpe_openai::byte_pair_encoding::BytePairEncoding;
use flate2::read::GzDecoder;
use std::io::BufReader;
use std::sync::LazyLock;

/// OpenAI's current encoding.
pub(crate) static O200K_BASE: LazyLock<Tokenizer> = LazyLock::new(|| {
    let words = [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+$",
    ];
    tokenizer(include_bytes!(concat!(env!("OUT_DIR"), "/o200k_base.gz")), &words.join("|"))
});

/// OpenAI's former encoding.
pub(crate) static CL100K_BASE: LazyLock<Tokenizer> = LazyLock::new(|| {
    let words = [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+$",
    ];
    tokenizer(include_bytes!(concat!(env!("OUT_DIR"), "/cl100k_base.gz")), &words.join("|"))
});

/// A tokenizer with this dictionary, which splits texts into words as the encoding defines it. Of white space before a word the last
/// character belongs to the word: that is the second pattern.
#[expect(
    clippy::expect_used,
    reason = "the dictionary and the patterns are fixed at compile time, and a test loads them"
)]
fn tokenizer(dictionary: &[u8], words: &str) -> Tokenizer {
    // Never decompressed as a whole, which would double the memory that it takes.
    let decompressed = BufReader::new(GzDecoder::new(dictionary));
    let dictionary: BytePairEncoding = rmp_serde::from_read(decompressed).expect("the dictionary is whole");
    let patterns = [(words, false), (r"\s+\s", true), (r"\s+", false)];
    Tokenizer::new_lookahead(dictionary, &patterns, false).expect("the patterns are valid")
}
