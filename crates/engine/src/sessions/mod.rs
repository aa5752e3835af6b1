//! Sessions: prepaid balances that many requests draw on.
//!
//! Creating a session is a saga as creating a job is: `SessionCreate`, the wallet, `InvoiceIssue`. A request is two commands around
//! the work:
//!
//! 1. `SessionRequestBegin`: what the prompt and the first step of the answer can cost is held on the session's account, or the most
//!    that the request can cost, if the customer has said how long the answer is to be; the request is recorded, and its idempotency key
//!    points at it.
//! 2. The evaluation and the work run. The hold's lease is renewed meanwhile (`SessionRequestRenew`), and the hold grows ahead of what
//!    is generated (`SessionRequestExtend`). When nothing more is to be had, the answer ends at a length.
//! 3. `SessionRequestFinish`: the hold ends, and what was done is settled (charge, grant, tithe, trust); the request is recorded with
//!    its answer, and the response is stored for its key.
//!
//! A crash between 1 and 3 charges nothing: the lease runs out, and `SessionRequestAbandon` releases the hold. Nobody can be charged
//! twice, because a request ends once. When a session ends while requests run, what is available is refunded at once, and what
//! their holds leave when they end.
//!
//! A request can also be paid for by itself. An offer ([`Sessions::offer_request`]) is a session that pays for one request, with its
//! price as the deposit; a proof of the payment ([`Sessions::proven`]) has that request done ([`Sessions::redeem`]), once: repeating it
//! returns the same answer. The answer closes the session, and what the request has not cost is refunded, as is a payment that was
//! never used: to whoever has its preimage ([`Sessions::refund_payment`]). If the operator wants it, such a request is done before its
//! payment is taken (`kept`).

mod claim;
mod close;
mod create;
mod deposits;
mod kept;
mod key_revoke;
mod keys;
mod macaroons;
mod offer_request;
mod offers;
mod owner;
mod payment;
mod proofs;
mod quoted_work;
mod redeem;
mod replenishing;
mod request;
mod request_abandon;
mod request_begin;
mod request_extend;
mod request_finish;
mod request_keep;
mod request_offers;
mod request_renew;
mod service;
mod session_abandon;
mod session_close;
mod session_create;
mod session_expire;
mod session_notified;
mod steps;
mod sweep;
mod top_up;
mod undelivered;
mod view;
mod waiters;
mod warn;
mod webhook_secrets;
mod webhooks;

pub use create::{CreatedSession, NewSessionRequest, RenderSession};
pub use deposits::{
    ClosedPaymentSession, NewDeposit, OfferedDeposit, PaymentSessionAccess, PaymentSessionError, Replenish,
    SessionCredential, SessionOpen, SessionTopUpMove, TopUpOutcome,
};
pub use kept::{HeldDeposit, KeptClaim, KeptEnd, KeptFinish, KeptLeaseChange, ReadRequest, ReadSent};
pub use key_revoke::SessionKeyRevoke;
pub use keys::SessionAccess;
pub(crate) use macaroons::MacaroonKeys;
pub use offer_request::NewPaidRequest;
pub use owner::{SessionOwner, SessionOwners};
pub(crate) use payment::TRIES_MAX;
pub use payment::{PaymentState, PaymentView};
pub use proofs::{PaidRequest, PresentedProof};
pub use redeem::PaidWork;
pub use request::NewWork;
pub use request_abandon::SessionRequestAbandon;
pub use request_begin::{SessionRequestBegin, SessionRequestBegun};
pub use request_extend::SessionRequestExtend;
pub use request_finish::{FinishedRequest, RenderRequest, RequestOutcome, SessionRequestFinish};
pub use request_offers::OfferedRequest;
pub use request_renew::SessionRequestRenew;
pub use service::Sessions;
pub use session_abandon::SessionAbandon;
pub use session_close::{ReturnTo, SessionClose};
pub use session_create::SessionCreate;
pub use session_expire::SessionExpire;
pub use session_notified::SessionNotified;
pub use view::SessionView;
pub use waiters::Waiter;
pub(crate) use webhook_secrets::WebhookSecrets;
pub use webhooks::{NoWebhooks, RefusedWebhookUrl, WebhookError, WebhookMessage, Webhooks};
