//! Counting what a model reads.

use tithe_chat::{Api, Chat, EmbeddingInput};
use tithe_pricing::{CacheWrites, InputTokens, Model, Tokenizer};

/// The tokens of an image, as counted. No vendor's formula fits another's model, and the size in pixels is in the file only.
const IMAGE_TOKENS: u64 = 1_600;

/// The most tokens that an image is: what the dearest of the large vendors' formulas gives for their largest size (Anthropic: 4 784 at
/// 2 576 pixels; OpenAI: 1 536 patches × 2.46), rounded up. Where a vendor counts more, the rest is not collected.
const IMAGE_TOKENS_MAX: u64 = 5_000;

/// The tokens of a chat.
pub(crate) fn prompt_tokens(tokenizer: Tokenizer, chat: &Chat) -> u64 {
    let texts = chat.texts().map(|text| tokenizer.count(text)).fold(0, u64::saturating_add);
    texts.saturating_add(images(chat).saturating_mul(IMAGE_TOKENS))
}

/// The tokens of a chat for a model, and the most that its backend may count.
pub(crate) fn input_tokens(model: &Model, chat: &Chat) -> InputTokens {
    let (texts, images) = (model.input_tokens(chat.texts()), images(chat));
    let counted = texts.counted.saturating_add(images.saturating_mul(IMAGE_TOKENS));
    let max = texts.max.saturating_add(images.saturating_mul(IMAGE_TOKENS_MAX));
    InputTokens::at_most(counted, max).with_cache_writes(cache_writes(chat))
}

/// The tokens of each input that is to be embedded, in order. Tokens are taken as they are: they are the model's own.
pub(crate) fn embedding_tokens(model: &Model, input: &EmbeddingInput) -> Vec<InputTokens> {
    match input {
        EmbeddingInput::Texts(texts) => {
            texts.iter().map(|text| model.input_tokens([text.as_str()])).collect()
        }
        EmbeddingInput::Tokens(texts) => {
            let lengths = texts.iter().map(|tokens| u64::try_from(tokens.len()).unwrap_or(u64::MAX));
            lengths.map(InputTokens::exactly).collect()
        }
    }
}

/// What a request asks the backend to write to its cache. A client asks for it anywhere in its request; a text that only mentions it
/// makes the hold larger, never the charge.
fn cache_writes(chat: &Chat) -> CacheWrites {
    let body = || chat.original.iter().flat_map(|original| &original.body);
    let says = |words: &str| body().any(|(name, value)| name == words || value.get().contains(words));
    // An escape can hide either.
    if says("\\u") && chat.original.as_ref().is_some_and(|original| original.api == Api::AnthropicMessages) {
        return CacheWrites::Hour;
    }
    match (says("cache_control"), says("\"1h\"")) {
        (false, _) => CacheWrites::None,
        (true, false) => CacheWrites::Minutes,
        (true, true) => CacheWrites::Hour,
    }
}

fn images(chat: &Chat) -> u64 {
    u64::try_from(chat.images().count()).unwrap_or(u64::MAX)
}
