//! Requests that are done before their payment is taken.
//!
//! An offer of a request may have a hold invoice: its payment is held when it arrives, and nobody has received it. The request is kept
//! with the offer ([`tithe_sessions::KeptRequest`]), because its client waits for its wallet, and sends it again with the proof only when the payment was
//! taken:
//!
//! 1. `InvoiceIssue` records the hold invoice, and the request with it.
//! 2. `PaymentHold` notes that the payment is held, and until when the work must be done.
//! 3. A worker claims the request (`KeptClaim`) and does the work. `KeptFinish` commits what is to become of the payment: it is taken, and
//!    the answer is in the row; or it is given back.
//! 4. The wallet is asked to do that, by any server and as often as it takes, until its record says that it is done.
//! 5. `PaymentCredit` credits the payment, charges the work, refunds the rest and stores the answer under the key of the proof, in one
//!    transaction. A payment that has gone back ends with `KeptEnd`: nothing was paid, and nothing is delivered.
//!
//! Nobody has the preimage before the wallet has taken the payment, so no proof can come earlier. The money of a payment that somebody
//! else has taken (as after the restore of a backup) buys its request as that of an ordinary invoice does.

mod answer;
mod charge;
mod claim;
mod end;
mod finish;
mod making;
mod offer;
mod read;
mod slow_models;
mod take;
mod work;

pub use charge::HeldDeposit;
pub use claim::{KeptClaim, KeptLeaseChange};
pub use end::KeptEnd;
pub use finish::KeptFinish;
pub(super) use making::KeptMaking;
pub(super) use offer::OfferedSession;
pub use read::{ReadRequest, ReadSent};
pub(super) use slow_models::SlowModels;

use std::time::Duration;

/// How long a request may take whose payment is held. Clients wait about a minute for a payment.
pub(super) const WORK_WINDOW: Duration = Duration::from_secs(45);

/// The largest request that is kept, in bytes; and how many bytes all of them may have.
pub(super) const SENT_BYTES_MAX: usize = 64 * 1024;
pub(super) const ALL_BYTES_MAX: u64 = 64 * 1024 * 1024;
