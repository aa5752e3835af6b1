//! Payouts: what is owed to customers is paid to where they say, once.
//!
//! What is due is an obligation ([`tithe_payouts::Obligation`]), one for each account of a customer; every refund adds to it in the
//! transaction that accrues the refund. A payout is a saga:
//!
//! | step | transaction | a crash after it |
//! | --- | --- | --- |
//! | 1. the customer names a destination | [`PayoutDirect`] | the worker of any server goes on |
//! | 2. an address is resolved to an invoice; the wallet is asked whether it has paid that invoice before | – | nothing has happened |
//! | 3. the intent | [`PayoutBegin`]: the payout is `paying`, and the obligation points at it | the outcome is looked up |
//! | 4. the wallet is called, once, by the server that has committed 3 | – | the outcome is looked up |
//! | 5. the outcome | [`PayoutFinish`]: paid, with the transfers; or certainly failed, and everything is due still | – |
//!
//! A refund that is to be credited to a session has no steps 2 to 5: `PayoutCredit` does it in one transaction, after
//! the wallet has been asked what became of payouts of the same obligation that have failed.
//!
//! **After 3, compensation is forbidden**: the money may have left. Only the wallet's own word ends a payout: that it succeeded, or
//! that it failed for good. An error, a time-out, a lost answer, a wallet that does not answer are looked up, by any server, again and
//! again, the more seldom the longer it takes; from `payout_alarm` on each look is logged as an ERROR, and `tithe payouts list` shows
//! the payout. When the wallet has no record of the payment, `payout_doubt` after the intent, **the same invoice** is sent again (a
//! wallet pays one payment hash at most once); from then on nothing but a record of the wallet ends the payout, or the expiry of the
//! invoice. So another invoice is paid only after it is certain that the first one was not.
//!
//! A server that needed longer than a twelfth of `payout_doubt` for the commit of 3 no longer calls the wallet.

mod obligations;
mod operator;
mod payout_begin;
mod payout_credit;
mod payout_defer;
mod payout_direct;
mod payout_finish;
mod payout_settle;
mod refund_view;
mod service;
mod view;
mod worker;

pub use operator::SettleError;
pub use payout_begin::{BegunPayout, PayoutBegin};
pub use payout_defer::PayoutDefer;
pub use payout_direct::PayoutDirect;
pub use payout_finish::{PayoutFinish, PayoutOutcome};
pub use payout_settle::{OperatorSettlement, PayoutSettle};
pub use refund_view::RefundView;
pub use service::{NoAddresses, Payouts};
