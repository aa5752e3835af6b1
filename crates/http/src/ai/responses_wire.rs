//! OpenAI's responses.

use super::answered::Answered;
use super::wire::{AnswerMeta, Wire};
use crate::problem::Problem;
use tithe_chat::Delta;
use tithe_openai_responses::{
    Encoder, FailureCode, KEEP_ALIVE, Outcome, ResponseHead, ResponsesRequest, write_response,
};
use uuid::Uuid;

/// Writes answers as OpenAI's responses.
pub(crate) struct ResponsesWire {
    request: ResponsesRequest,
    encoder: Option<Encoder>,
}

impl ResponsesWire {
    /// Writes answers to this request.
    pub(crate) const fn new(request: ResponsesRequest) -> Self {
        Self { request, encoder: None }
    }

    fn head(&self, id: Uuid, created: i64) -> ResponseHead {
        ResponseHead::new(
            format!("resp_{}", id.simple()),
            u64::try_from(created).unwrap_or_default(),
            &self.request,
        )
    }
}

fn outcome(answered: &Answered) -> Outcome {
    Outcome {
        finish: answered.reply().finish,
        usage: answered.usage,
        charge: Some(answered.charge()),
        completed_at: u64::try_from(answered.created).unwrap_or_default(),
    }
}

impl Wire for ResponsesWire {
    fn whole(&self, answered: &Answered, out: &mut Vec<u8>) {
        write_response(out, &self.head(answered.id, answered.created), &answered.reply(), &outcome(answered));
    }

    fn begin(&mut self, meta: &AnswerMeta, out: &mut Vec<u8>) {
        let mut encoder = Encoder::new(self.head(meta.id, meta.created));
        encoder.start(out);
        self.encoder = Some(encoder);
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        if let Some(encoder) = &mut self.encoder {
            encoder.push(delta, out);
        }
    }

    fn finish(&mut self, answered: &Answered, out: &mut Vec<u8>) {
        if let Some(encoder) = &mut self.encoder {
            encoder.finish(&outcome(answered), out);
        }
    }

    fn fail(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        if let Some(encoder) = &mut self.encoder {
            let code = match problem.status() {
                402 => FailureCode::InsufficientQuota,
                429 => FailureCode::RateLimitExceeded,
                400..500 => FailureCode::InvalidPrompt,
                _ => FailureCode::ServerError,
            };
            encoder.fail(code, &problem.to_string(), out);
        }
    }

    fn keep_alive(&self) -> &'static [u8] {
        KEEP_ALIVE
    }
}
