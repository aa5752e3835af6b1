//! A request that is kept because it is done before its payment is taken: the payment is held meanwhile.

use crate::{RequestId, RequestState, SessionId};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::PaymentHash;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// A request as its client has sent it, without credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SentRequest {
    /// The HTTP method, in capitals.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query; `None` without one.
    pub query: Option<String>,
    /// The headers that change what is done.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl SentRequest {
    /// What it takes to keep it, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        let query = self.query.as_ref().map_or(0, String::len);
        let parts = [self.method.len(), self.path.len(), query, self.body.len()];
        headers.chain(parts).fold(0, usize::saturating_add)
    }
}

/// The answer to a request whose payment is still to be taken. Nobody is shown it before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KeptAnswer {
    /// How the request ends when the payment is taken: with the answer, or with the reason of a rejection, and with what it costs.
    pub state: RequestState,
    /// The HTTP status of the response that is stored for its proof.
    pub status: u16,
    /// The body of that response.
    pub body: String,
    /// Whether work was finished, which earns trust. A rejection, or a refusal of the service behind a mounted route, is none.
    pub is_work: bool,
    /// Whether the request was rejected by a fault of the customer's, which costs trust.
    pub is_fault: bool,
}

/// The state of a kept request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptState {
    /// Its hold invoice can be paid.
    Offered,
    /// The payment is held, and the work runs.
    Held {
        /// When the work must be done.
        until: Timestamp,
    },
    /// The work is done: the payment is to be taken. Nobody gives it back any more.
    Settling {
        /// The answer.
        answer: Box<KeptAnswer>,
    },
    /// The payment is to be given back. Nobody takes it any more.
    Cancelling,
    /// It is over, and nothing of the request is kept.
    Ended,
}

/// The name of a kept request's state, as used by the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeptStateName {
    /// Its hold invoice can be paid.
    Offered,
    /// The payment is held, and the work runs.
    Held,
    /// The payment is to be taken.
    Settling,
    /// The payment is to be given back.
    Cancelling,
    /// It is over.
    Ended,
}

impl KeptStateName {
    /// All names.
    pub const ALL: [Self; 5] = [Self::Offered, Self::Held, Self::Settling, Self::Cancelling, Self::Ended];

    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Held => "held",
            Self::Settling => "settling",
            Self::Cancelling => "cancelling",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for KeptStateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no state of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown state of a kept request: {0:?}")]
pub struct UnknownKeptState(String);

impl FromStr for KeptStateName {
    type Err = UnknownKeptState;
    fn from_str(text: &str) -> Result<Self, UnknownKeptState> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| UnknownKeptState(text.to_owned()))
    }
}

/// Who works on a kept request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptLease {
    /// The worker; `None` before the first.
    pub owner: Option<Uuid>,
    /// Until when nobody else may work on it.
    pub until: Timestamp,
    /// How often it was claimed.
    pub claims: u32,
}

impl KeptLease {
    /// Nobody has worked on it.
    pub const FREE: Self = Self { owner: None, until: Timestamp::UNIX_EPOCH, claims: 0 };

    /// Whether this is still the lease that `claimed` was, renewed or not.
    #[must_use]
    pub fn is_held_as(&self, claimed: &Self) -> bool {
        self.owner == claimed.owner && self.claims == claimed.claims
    }
}

/// A request that is to be kept with its offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKeptRequest {
    /// The session that pays for it.
    pub session: SessionId,
    /// The id that it is recorded with when it is paid for.
    pub request: RequestId,
    /// The customer's identity; `None` means anonymous.
    pub identity: Option<NostrPubkey>,
    /// The request.
    pub sent: Arc<SentRequest>,
}

/// A request that is done before its payment is taken, from the offer until the payment is taken or given back. Its text is kept from the
/// offer until the work is done, in no other row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRequest {
    /// The session that pays for it.
    pub session: SessionId,
    /// The id that it is recorded with when it is paid for.
    pub request: RequestId,
    /// The customer's identity; `None` means anonymous.
    pub identity: Option<NostrPubkey>,
    /// The hold invoice.
    pub invoice: PaymentHash,
    /// The request; `None` once its text is not needed any more.
    pub sent: Option<Arc<SentRequest>>,
    /// The state.
    pub state: KeptState,
    /// Who works on it.
    pub lease: KeptLease,
    /// When it was offered.
    pub created_at: Timestamp,
    /// Until when it can be paid for.
    pub expires_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl KeptRequest {
    /// A request that is offered for a hold invoice, which can be paid until `expires_at`.
    #[must_use]
    pub fn offered(
        new: &NewKeptRequest,
        invoice: PaymentHash,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            session: new.session,
            request: new.request,
            identity: new.identity,
            invoice,
            sent: Some(Arc::clone(&new.sent)),
            state: KeptState::Offered,
            lease: KeptLease::FREE,
            created_at: now,
            expires_at,
            updated_at: now,
        }
    }

    /// The name of the state.
    #[must_use]
    pub const fn state_name(&self) -> KeptStateName {
        match self.state {
            KeptState::Offered => KeptStateName::Offered,
            KeptState::Held { .. } => KeptStateName::Held,
            KeptState::Settling { .. } => KeptStateName::Settling,
            KeptState::Cancelling => KeptStateName::Cancelling,
            KeptState::Ended => KeptStateName::Ended,
        }
    }

    /// Whether somebody has to work on it: its payment is held, or its outcome is not known.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        matches!(self.state, KeptState::Held { .. } | KeptState::Settling { .. } | KeptState::Cancelling)
    }

    /// Its payment is held: the work must be done until then. `None` unless it is offered.
    #[must_use]
    pub fn held(&self, until: Timestamp, now: Timestamp) -> Option<Self> {
        let is_offered = matches!(self.state, KeptState::Offered);
        is_offered.then(|| Self { state: KeptState::Held { until }, updated_at: now, ..self.clone() })
    }

    /// The work is done: its payment is to be taken. `None` unless the payment is held.
    #[must_use]
    pub fn answered(&self, answer: KeptAnswer, now: Timestamp) -> Option<Self> {
        let is_held = matches!(self.state, KeptState::Held { .. });
        let state = KeptState::Settling { answer: Box::new(answer) };
        is_held.then(|| self.without_text(state, now))
    }

    /// Its payment is to be given back. `None` once that is decided.
    #[must_use]
    pub fn cancelled(&self, now: Timestamp) -> Option<Self> {
        let is_open = matches!(self.state, KeptState::Offered | KeptState::Held { .. });
        is_open.then(|| self.without_text(KeptState::Cancelling, now))
    }

    /// It is over.
    #[must_use]
    pub fn ended(&self, now: Timestamp) -> Self {
        self.without_text(KeptState::Ended, now)
    }

    /// A worker claims it. `None` if there is nothing to do, or somebody else works on it.
    #[must_use]
    pub fn claimed(&self, owner: Uuid, lease: Duration, now: Timestamp) -> Option<Self> {
        let claims = self.lease.claims.saturating_add(1);
        let claimed = KeptLease { owner: Some(owner), until: now + lease, claims };
        (self.is_due() && self.lease.until <= now).then(|| Self { lease: claimed, ..self.clone() })
    }

    /// Its worker keeps it until then, or gives it back by naming a time that has come. `None` if it is not theirs any more.
    #[must_use]
    pub fn leased_until(&self, claimed: &KeptLease, until: Timestamp) -> Option<Self> {
        let lease = KeptLease { until, ..self.lease };
        (self.is_due() && self.lease.is_held_as(claimed)).then(|| Self { lease, ..self.clone() })
    }

    fn without_text(&self, state: KeptState, now: Timestamp) -> Self {
        Self { state, sent: None, updated_at: now, ..self.clone() }
    }
}

/// What the requests that are kept come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptTotals {
    /// How many have not ended.
    pub requests: u64,
    /// How many bytes of text they have.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;
    const LEASE: Duration = Duration::from_secs(30);

    fn offered() -> KeptRequest {
        let sent = SentRequest {
            method: "POST".to_owned(),
            path: "/api/ask".to_owned(),
            query: None,
            headers: vec![("accept".to_owned(), "text/plain".to_owned())],
            body: b"{}".to_vec(),
        };
        let new = NewKeptRequest {
            session: SessionId(Uuid::nil()),
            request: RequestId(Uuid::max()),
            identity: None,
            sent: Arc::new(sent),
        };
        KeptRequest::offered(&new, PaymentHash::from_bytes([1; 32]), START + LEASE * 20, START)
    }

    fn answer() -> KeptAnswer {
        KeptAnswer {
            state: RequestState::Failed { message: "no".to_owned() },
            status: 200,
            body: "yes".to_owned(),
            is_work: true,
            is_fault: false,
        }
    }

    #[test]
    fn what_it_takes_to_keep_a_request_counts_all_of_it() {
        assert_eq!(offered().sent.unwrap().bytes(), 4 + 8 + 6 + 10 + 2);
    }

    #[test]
    fn a_worker_has_it_until_its_lease_is_over() {
        let held = offered().held(START + LEASE, START).unwrap();
        assert_eq!(offered().claimed(Uuid::nil(), LEASE, START), None, "nobody has paid");
        let first = held.claimed(Uuid::nil(), LEASE, START).unwrap();
        assert_eq!(first.claimed(Uuid::max(), LEASE, START + LEASE / 2), None);
        let second = first.claimed(Uuid::max(), LEASE, START + LEASE).unwrap();
        assert_eq!((second.lease.owner, second.lease.claims), (Some(Uuid::max()), 2));
        assert_eq!(second.leased_until(&first.lease, START), None, "it is not theirs any more");
        let renewed = second.leased_until(&second.lease, START + LEASE * 3).unwrap();
        assert!(renewed.lease.is_held_as(&second.lease));
    }

    #[test]
    fn names_read_back() {
        for name in KeptStateName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    proptest! {
        /// Whatever happens in whatever order: what is to be taken is never given back, nor the other way round, and the text is kept only
        /// while it may be needed.
        #[test]
        fn a_payment_is_taken_or_given_back_and_never_both(steps in proptest::collection::vec(0_u8..4, 0..20)) {
            let (mut kept, mut seen) = (offered(), Vec::new());
            for step in steps {
                let next = match step {
                    0 => kept.held(START, START),
                    1 => kept.answered(answer(), START),
                    2 => kept.cancelled(START),
                    _ => Some(kept.ended(START)),
                };
                kept = next.unwrap_or(kept);
                seen.push(kept.state_name());
                let needs_text = matches!(kept.state, KeptState::Offered | KeptState::Held { .. });
                prop_assert_eq!(kept.sent.is_some(), needs_text);
            }
            let both = [KeptStateName::Settling, KeptStateName::Cancelling];
            prop_assert!(!both.iter().all(|name| seen.contains(name)), "{:?}", seen);
            let settled = seen.iter().position(|name| *name == KeptStateName::Settling);
            let held = seen.iter().position(|name| *name == KeptStateName::Held);
            prop_assert!(settled.is_none_or(|settled| held.is_some_and(|held| held < settled)));
        }
    }
}
