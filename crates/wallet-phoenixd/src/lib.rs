//! A Lightning wallet at [phoenixd](https://phoenix.acinq.co/server), ACINQ's server with automatic channels.
//!
//! [`PhoenixdWallet`] needs phoenixd 0.5 or later and its full-access password. It was written against the source of phoenixd 0.8
//! and lightning-kmp 1.12.
//!
//! # What arrives is less than what was paid
//!
//! phoenixd opens and enlarges its channel by itself and takes the mining and service fees out of the payment that needed the room
//! ([`ReceivedPayment::liquidity_fee`](tithe_lightning::ReceivedPayment::liquidity_fee)). The fees may exceed that payment:
//! it then costs the wallet more than it brings.
//!
//! Payments that are too small for that become **fee credit**, which pays for such fees later and cannot be spent otherwise.
//! phoenixd lists them like any other payment, with the full amount and no fees: they cannot be told apart. Therefore
//! [`balance`](tithe_lightning::Wallet::balance) is the channels' balance *and* the fee credit, and the fees that the credit
//! pays for are part of the liquidity fee of the payment that triggered the purchase. So every payment raises the balance by its
//! amount less its liquidity fee, at the time it arrives. [`PhoenixdWallet::funds`] has both parts; only the channels' part can be paid out. An operator who
//! wants no credit starts phoenixd with `--max-fee-credit=off`, and then payments that are too small fail.
//!
//! # What reconciliation must allow for
//!
//! - phoenixd reports both parts of the balance, and what was received, rounded down to whole sats.
//! - The balance is what can be sent: without payments in flight in either direction, and without channels that are being closed.
//!   While a channel is not connected, phoenixd omits it; the balance is then unavailable, not zero.
//! - A payment is listed as received a moment before the channel's balance rises.
//! - Transactions on the chain that the operator makes (closing a channel, sending to an address, buying liquidity, raising a fee)
//!   lower the balance and are not in the list of payments, because they have no payment hash. The same holds for liquidity
//!   that was bought for a payment that then failed.
//! - A payer who pays more than the invoice with a payment that also triggers a purchase is credited with the invoice's amount,
//!   because the fees may have been paid in part from the credit; the rest is a surplus.
//!
//! # Payments
//!
//! phoenixd has no fee limit, but its fee is fixed ([`SendFee`]): a payment whose fee would exceed the limit is refused before it is
//! sent. After a payment the exact fee is looked up. phoenixd pays a payment hash once.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use tithe_clock::SystemClock;
//! use tithe_lightning::Network;
//! use tithe_wallet_phoenixd::{PhoenixdSettings, PhoenixdWallet, SendFee};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Sends no requests before it is used.
//! let settings = PhoenixdSettings {
//!     url: "http://127.0.0.1:9740".parse()?,
//!     password: "0123456789abcdef".parse()?,
//!     network: Network::Mainnet,
//!     timeout: Duration::from_secs(30),
//!     send_fee: SendFee::default(),
//! };
//! let _wallet = PhoenixdWallet::new(&settings, Arc::new(SystemClock))?;
//! # Ok(())
//! # }
//! ```

mod amounts;
mod answers;
mod api;
mod chain;
mod description;
mod events;
mod incoming;
mod list;
mod outgoing;
mod pay;
mod settings;
mod unanswered;
mod wallet;

pub use settings::{HttpPassword, HttpPasswordError, PhoenixdSettings, SendFee};
pub use wallet::{Funds, PhoenixdError, PhoenixdWallet};
