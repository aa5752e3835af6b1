//! A Lightning wallet at LNbits.
//!
//! [`LnbitsWallet`] uses one wallet of an LNbits server through its API: version 1.4 or later, tested against 1.6.2. Paying requires
//! the wallet's admin key; the invoice key is enough for receiving.
//!
//! # What LNbits means
//!
//! LNbits' HTTP statuses do not say what happened: a response of 201 may carry a failed payment, and one of 520 may mean that the
//! payment was made long ago. This crate judges by the `status` of the wallet's own record:
//!
//! - **`success`** is final. The amount and the fee are the ones that LNbits has booked.
//! - **`pending`** is in flight. LNbits waits five seconds for its funding source (the node behind it); a payment that takes longer
//!   stays pending until somebody queries it, or for half an hour. This crate queries it, but not in the first half minute: some
//!   funding sources report a payment that they have not accepted yet as unknown, and LNbits would mark it as failed.
//! - **`failed`** of an outgoing payment is taken as final. LNbits sets it when its funding source reports a failure, never when the
//!   funding source is unreachable or its response is unclear. It never sends a payment with the same payment hash again:
//!   it repeats the failure, so paying again needs a new invoice. Two cases are not what they seem and are treated with care. A
//!   funding source whose data was replaced (another node behind the same LNbits) reports payments as unknown, and LNbits marks
//!   those that were pending as failed; an operator must let pending payments end before replacing a node. And if the funding source
//!   corrects itself, LNbits notices only when the same invoice is paid again: [`payment_send`](tithe_lightning::Wallet::payment_send)
//!   therefore sends the request for a failed payment again and returns the corrected state.
//! - **`failed`** of an invoice is not final. LNbits sets it by the clock when an invoice expires, without querying its node, and
//!   turns it into `success` when a payment arrives after all. It counts as expired once the invoice has been expired for a minute.
//!
//! LNbits keeps two records with one payment hash if payer and payee are both its customers, and both can be in one wallet. Outgoing
//! payments have negative amounts; each lookup takes the record of its own direction only.
//!
//! After an unknown outcome, no record is no evidence at first: the request may still be on its way to LNbits. While LNbits waits for its
//! funding source, it answers nothing at all; lookups wait too.
//!
//! LNbits' own `FakeWallet` makes invoices without feature bits, which no node pays; they are rejected.
//!
//! # Fees
//!
//! LNbits' API has no fee limit for a payment. LNbits gives its own fee reserve to the funding source as the limit, so a payment is
//! refused when that reserve exceeds the order's limit. Some funding sources ignore the limit, among them phoenixd, Eclair, Alby, Strike,
//! ZBD, `OpenNode`, another LNbits and Nostr Wallet Connect: then [`LnbitsSettings::funding_fee`] must say what they charge.
//!
//! # Secrets
//!
//! The API key is part of the WebSocket's URL, as LNbits requires, and is therefore in the access log of LNbits and of its proxies. LNbits
//! returns the preimages of unpaid invoices; they are dropped while a response is read. Anybody who knows a payment hash can get
//! the preimage of a paid invoice from LNbits, so LNbits must not be reachable by customers.
//!
//! ```
//! use std::sync::Arc;
//! use tithe_clock::SystemClock;
//! use tithe_lightning::Network;
//! use tithe_wallet_lnbits::{LnbitsSettings, LnbitsWallet};
//!
//! let key = "80964e3a25464211b83af162e6cba620".parse()?;
//! let settings = LnbitsSettings::new("https://lnbits.example/".parse()?, key, Network::Mainnet);
//! // Sends no requests before it is used.
//! let _wallet = LnbitsWallet::new(&settings, Arc::new(SystemClock))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod api;
mod events;
mod failure;
mod incoming;
mod outgoing;
mod record;
mod settings;
mod settled;
mod verdict;
mod wallet;

pub use settings::{ApiKey, FundingFee, InvalidApiKey, LnbitsSettings};
pub use wallet::{LnbitsWallet, LnbitsWalletError};
