//! Conformance tests of wallets with hold invoices.
//!
//! A wallet's own tests are one line, which makes a fresh wallet with a payer for each case:
//!
//! ```ignore
//! tithe_wallet_suite::hold_suite!(a_fresh_wallet);
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "this crate is tests: a panic is how they fail"
)]

#[expect(missing_docs, reason = "the name of a case is the rule")]
pub mod cases;
mod payer;

pub use payer::{HoldBench, PayerSees};
pub use tokio;

/// Runs every case with the bench that `$make` makes: an async function without parameters that returns a [`HoldBench`].
#[macro_export]
macro_rules! hold_suite {
    ($make:path) => {
        $crate::hold_suite!(
            $make;
            the_invoice_is_the_one_that_was_asked_for,
            a_payment_is_held_and_told_to_whoever_listens,
            a_settled_payment_gives_the_payer_the_preimage,
            a_cancelled_payment_goes_back,
            settling_again_takes_nothing_more,
            cancelling_again_changes_nothing,
            a_settled_payment_cannot_be_cancelled,
            a_cancelled_payment_cannot_be_settled,
            what_is_not_held_cannot_be_settled,
            an_invoice_that_nobody_paid_is_cancelled_or_stays_payable,
            a_payment_that_nobody_settles_goes_back_and_cannot_be_settled,
            two_servers_that_settle_at_once_take_one_payment,
            of_a_settlement_and_a_cancellation_at_once_one_wins,
        );
    };
    ($make:path; $($case:ident),+ $(,)?) => {
        $(
            #[$crate::tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let bench = $make().await;
                $crate::cases::$case(&bench).await;
            }
        )+
    };
}
