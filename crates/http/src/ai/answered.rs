//! An answer as it is stored for repetitions of its request: in no API's words, so that it can be given whole or as a stream.

use super::stored_vectors::StoredVectors;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tithe_chat::{Charge, Finish, Part, Reasoning, Reply, ToolCall};
use tithe_engine::asks::{FinishedAsk, RenderAsk};
use tithe_engine::metered::Delivered;
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{FinishedRequest, RenderRequest};
use tithe_money::{Msats, UsdMicros};
use tithe_pricing::Usage;
use tithe_sessions::RequestState;
use uuid::Uuid;

/// An answer, and what it cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answered {
    /// The id of the request.
    pub(crate) id: Uuid,
    /// When the answer began, in seconds since 1970.
    pub(crate) created: i64,
    parts: Vec<StoredPart>,
    finish: StoredFinish,
    /// The embeddings, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vectors: Option<StoredVectors>,
    /// The tokens.
    pub(crate) usage: Usage,
    usd: UsdMicros,
    cost: Msats,
    absorbed: Msats,
    /// What was charged to the session.
    pub(crate) charged: Msats,
    /// What the session has left, if one paid.
    pub(crate) balance: Option<Msats>,
    /// The name of the backend that did the work, if the operator has named several; else where it ran, if no session paid.
    pub(crate) backend: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredPart {
    Text(String),
    Reasoning { text: String, signature: Option<String>, redacted: bool },
    Call { id: String, name: String, arguments: String },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredFinish {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    Other,
}

impl Answered {
    /// What is stored for a response, if it is an answer.
    pub(crate) fn read(response: &StoredResponse) -> Option<Self> {
        if response.status != 200 {
            return None;
        }
        serde_json::from_str(&response.body).ok()
    }

    /// The answer.
    pub(crate) fn reply(&self) -> Reply {
        let parts = self.parts.iter().cloned().map(Part::from).collect();
        Reply { parts, finish: self.finish.into() }
    }

    /// The embeddings; none if something else was asked for.
    pub(crate) fn vectors(&self) -> Vec<Vec<f32>> {
        self.vectors.as_ref().map(StoredVectors::read).unwrap_or_default()
    }

    /// What it cost.
    pub(crate) const fn charge(&self) -> Charge {
        Charge { usd: self.usd, msats: self.cost, absorbed: self.absorbed }
    }

    fn store(&self) -> StoredResponse {
        StoredResponse { status: 200, body: serde_json::to_string(self).unwrap_or_default() }
    }
}

/// Renders what is stored for a request that began at this time, in seconds since 1970.
#[derive(Debug)]
pub(super) struct StoreAnswer {
    pub(super) created: i64,
}

/// Renders what is stored for a request that is done without its client, and began at this time, in seconds since 1970.
pub(crate) fn render_answer(created: i64) -> Arc<dyn RenderRequest> {
    Arc::new(StoreAnswer { created })
}

impl StoreAnswer {
    fn answered(&self, id: Uuid, answer: &Delivered, cost: Msats, absorbed: Msats) -> Answered {
        let parts = answer.reply.parts.iter().filter_map(StoredPart::of).collect();
        Answered {
            id,
            created: self.created,
            parts,
            finish: answer.reply.finish.into(),
            vectors: answer.vectors.as_deref().map(StoredVectors::from),
            usage: answer.usage,
            usd: answer.usd,
            cost,
            absorbed,
            charged: Msats::ZERO,
            balance: None,
            backend: answer.backend.as_deref().map(str::to_owned),
        }
    }
}

/// A request without an answer that is worth repeating; its caller gets the problem itself.
const fn nothing() -> StoredResponse {
    StoredResponse { status: 502, body: String::new() }
}

impl RenderRequest for StoreAnswer {
    fn render(&self, finished: &FinishedRequest) -> StoredResponse {
        let RequestState::Complete { ended, .. } = &finished.request.state else { return nothing() };
        let Some(answer) = &finished.answer else { return nothing() };
        let mut answered = self.answered(finished.request.id.0, answer, ended.cost, ended.absorbed);
        answered.charged = ended.charged;
        answered.balance = Some(finished.balance);
        answered.store()
    }
}

impl RenderAsk for StoreAnswer {
    fn render(&self, finished: &FinishedAsk) -> StoredResponse {
        let Ok(answer) = &finished.answer else { return nothing() };
        let mut answered = self.answered(finished.id, answer, finished.cost, finished.absorbed);
        answered.backend.get_or_insert_with(|| finished.backend.as_str().to_owned());
        answered.store()
    }
}

impl StoredPart {
    fn of(part: &Part) -> Option<Self> {
        match part {
            Part::Text(text) => Some(Self::Text(text.clone())),
            Part::Reasoning(Reasoning { text, signature, is_redacted }) => Some(Self::Reasoning {
                text: text.clone(),
                signature: signature.clone(),
                redacted: *is_redacted,
            }),
            Part::ToolCall(ToolCall { id, name, arguments }) => {
                Some(Self::Call { id: id.clone(), name: name.clone(), arguments: arguments.clone() })
            }
            // No answer has these.
            Part::Image(_) | Part::ToolResult(_) => None,
        }
    }
}

impl From<StoredPart> for Part {
    fn from(part: StoredPart) -> Self {
        match part {
            StoredPart::Text(text) => Self::Text(text),
            StoredPart::Reasoning { text, signature, redacted } => {
                Self::Reasoning(Reasoning { text, signature, is_redacted: redacted })
            }
            StoredPart::Call { id, name, arguments } => Self::ToolCall(ToolCall { id, name, arguments }),
        }
    }
}

impl From<Finish> for StoredFinish {
    fn from(finish: Finish) -> Self {
        match finish {
            Finish::Stop => Self::Stop,
            Finish::Length => Self::Length,
            Finish::ToolCalls => Self::ToolCalls,
            Finish::ContentFilter => Self::ContentFilter,
            Finish::Other => Self::Other,
        }
    }
}

impl From<StoredFinish> for Finish {
    fn from(finish: StoredFinish) -> Self {
        match finish {
            StoredFinish::Stop => Self::Stop,
            StoredFinish::Length => Self::Length,
            StoredFinish::ToolCalls => Self::ToolCalls,
            StoredFinish::ContentFilter => Self::ContentFilter,
            StoredFinish::Other => Self::Other,
        }
    }
}
