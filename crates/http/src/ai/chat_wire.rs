//! OpenAI's chat completions.

use super::answered::Answered;
use super::wire::{AnswerMeta, Wire};
use crate::problem::Problem;
use tithe_chat::Delta;
use tithe_openai_chat::{ApiError, Encoder, KEEP_ALIVE, Meta, Spent, reply};

/// Writes answers as OpenAI's chat completions.
pub(crate) struct ChatWire {
    model: String,
    include_usage: bool,
    encoder: Option<Encoder>,
}

impl ChatWire {
    /// Writes answers of `model`, as the client calls it.
    pub(crate) const fn new(model: String, include_usage: bool) -> Self {
        Self { model, include_usage, encoder: None }
    }
}

fn spent(answered: &Answered) -> Spent {
    Spent { usage: answered.usage, charge: Some(answered.charge()) }
}

impl Wire for ChatWire {
    fn whole(&self, answered: &Answered, out: &mut Vec<u8>) {
        let id = format!("chatcmpl-{}", answered.id);
        let meta = Meta { id: &id, created: answered.created, model: &self.model };
        reply::encode(out, &meta, &answered.reply(), &spent(answered));
    }

    fn begin(&mut self, meta: &AnswerMeta, out: &mut Vec<u8>) {
        let id = format!("chatcmpl-{}", meta.id);
        let meta = Meta { id: &id, created: meta.created, model: &self.model };
        let mut encoder = Encoder::new(&meta, self.include_usage);
        encoder.begin(out);
        self.encoder = Some(encoder);
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        if let Some(encoder) = &mut self.encoder {
            encoder.delta(out, delta);
        }
    }

    fn finish(&mut self, answered: &Answered, out: &mut Vec<u8>) {
        if let Some(encoder) = self.encoder.take() {
            encoder.finish(out, answered.reply().finish, &spent(answered));
        }
    }

    fn fail(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        if let Some(encoder) = self.encoder.take() {
            encoder.error(out, &ApiError::of_status(problem.status(), &problem.to_string()));
        }
    }

    fn keep_alive(&self) -> &'static [u8] {
        KEEP_ALIVE.as_bytes()
    }
}
