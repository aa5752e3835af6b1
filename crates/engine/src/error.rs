//! Why use cases fail.

use crate::books::Refusal;
use crate::committer::CommitError;
use crate::error_chain::chain;
use crate::sessions::PaymentSessionError;
use crate::store::StoreError;
use std::fmt;
use std::time::Duration;
use tithe_ledger::credits::{CreditRefusal, TooManyInstalls};
use tithe_licences::InvalidLicence;
use tithe_lightning::{Invoice, TestPaymentError};
use tithe_money::{MoneyError, Msats, Sats};
use tithe_payouts::PayoutError;
use tithe_paywall::{LimitReached, l402, payment};
use tithe_pricing::{PriceError, QuoteError};
use tithe_sessions::SessionError;
use tithe_trust::{AuthError, InvalidToken};
use tracing::{error, warn};

/// What is wrong with a request. `Display` says how to correct it, without the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request has no text, or only white space.
    #[error("empty: expected a text that says what you want done")]
    Empty,
    /// The request is longer than the server accepts.
    #[error("too long: expected at most {limit} bytes, got {bytes}")]
    TooLong {
        /// The length of the request, in bytes.
        bytes: usize,
        /// The longest request that is accepted, in bytes.
        limit: usize,
    },
    /// The request has a control character other than tab and line breaks.
    #[error(
        "control character: expected text with no control characters but tab and line breaks, got U+{code:04X} at \
         character {position}"
    )]
    ControlCharacter {
        /// The code point of the character.
        code: u32,
        /// The position of the character, counted in characters from 0.
        position: usize,
    },
    /// The model is not offered.
    #[error("not offered by this server: expected one of {offered}; got {name:?}")]
    UnknownModel {
        /// The name in the request.
        name: String,
        /// The names of the models that are offered.
        offered: String,
    },
    /// The amount of a deposit or a top-up is out of range.
    #[error("out of range: expected {least} to {most}, got {asked}")]
    Amount {
        /// The amount.
        asked: Sats,
        /// The least that is accepted.
        least: Sats,
        /// The most that is accepted.
        most: Sats,
    },
    /// Nothing can be paid to the destination.
    #[error("{problem}")]
    Destination {
        /// The name of the field that names the destination.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// No messages are sent to the webhook.
    #[error("{0}")]
    Webhook(String),
    /// The model is not among those that an install's plan includes.
    #[error("not included in the plans of installs: expected one of {included}; got {name:?}")]
    ModelNotIncluded {
        /// The name in the request.
        name: String,
        /// The names of the models that are included.
        included: String,
    },
    /// More output is wanted than an install's plan includes.
    #[error("not included in the plans of installs: expected at most {limit} output tokens, got {asked}")]
    OutputNotIncluded {
        /// The output that is wanted, in tokens.
        asked: u64,
        /// The most output that is included, in tokens.
        limit: u64,
    },
    /// The chat has a tool that only backends of its API know, and no backend of the model speaks that API.
    #[error("unknown tool: expected functions, because no backend of {model:?} knows the tool {tool:?}")]
    ToolOfApi {
        /// The type of the tool.
        tool: String,
        /// The model.
        model: String,
    },
    /// The plan is not offered.
    #[error("not offered by this server: expected one of {offered}; got {name:?}")]
    UnknownPlan {
        /// The name in the request.
        name: String,
        /// The names of the plans that are offered.
        offered: String,
    },
    /// A text that is to be embedded does not fit the model.
    #[error(
        "too long: expected at most {limit} tokens (the maximum context length of {model}), got {tokens} in input {index}"
    )]
    InputTooLong {
        /// The position of the text among the inputs, from 0 on.
        index: usize,
        /// Its tokens, as counted.
        tokens: u64,
        /// The most tokens of one text.
        limit: u64,
        /// The model.
        model: String,
    },
    /// All texts that are to be embedded are too much for one request.
    #[error("too long: expected at most {limit} tokens in all inputs of a request, got {tokens}")]
    InputsTooLong {
        /// Their tokens, as counted.
        tokens: u64,
        /// The most tokens of one request.
        limit: u64,
    },
    /// The request cannot be quoted.
    #[error(transparent)]
    Quote(QuoteError),
}

impl RequestError {
    /// The field of the request that is wrong.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::UnknownModel { .. }
            | Self::ModelNotIncluded { .. }
            | Self::Quote(QuoteError::Purpose { .. }) => "model",
            Self::InputTooLong { .. } | Self::InputsTooLong { .. } => "input",
            Self::ToolOfApi { .. } => "tools",
            Self::UnknownPlan { .. } => "plan",
            Self::Webhook(_) => "webhookUrl",
            Self::Destination { field, .. } => field,
            Self::Amount { .. } => "amountSats",
            Self::Quote(QuoteError::OutputLimit { .. }) | Self::OutputNotIncluded { .. } => "maxOutputTokens",
            Self::Empty | Self::TooLong { .. } | Self::ControlCharacter { .. } | Self::Quote(_) => "request",
        }
    }
}

/// Why credentials prove no identity. `Display` may be shown to whoever presented them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCredential {
    /// An identity token is invalid.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// A signed event is invalid.
    #[error(transparent)]
    Event(#[from] AuthError),
    /// A signed event is for another URL.
    #[error("wrong URL: expected one `u` tag with {expected}, including the query, without a fragment")]
    Url {
        /// The URL of the request, or the URLs that it may have been sent to.
        expected: String,
    },
    /// A signed event was used before.
    #[error("signed event used before: sign a new one")]
    Used,
    /// A macaroon is malformed, forged, expired, or has caveats that this server does not know.
    #[error("{0}")]
    Macaroon(String),
    /// A genuine macaroon is not a session's.
    #[error("invalid macaroon: expected one of a session")]
    NotASession,
    /// The macaroon was revoked, or one that it was narrowed from.
    #[error("the macaroon was revoked by the owner of the session")]
    Revoked,
    /// A licence is malformed, forged, expired, or another install's.
    #[error(transparent)]
    Licence(#[from] InvalidLicence),
    /// A genuine licence was revoked.
    #[error("the licence was revoked")]
    LicenceRevoked,
    /// The claim token is not this one's.
    #[error("invalid claim token: expected the one that was returned when this was created")]
    ClaimToken,
    /// The credentials belong to different identities.
    #[error("several identities: expected credentials of one identity")]
    Several,
}

/// Why something that was presented as the proof of a payment is none. `Display` may be shown to whoever presented it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProof {
    /// The header has no token and preimage.
    #[error(transparent)]
    Credential(l402::InvalidCredential),
    /// The token is not one of ours, was altered, has an unknown caveat, or is that of another payment.
    #[error(transparent)]
    Token(l402::Refused),
    /// The token has expired: its holder has limited its time.
    #[error("the token has expired: the payment can be used or claimed with the token as it was offered")]
    Expired,
    /// The header has no credential of the scheme `Payment`.
    #[error(transparent)]
    PaymentCredential(payment::InvalidCredential),
    /// The challenge is not one of ours, was altered, or is that of another payment.
    #[error(transparent)]
    Challenge(payment::Refused),
    /// The token was narrowed: it can be used for the request, and not to claim the payment.
    #[error("narrowed token: expected the token as it was offered, which alone can claim the payment")]
    Narrowed,
}

/// Why a request that was paid for by itself is not done, or its payment not returned. `Display` may be shown to customers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PaidRequestError {
    /// The payment was made for another request. It can still be used for that one.
    #[error(
        "the proof is for another request: expected the same method, URL, payer and body as when the price was quoted"
    )]
    AnotherRequest,
    /// The wallet has not reported the payment yet, or it was never made.
    #[error("the payment has not arrived at the server's wallet yet; repeat the request shortly")]
    NotArrived,
    /// Less than the price was paid. Nothing was done; what was paid can be claimed.
    #[error(
        "paid too little: expected {price}, got {paid}, {missing} are missing; what was paid can be claimed back"
    )]
    Short {
        /// The price.
        price: Msats,
        /// What was paid.
        paid: Msats,
        /// What is missing.
        missing: Msats,
    },
    /// The request is being done at the moment.
    #[error("the request that was paid for is being done; repeat it shortly for the answer")]
    Running,
    /// A payment for the same request, of somebody at the same address, is held.
    #[error(
        "a payment for this request is held while the request is done; repeat it with the proof of payment, or wait a minute to buy it again"
    )]
    BeingPaid,
    /// The payment has bought its answer, which is no longer stored.
    #[error("the payment has bought its answer already, which is no longer stored; make a new payment")]
    Used,
    /// The payment was claimed back.
    #[error("the payment was claimed back, so it buys nothing; make a new payment")]
    Returned,
    /// The payment was not used in time. It can be claimed back.
    #[error("the payment was not used in time; it can be claimed back")]
    Expired,
    /// The request has failed too often. The payment can be claimed back.
    #[error("the request has failed too often; the payment can be claimed back")]
    Failing,
    /// The service behind a mounted route may have done the request, and its answer is lost. The payment can be claimed back.
    #[error(
        "the service behind this route may have done the request, and its answer is lost; it is not called again; the payment can be claimed back"
    )]
    Lost,
    /// What was quoted cannot be done at its price any more. The payment can be claimed back.
    #[error("the request cannot be done at its price any more; the payment can be claimed back")]
    Outpriced,
}

/// Nobody pays for a plain request: what a program needs to know to pay for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentNeeded {
    /// The most that the request can cost.
    pub required: Msats,
    /// Why the install that asked has no credit for it; `None` if no install asked.
    pub credits: Option<CreditRefusal>,
}

impl fmt::Display for PaymentNeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.credits {
            Some(refusal) => refusal.fmt(f),
            None => write!(f, "payment needed: the request costs at most {}", self.required),
        }
    }
}

/// Why a use case failed. `Display` may be shown to customers. Exhaustive on purpose: whoever renders errors must decide about
/// every one.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The request is wrong.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Credentials were presented that prove no identity.
    #[error(transparent)]
    InvalidIdentity(#[from] InvalidCredential),
    /// What the request is about does not exist.
    #[error("there is no {kind} {key}")]
    NotFound {
        /// What it is, such as `job`.
        kind: &'static str,
        /// Its id.
        key: String,
    },
    /// The idempotency key was used with another request.
    #[error("this Idempotency-Key was used with another request")]
    IdempotencyKeyReused,
    /// The first request with this idempotency key is still running.
    #[error("the first request with this Idempotency-Key is still running; repeat it shortly")]
    RequestInProgress,
    /// Too many invoices are unpaid.
    #[error("too many invoices are waiting to be paid; try again later")]
    TooManyUnpaid,
    /// Too many jobs of this customer, or of its origin, wait for their first payment.
    #[error(
        "too many unpaid invoices: expected at most {most} at once from you or your network; pay one, or wait until one expires"
    )]
    TooManyUnpaidOfYours {
        /// How many may be unpaid at once.
        most: usize,
        /// When the next one expires.
        retry_after: Duration,
    },
    /// The session has less than the request may cost. Nothing was held.
    #[error("the session has {available} available; this request needs {required}")]
    InsufficientBalance {
        /// What the request may cost.
        required: Msats,
        /// What the session has, less what requests that run may cost.
        available: Msats,
    },
    /// A limit of the macaroon does not allow the request. Nothing was held.
    #[error(transparent)]
    KeyLimit(LimitReached),
    /// The macaroon is not for this model.
    #[error("the macaroon is not for the model {model}")]
    KeyModel {
        /// The model.
        model: String,
    },
    /// The session is in a state that does not allow this.
    #[error(transparent)]
    SessionState(SessionError),
    /// What was presented as the proof of a payment is none.
    #[error(transparent)]
    InvalidProof(#[from] InvalidProof),
    /// A request that was paid for by itself is not done, or its payment not returned.
    #[error(transparent)]
    PaidRequest(#[from] PaidRequestError),
    /// A session of the scheme `Payment` is not opened, used, topped up or closed.
    #[error(transparent)]
    PaymentSession(#[from] PaymentSessionError),
    /// A top-up of the session is unpaid.
    #[error("a top-up is waiting to be paid already: pay it, or wait until its invoice expires")]
    TopUpPending(Box<Invoice>),
    /// The work on a request could not be done; nothing was charged.
    #[error("the work could not be done; nothing was charged")]
    WorkFailed,
    /// The backend refused the request for its content or its length; nothing was charged.
    #[error("the AI backend refused the request for its content or its length; nothing was charged")]
    WorkRefused,
    /// The service behind a mounted route gave no answer; nothing was charged.
    #[error("{0}")]
    UpstreamFailed(String),
    /// The request was begun before, its server is gone, and the service behind its mounted route may have done it; nothing was charged.
    #[error(
        "the service behind this route may have done this request, and its answer is lost; it is not called again; nothing was charged"
    )]
    CallLost,
    /// What is owed cannot be paid like this.
    #[error(transparent)]
    Payout(PayoutError),
    /// Nobody pays for the request.
    #[error("{0}")]
    PaymentNeeded(PaymentNeeded),
    /// Too many new installs have come from where this one comes from.
    #[error(transparent)]
    TooManyInstalls(TooManyInstalls),
    /// The plan has chosen the operator's own machine, and that does not answer. The credit was given back.
    #[error(
        "the hardware that your plan uses for this request is unavailable; the credit was given back; try again later"
    )]
    HardwareUnavailable {
        /// After how long to try again, if the machine has said so.
        retry_after: Option<Duration>,
    },
    /// This server sells no nodes.
    #[error("this server sells no nodes")]
    NoNodes,
    /// The provisioner cannot make nodes, so that none are sold.
    #[error("the provisioner is unavailable, so no nodes are sold; try again later")]
    NoProvisioner,
    /// The AI backend cannot work, so that nothing is sold.
    #[error("the AI backend is unavailable, so no new work is accepted; try again later")]
    NoBackend,
    /// No BTC price is known that is recent enough to sell at.
    #[error("no current BTC price is known, so nothing can be priced; try again later")]
    NoPrice(#[source] PriceError),
    /// The wallet cannot make an invoice now.
    #[error("the Lightning wallet is unavailable; try again later")]
    NoWallet,
    /// The server is too busy, or its database is unavailable.
    #[error("the server is too busy, or its database is unavailable; try again later")]
    Busy,
    /// The database went away during a commit: the change was made, or it was not.
    #[error(
        "outcome unknown: the database went away during the commit; repeat the request with the same Idempotency-Key to \
         learn the outcome"
    )]
    OutcomeUnknown,
    /// A test payment was refused.
    #[error(transparent)]
    TestPayment(TestPaymentError),
    /// Anything else. The cause is in the log.
    #[error("internal error; the request may be repeated with the same Idempotency-Key")]
    Internal,
}

impl EngineError {
    /// The error for something that does not exist.
    pub(crate) fn not_found(kind: &'static str, key: &impl ToString) -> Self {
        Self::NotFound { kind, key: key.to_string() }
    }
}

impl From<StoreError> for EngineError {
    fn from(cause: StoreError) -> Self {
        match cause {
            StoreError::Unavailable(_) => {
                warn!(error = chain(&cause), "the database is not available");
                Self::Busy
            }
            StoreError::OutcomeUnknown(_) => {
                warn!(error = chain(&cause), "it is not known whether a change was written");
                Self::OutcomeUnknown
            }
            StoreError::Corrupt { .. } | StoreError::Failed(_) => {
                error!(error = chain(&cause), "the database failed");
                Self::Internal
            }
        }
    }
}

impl From<CommitError> for EngineError {
    fn from(cause: CommitError) -> Self {
        match cause {
            CommitError::Busy => Self::Busy,
            CommitError::Refused(refusal) => refusal.into(),
            CommitError::Failed => Self::Internal,
            CommitError::Unknown => Self::OutcomeUnknown,
        }
    }
}

impl From<Refusal> for EngineError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::IdempotencyKeyReused => Self::IdempotencyKeyReused,
            Refusal::RequestInProgress => Self::RequestInProgress,
            Refusal::AuthNonceUsed => InvalidCredential::Used.into(),
            Refusal::Session(refused) => Self::SessionState(refused),
            Refusal::Payout(refused) => Self::Payout(refused),
            Refusal::KeyRevoked(_) => InvalidCredential::Revoked.into(),
            Refusal::CallLost => Self::CallLost,
            Refusal::LicenceRevoked(_) => InvalidCredential::LicenceRevoked.into(),
            Refusal::NewInstalls(limit) => Self::TooManyInstalls(limit),
            Refusal::NotFound { kind, key } => Self::NotFound { kind, key },
            Refusal::Exists { .. }
            | Refusal::OtherOwner(_)
            | Refusal::OtherIdentity { .. }
            | Refusal::LeaseLost { .. }
            | Refusal::NotFree(_)
            | Refusal::FreeTier(_)
            | Refusal::KeyUsage(_)
            | Refusal::Credit(_)
            | Refusal::Transition(_)
            | Refusal::Bootstrap(_)
            | Refusal::Invoice(_)
            | Refusal::Ledger(_)
            | Refusal::Money(_)
            | Refusal::Undeclared(_) => {
                error!(error = chain(&refusal), "a command was refused unexpectedly");
                Self::Internal
            }
        }
    }
}

impl From<QuoteError> for EngineError {
    fn from(cause: QuoteError) -> Self {
        Self::Request(RequestError::Quote(cause))
    }
}

impl From<AuthError> for EngineError {
    fn from(cause: AuthError) -> Self {
        Self::InvalidIdentity(cause.into())
    }
}

impl From<MoneyError> for EngineError {
    fn from(cause: MoneyError) -> Self {
        error!(error = chain(&cause), "an amount cannot be expressed");
        Self::Internal
    }
}
