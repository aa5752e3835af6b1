//! One request of a session.

use crate::SessionId;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use tithe_clock::Timestamp;
use tithe_money::{BtcPrice, Msats};
use tithe_paywall::KeyId;
use tithe_pricing::{FinishReason, Usage};
use uuid::Uuid;

/// The id of a request. The hold that is set aside for it has the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestId(pub Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RequestId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// What a request has cost, and who paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestEnded {
    /// The price of what was done.
    pub cost: Msats,
    /// What was charged to the session.
    pub charged: Msats,
    /// What the pool paid.
    pub absorbed: Msats,
    /// What a receipt says of it besides; `None` for what was charged before receipts existed.
    #[cfg_attr(feature = "serde", serde(default))]
    pub basis: Option<ChargeBasis>,
}

/// What was charged for, and the exchange rate that its price was computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ChargeBasis {
    /// The SHA-256 of the request: of its body as it was sent to the AI API, otherwise of its text in UTF-8.
    pub request_sha256: [u8; 32],
    /// The BTC price at which the request was quoted.
    pub btc_price: BtcPrice,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestResult {
    /// The text that was delivered.
    pub text: Arc<str>,
    /// The tokens of the work, without the evaluation.
    pub usage: Usage,
    /// Whether the tokens were counted here, because the backend reported none.
    pub estimated: bool,
    /// Why the text ended.
    pub finish: FinishReason,
    /// The name of the backend that did the work, if the operator has named several.
    #[cfg_attr(feature = "serde", serde(default))]
    pub backend: Option<Arc<str>>,
}

/// The state of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum RequestState {
    /// The request is evaluated, or the work runs. What it may cost is held.
    Running,
    /// The work is done and charged.
    Complete {
        /// The answer.
        result: RequestResult,
        /// What it cost.
        ended: RequestEnded,
    },
    /// The evaluation did not accept the request, and only the evaluation was charged.
    Rejected {
        /// The reason, for the customer.
        reason: String,
        /// What it cost.
        ended: RequestEnded,
    },
    /// The work could not be done; nothing was charged.
    Failed {
        /// The reason, in words that customers may see.
        message: String,
    },
}

/// The name of a request's state, as used by the API and the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum RequestStateName {
    /// The request is evaluated, or the work runs.
    Running,
    /// The work is done and charged.
    Complete,
    /// The evaluation rejected the request.
    Rejected,
    /// The work could not be done.
    Failed,
}

impl RequestStateName {
    /// All state names.
    pub const ALL: [Self; 4] = [Self::Running, Self::Complete, Self::Rejected, Self::Failed];

    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

/// There is no state of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown state of a request: {0:?}")]
pub struct UnknownRequestState(String);

impl FromStr for RequestStateName {
    type Err = UnknownRequestState;
    fn from_str(text: &str) -> Result<Self, UnknownRequestState> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| UnknownRequestState(text.to_owned()))
    }
}

impl fmt::Display for RequestStateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One piece of work that is charged to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SessionRequest {
    /// The request's id.
    pub id: RequestId,
    /// The session that pays.
    pub session: SessionId,
    /// The model that the work runs on.
    pub model: String,
    /// The most that the request can cost: what is held for it. It grows while the request runs.
    pub limit: Msats,
    /// The keys whose limits it counts against, or whose use is recorded.
    pub keys: Vec<KeyId>,
    /// The state.
    pub state: RequestState,
    /// When the request began.
    pub created_at: Timestamp,
    /// When the request last changed.
    pub updated_at: Timestamp,
    /// When its text was deleted: the answer, or the reason that it ended with. It is empty since.
    pub text_deleted_at: Option<Timestamp>,
}

impl SessionRequest {
    /// The name of the state.
    #[must_use]
    pub const fn state_name(&self) -> RequestStateName {
        match self.state {
            RequestState::Running => RequestStateName::Running,
            RequestState::Complete { .. } => RequestStateName::Complete,
            RequestState::Rejected { .. } => RequestStateName::Rejected,
            RequestState::Failed { .. } => RequestStateName::Failed,
        }
    }

    /// The request may cost `more` than before: its hold has grown. `None` when it has ended, or when that is more than can exist.
    #[must_use]
    pub fn extended(&self, more: Msats, now: Timestamp) -> Option<Self> {
        let limit = self.limit.checked_add(more).ok()?;
        matches!(self.state, RequestState::Running).then(|| Self { limit, updated_at: now, ..self.clone() })
    }

    /// The request ends, once. `None` when it has ended already.
    #[must_use]
    pub fn ended(&self, state: RequestState, now: Timestamp) -> Option<Self> {
        matches!(self.state, RequestState::Running).then(|| Self { state, updated_at: now, ..self.clone() })
    }

    /// The request without its text; `None` while it runs, and when the text was deleted before. Amounts, tokens and times stay.
    #[must_use]
    pub fn without_text(&self, now: Timestamp) -> Option<Self> {
        let mut state = self.state.clone();
        match &mut state {
            RequestState::Running => return None,
            RequestState::Complete { result, .. } => result.text = "".into(),
            RequestState::Rejected { reason: text, .. } | RequestState::Failed { message: text } => {
                text.clear();
            }
        }
        self.text_deleted_at.is_none().then(|| Self { state, text_deleted_at: Some(now), ..self.clone() })
    }

    /// What the request has cost; `None` while it runs, and when it has failed.
    #[must_use]
    pub const fn cost(&self) -> Option<&RequestEnded> {
        match &self.state {
            RequestState::Complete { ended, .. } | RequestState::Rejected { ended, .. } => Some(ended),
            RequestState::Running | RequestState::Failed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_once() {
        let running = SessionRequest {
            id: RequestId(Uuid::nil()),
            session: SessionId(Uuid::nil()),
            model: "m".to_owned(),
            limit: Msats::ZERO,
            keys: Vec::new(),
            state: RequestState::Running,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            text_deleted_at: None,
        };
        let failed = || RequestState::Failed { message: "no".to_owned() };
        let ended = running.ended(failed(), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((ended.state_name(), ended.cost()), (RequestStateName::Failed, None));
        assert_eq!(ended.ended(failed(), Timestamp::UNIX_EPOCH), None);
        let rejected = RequestState::Rejected { reason: "odd".to_owned(), ended: RequestEnded::default() };
        let rejected = running.ended(rejected, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(rejected.cost(), Some(&RequestEnded::default()));
        assert_eq!(running.without_text(Timestamp::UNIX_EPOCH), None);
        let forgotten = rejected.without_text(Timestamp::UNIX_EPOCH).unwrap();
        assert!(matches!(&forgotten.state, RequestState::Rejected { reason, .. } if reason.is_empty()));
        assert_eq!(forgotten.without_text(Timestamp::UNIX_EPOCH), None);
        for name in RequestStateName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }
}
