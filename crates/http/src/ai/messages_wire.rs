//! Anthropic's messages.

use super::answered::Answered;
use super::wire::{AnswerMeta, Wire};
use crate::problem::Problem;
use crate::request_id;
use tithe_anthropic_messages::{Encoder, ErrorBody, encode_reply};
use tithe_chat::Delta;
use tithe_pricing::Usage;

const PING: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

/// Writes answers as Anthropic's messages.
pub(crate) struct MessagesWire {
    model: String,
    /// The tokens of the prompt, as far as they are known before the answer.
    input: Usage,
    encoder: Option<Encoder>,
    http_request_id: String,
}

impl MessagesWire {
    /// Writes answers of `model`, as the client calls it, to a prompt of so many tokens.
    pub(crate) fn new(model: String, input_tokens: u64) -> Self {
        let input = Usage { input_tokens, ..Usage::ZERO };
        Self { model, input, encoder: None, http_request_id: request_id::current() }
    }
}

fn id_of(answered: uuid::Uuid) -> String {
    format!("msg_{}", answered.simple())
}

impl Wire for MessagesWire {
    fn whole(&self, answered: &Answered, out: &mut Vec<u8>) {
        let charge = answered.charge();
        let (id, reply) = (id_of(answered.id), answered.reply());
        encode_reply(out, &id, &self.model, &reply, &answered.usage, Some(&charge));
    }

    fn begin(&mut self, meta: &AnswerMeta, out: &mut Vec<u8>) {
        self.encoder = Some(Encoder::start(out, &id_of(meta.id), &self.model, &self.input));
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        if let Some(encoder) = &mut self.encoder {
            encoder.delta(out, delta);
        }
    }

    fn finish(&mut self, answered: &Answered, out: &mut Vec<u8>) {
        if let Some(encoder) = self.encoder.take() {
            encoder.finish(out, answered.reply().finish, &answered.usage, Some(&answered.charge()));
        }
    }

    fn fail(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        if let Some(encoder) = self.encoder.take() {
            let message = problem.to_string();
            let request_id = Some(self.http_request_id.as_str());
            let error = ErrorBody { status: problem.status(), message: &message, metadata: None, request_id };
            encoder.error(out, &error);
        }
    }

    fn keep_alive(&self) -> &'static [u8] {
        PING
    }
}
