//! The price of embeddings.

use super::service::Quotes;
use crate::error::{EngineError, RequestError};
use crate::inference::embedding_tokens;
use crate::metered::Prompt;
use tithe_chat::EmbeddingTask;
use tithe_pricing::{InputTokens, Model, Purpose, Quote, Terms};

/// The most tokens of all inputs of a request: OpenAI's own limit.
const TOKENS_MAX: u64 = 300_000;

impl Quotes {
    /// The price of what a metered request asks for. `wanted` is the most output of a chat, in tokens.
    pub(crate) fn metered(
        &self,
        model: &Model,
        prompt: &Prompt,
        wanted: Option<u64>,
        terms: &Terms,
    ) -> Result<Quote, EngineError> {
        match prompt.as_embeddings() {
            Some(task) => Self::embeddings(model, task, terms),
            None => Ok(self.work(model, prompt.as_chat(), wanted, terms)?),
        }
    }

    /// The price of embeddings. Each input must fit the model, and all together the limit of a request.
    fn embeddings(model: &Model, task: &EmbeddingTask, terms: &Terms) -> Result<Quote, EngineError> {
        // Counting is the expensive part; the wrong model is refused first.
        model.check_purpose(Purpose::Embeddings)?;
        let inputs = embedding_tokens(model, &task.input);
        let limit = model.context_tokens;
        if let Some((index, input)) = inputs.iter().enumerate().find(|(_, input)| input.counted > limit) {
            let model = model.name.clone();
            return Err(RequestError::InputTooLong { index, tokens: input.counted, limit, model }.into());
        }
        let sum = |of: fn(&InputTokens) -> u64| inputs.iter().map(of).fold(0, u64::saturating_add);
        let (counted, max) = (sum(|input| input.counted), sum(|input| input.max));
        if counted > TOKENS_MAX {
            return Err(RequestError::InputsTooLong { tokens: counted, limit: TOKENS_MAX }.into());
        }
        Ok(model.quote_embeddings(InputTokens::at_most(counted, max), terms)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tithe_chat::EmbeddingInput;
    use tithe_clock::Timestamp;
    use tithe_money::{BasisPoints, BtcPrice, UsdMicros};
    use tithe_pricing::{BtcQuote, Catalogue};

    fn quote(model: &str, input: EmbeddingInput) -> Result<Quote, EngineError> {
        let catalogue = Catalogue::built_in();
        let price = BtcPrice::parse("100000").unwrap();
        let btc = BtcQuote { price, as_of: Timestamp::UNIX_EPOCH + Duration::from_secs(1) };
        let terms = Terms { margin: BasisPoints::new(0).unwrap(), fixed_cost: UsdMicros::ZERO, btc };
        let task = EmbeddingTask { input, dimensions: None, body: Vec::new() };
        Quotes::embeddings(catalogue.model(model).unwrap(), &task, &terms)
    }

    fn tokens(inputs: usize, each: usize) -> EmbeddingInput {
        EmbeddingInput::Tokens(vec![vec![7; each]; inputs])
    }

    #[test]
    fn texts_are_counted_and_tokens_are_taken_as_they_are() {
        let texts = EmbeddingInput::Texts(vec!["hello world".to_owned(), "hello".to_owned()]);
        let texts = quote("sim-embedding", texts).unwrap();
        assert_eq!((texts.tokens.input, texts.tokens.max_output), (3, 0));
        assert!(texts.tokens.max_input > 3, "a backend may add tokens around each text");
        let given = quote("sim-embedding", tokens(2, 1_000)).unwrap();
        assert_eq!((given.tokens.input, given.tokens.max_input), (2_000, 2_000));
        // 2000 × $0.1/M at $100 000 is 0.2 sats.
        assert_eq!(given.max.msats.get(), 200);
    }

    #[test]
    fn each_input_must_fit_the_model_and_all_the_request() {
        assert!(quote("sim-embedding", tokens(36, 8_192)).is_ok());
        let long = EmbeddingInput::Tokens(vec![vec![7], vec![7; 8_193]]);
        let refused = quote("sim-embedding", long).unwrap_err().to_string();
        assert_eq!(
            refused,
            "too long: expected at most 8192 tokens (the maximum context length of sim-embedding), got 8193 in input 1"
        );
        let refused = quote("sim-embedding", tokens(37, 8_192)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "too long: expected at most 300000 tokens in all inputs of a request, got 303104"
        );
    }

    #[test]
    fn a_chat_model_embeds_nothing() {
        let refused = quote("sim-small", tokens(1, 1)).unwrap_err();
        assert!(matches!(refused, EngineError::Request(wrong) if wrong.field() == "model"));
    }
}
