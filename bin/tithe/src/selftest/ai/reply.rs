//! An answer, in no API's words.

use crate::selftest::answer::Answer;
use crate::selftest::outcome::Checked;

/// An answer that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::selftest) struct Reply {
    /// The id that the API gives the answer.
    pub(in crate::selftest) id: String,
    /// The model, as the answer names it.
    pub(in crate::selftest) model: String,
    pub(in crate::selftest) text: String,
    pub(in crate::selftest) calls: Vec<ToolCall>,
    /// Why the answer has ended, in the words of OpenAI's chat completions.
    pub(in crate::selftest) finish: String,
    /// `None` in a stream that does not say it.
    pub(in crate::selftest) usage: Option<Usage>,
}

/// The call of a function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::selftest) struct ToolCall {
    pub(in crate::selftest) id: String,
    pub(in crate::selftest) name: String,
    /// JSON.
    pub(in crate::selftest) arguments: String,
}

/// What an answer says it used and cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::selftest) struct Usage {
    /// All input tokens, those of the cache included.
    pub(in crate::selftest) input: u64,
    pub(in crate::selftest) output: u64,
    pub(in crate::selftest) cost_msats: u64,
    pub(in crate::selftest) absorbed_msats: u64,
}

impl Usage {
    /// OpenAI's usage at a JSON pointer. The fields of tokens have other names in each of its APIs.
    pub(super) fn of_openai(answer: &Answer, pointer: &str, input: &str, output: &str) -> Checked<Self> {
        let number = |field: &str| answer.number(&format!("{pointer}/{field}"));
        let usage = Self::new(answer, pointer, number(input)?, number(output)?)?;
        let total = number("total_tokens")?;
        let sum = usage.input.saturating_add(usage.output);
        answer.holds(total == sum, format!("`total_tokens` to be {sum}"), total)?;
        Ok(usage)
    }

    /// Anthropic's usage at a JSON pointer: tokens of the cache are counted apart.
    pub(super) fn of_anthropic(answer: &Answer, pointer: &str) -> Checked<Self> {
        let number = |field: &str| answer.number(&format!("{pointer}/{field}"));
        let cached =
            number("cache_creation_input_tokens")?.saturating_add(number("cache_read_input_tokens")?);
        let input = number("input_tokens")?.saturating_add(cached);
        Self::new(answer, pointer, input, number("output_tokens")?)
    }

    fn new(answer: &Answer, pointer: &str, input: u64, output: u64) -> Checked<Self> {
        answer.usd(&format!("{pointer}/cost"))?;
        let cost_msats = answer.number(&format!("{pointer}/cost_msats"))?;
        let absorbed_msats = answer.number(&format!("{pointer}/absorbed_msats"))?;
        Ok(Self { input, output, cost_msats, absorbed_msats })
    }
}
