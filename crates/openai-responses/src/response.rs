//! The response object.

use crate::ResponsesRequest;
use crate::echo::Echo;
use crate::json;
use crate::output::{self, Item};
use crate::tools::ToolNames;
use std::sync::Arc;
use tithe_chat::{Charge, Finish, Reply};
use tithe_pricing::Usage;

/// What all events of a response have in common: its id, its time, and what it repeats of the request.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    pub(crate) id: String,
    created_at: u64,
    model: String,
    echo: Arc<Echo>,
    pub(crate) names: Arc<ToolNames>,
}

impl ResponseHead {
    /// The head of the response to a request.
    ///
    /// `id` is unique and begins with `resp_`; the ids of items are made of it. `created_at` is in seconds since 1970.
    #[must_use]
    pub fn new(id: impl Into<String>, created_at: u64, request: &ResponsesRequest) -> Self {
        Self {
            id: id.into(),
            created_at,
            model: request.model.clone(),
            echo: Arc::clone(&request.echo),
            names: Arc::clone(&request.names),
        }
    }

    /// The id of the response.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// How an answer ended, and what it cost.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Why it ended.
    pub finish: Finish,
    /// What was used.
    pub usage: Usage,
    /// What it cost; `None` if it was not charged.
    pub charge: Option<Charge>,
    /// When it ended, in seconds since 1970.
    pub completed_at: u64,
}

impl Outcome {
    /// Whether the answer was cut off.
    pub(crate) const fn is_cut(&self) -> bool {
        matches!(self.state(), State::Incomplete(..))
    }

    pub(crate) const fn state(&self) -> State<'_> {
        match self.finish {
            // There is no name for a reason that is not known: such an answer may not be whole, so it must not look as if it were.
            Finish::Length | Finish::Other => State::Incomplete("max_output_tokens", self),
            Finish::ContentFilter => State::Incomplete("content_filter", self),
            Finish::Stop | Finish::ToolCalls => State::Completed(self),
        }
    }
}

/// Why an answer has failed after its beginning. What clients do about it depends on the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureCode {
    /// `server_error`: the server or its backend failed. Clients try again.
    ServerError,
    /// `rate_limit_exceeded`: too many requests. Clients wait and try again.
    RateLimitExceeded,
    /// `insufficient_quota`: there is nothing left to pay with. Codex gives up.
    InsufficientQuota,
    /// `invalid_prompt`: the backend does not take the request. Codex gives up.
    InvalidPrompt,
}

impl FailureCode {
    /// The code, as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerError => "server_error",
            Self::RateLimitExceeded => "rate_limit_exceeded",
            Self::InsufficientQuota => "insufficient_quota",
            Self::InvalidPrompt => "invalid_prompt",
        }
    }
}

/// How far a response is.
#[derive(Clone, Copy)]
pub(crate) enum State<'a> {
    InProgress,
    Completed(&'a Outcome),
    Incomplete(&'static str, &'a Outcome),
    Failed(FailureCode, &'a str),
}

/// Appends the response object of a whole answer: the body of a response that is not streamed.
pub fn write_response(out: &mut Vec<u8>, head: &ResponseHead, reply: &Reply, outcome: &Outcome) {
    let items = output::items(reply, &head.names, outcome.is_cut());
    write(out, head, &items, outcome.state());
}

pub(crate) fn write(out: &mut Vec<u8>, head: &ResponseHead, items: &[Item], state: State<'_>) {
    json::text(out, "{\"id\":");
    json::string(out, &head.id);
    json::text(out, ",\"object\":\"response\",\"created_at\":");
    json::number(out, head.created_at);
    json::text(out, ",\"model\":");
    json::string(out, &head.model);
    let (status, outcome) = match state {
        State::InProgress => ("in_progress", None),
        State::Completed(outcome) => ("completed", Some(outcome)),
        State::Incomplete(_, outcome) => ("incomplete", Some(outcome)),
        State::Failed(..) => ("failed", None),
    };
    json::text(out, ",\"status\":\"");
    json::text(out, status);
    json::text(out, "\",\"completed_at\":");
    match state {
        State::Completed(outcome) => json::number(out, outcome.completed_at),
        _ => json::text(out, "null"),
    }
    json::text(out, ",\"error\":");
    match state {
        State::Failed(code, message) => {
            json::text(out, "{\"code\":\"");
            json::text(out, code.as_str());
            json::text(out, "\",\"message\":");
            json::string(out, message);
            out.push(b'}');
        }
        _ => json::text(out, "null"),
    }
    json::text(out, ",\"incomplete_details\":");
    match state {
        State::Incomplete(reason, _) => {
            json::text(out, "{\"reason\":\"");
            json::text(out, reason);
            json::text(out, "\"}");
        }
        _ => json::text(out, "null"),
    }
    out.push(b',');
    head.echo.write(out);
    json::text(out, ",\"output\":[");
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        item.write(out, &head.id, place);
    }
    json::text(out, "],\"usage\":");
    match outcome {
        Some(outcome) => write_usage(out, outcome),
        None => json::text(out, "null"),
    }
    out.push(b'}');
}

fn write_usage(out: &mut Vec<u8>, outcome: &Outcome) {
    let usage = outcome.usage;
    let writes = usage.cache_write_tokens.saturating_add(usage.cache_write_1h_tokens);
    let numbers = [
        ("{\"input_tokens\":", usage.input_tokens),
        (",\"input_tokens_details\":{\"cached_tokens\":", usage.cached_input_tokens.min(usage.input_tokens)),
        (",\"cache_write_tokens\":", writes),
        ("},\"output_tokens\":", usage.output_tokens),
        (",\"output_tokens_details\":{\"reasoning_tokens\":", usage.reasoning_tokens),
        ("},\"total_tokens\":", usage.input_tokens.saturating_add(usage.output_tokens)),
    ];
    for (name, number) in numbers {
        json::text(out, name);
        json::number(out, number);
    }
    if let Some(charge) = outcome.charge {
        json::text(out, ",\"cost\":");
        json::number(out, charge.usd);
        json::text(out, ",\"cost_msats\":");
        json::number(out, charge.msats.get());
        json::text(out, ",\"absorbed_msats\":");
        json::number(out, charge.absorbed.get());
    }
    out.push(b'}');
}
