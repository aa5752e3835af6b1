//! OpenAI's embeddings.

use super::answered::Answered;
use super::wire::{AnswerMeta, Wire};
use crate::problem::Problem;
use tithe_chat::Delta;
use tithe_openai_chat::Spent;
use tithe_openai_chat::embeddings::{Format, encode};

/// Writes answers as OpenAI's embeddings. They are never streamed.
pub(crate) struct EmbeddingsWire {
    model: String,
    format: Format,
}

impl EmbeddingsWire {
    /// Writes embeddings of `model`, as the client calls it, in the form that it wants.
    pub(crate) const fn new(model: String, format: Format) -> Self {
        Self { model, format }
    }
}

impl Wire for EmbeddingsWire {
    fn whole(&self, answered: &Answered, out: &mut Vec<u8>) {
        let spent = Spent { usage: answered.usage, charge: Some(answered.charge()) };
        encode(out, &self.model, &answered.vectors(), self.format, &spent);
    }

    fn begin(&mut self, _meta: &AnswerMeta, _out: &mut Vec<u8>) {}

    fn delta(&mut self, _delta: &Delta, _out: &mut Vec<u8>) {}

    fn finish(&mut self, answered: &Answered, out: &mut Vec<u8>) {
        self.whole(answered, out);
    }

    fn fail(&mut self, _problem: &Problem, _out: &mut Vec<u8>) {}

    fn keep_alive(&self) -> &'static [u8] {
        b""
    }
}
