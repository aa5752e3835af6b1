//! A Lightning wallet by Nostr Wallet Connect (NIP-47), such as an Alby Hub.
//!
//! One connection string names the wallet, its relays and the key of the connection. It works from behind NAT, because both
//! sides connect to the relays. The connection needs the permissions `get_info`, `get_balance`, `make_invoice`,
//! `lookup_invoice`, `list_transactions`, `pay_invoice` and notifications.
//!
//! ```no_run
//! use std::sync::Arc;
//! use tithe_clock::SystemClock;
//! use tithe_lightning::{Network, Wallet};
//! use tithe_wallet_nwc::{FeeLimit, NwcSettings, NwcWallet};
//!
//! # async fn example(secret: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let mut settings = NwcSettings::new(secret.parse()?, Network::Mainnet);
//! settings.fee_limit = FeeLimit::ALBY_HUB;
//! let wallet = NwcWallet::new(settings, Arc::new(SystemClock));
//! println!("{}", wallet.balance().await?);
//! # Ok(())
//! # }
//! ```
//!
//! # Requests
//!
//! A request is one event. It is handed to every relay that is connected, and to every relay that connects while the caller
//! waits; the wallet recognises the copies by the event's id. It carries an expiration a minute after the caller's time-out.
//! A response counts if the wallet has signed it, it names the request's event and it can be decrypted. Everything else is
//! ignored. NIP-44 is used if the wallet's info event offers it, and NIP-04 otherwise.
//!
//! | what happens | a read | `make_invoice` | `pay_invoice` |
//! | --- | --- | --- | --- |
//! | no relay connected, or all have clearly refused the event | `Unavailable` | `Unavailable` | `Unavailable` |
//! | handed to a relay, no response in time | `Unavailable` | `OutcomeUnknown` | `OutcomeUnknown` |
//! | a response that cannot be read | `Nonsense` | `Nonsense` | look-up, else `OutcomeUnknown` |
//! | `RATE_LIMITED` | `Unavailable` | `Unavailable` | `Unavailable` |
//! | `NOT_IMPLEMENTED`, `RESTRICTED`, `UNAUTHORIZED`, `UNSUPPORTED_ENCRYPTION` | `Refused` | `Refused` | `Refused` |
//! | `INSUFFICIENT_BALANCE`, `QUOTA_EXCEEDED`, `FEE_LIMIT_EXCEEDED` | – | – | `Failed` |
//! | `PAYMENT_FAILED`, `INTERNAL`, `OTHER`, codes that are not in the standard | `Unavailable` | `Unavailable` | look-up, else `OutcomeUnknown` |
//!
//! # Payments
//!
//! NIP-47 does not say that a wallet pays an invoice at most once, and some wallets pay it twice. So a payment is looked up before
//! it is sent, and sent only if no attempt is known; a wallet without `lookup_invoice` makes no payments.
//! A request that was handed to a relay and not answered may still be on its way: until it has expired (by any clock that is
//! less than a minute off), its payment is in flight even if the wallet has no record of it. This is kept in memory only. Alby
//! Hub ignores the expiration and carries out requests that are up to six hours old; most relays do not store requests, though.
//!
//! The `state` of a wallet's record decides ([`payment_status`](tithe_lightning::Wallet::payment_status)): `settled` with the
//! right preimage is a success, `failed` is a failure, and everything else is in flight. That includes `expired`, which Alby Hub
//! writes on every unsettled payment whose invoice has expired, also while the payment is in flight: it may have to be cleared
//! up by hand. A record must be `outgoing`: if the wallet has issued the invoice itself, a look-up may find the incoming one, and
//! then the list of outgoing payments is searched. So it is when a look-up finds nothing, unless the wallet's look-ups are known to
//! find outgoing payments. A wallet without `list_transactions` is believed.
//!
//! There is no fee limit in NIP-47, so the operator must state what the wallet may charge ([`FeeLimit`]); otherwise no payment is
//! made. The fee that is booked is the one that the wallet reports.
//!
//! # Received payments
//!
//! Notifications (kinds 23196 and 23197) are only a reason to look the payment up. They get lost, and some wallets send none:
//! the stream is then silent, and polling finds the payments. A fee in the record of a received payment is taken as
//! what the wallet has kept for liquidity.
//!
//! # Hold invoices
//!
//! The wallet has them if `get_info` lists `make_hold_invoice`, `settle_hold_invoice` and `cancel_hold_invoice` (Alby Hub with the
//! permission to make invoices, on LDK, LND, and Core Lightning with its plugin). It is asked with the first request, and again after a restart.
//!
//! Before a payment is settled or cancelled it is looked up, and after every response but success. The height at which a held
//! payment goes back (`settle_deadline`, in the record as Alby Hub has it, though NIP-47 has it in the notification only) is compared with `get_info`:
//! from that height on nothing is settled, because Alby Hub on LDK would say that it has. The time that is told for it
//! ([`held_until`](tithe_lightning::HeldPayment::held_until)) counts two minutes for a block, and 15 blocks less.
//!
//! When the invoice has expired, Alby Hub calls a held payment `expired`, and a cancelled one as well: its state is then
//! `Pending`, until the deadline. An invoice should therefore not expire before its payment is settled or cancelled.
//!
//! # Why not the crate `nwc`
//!
//! `nwc` 0.45 reports every failure to send as one kind of error, whether or not a relay may have got the request; it gives up
//! on the first response, even one that cannot be decrypted; and it turns the wallet's error codes into a text, or into an
//! unreadable response if a code is not in its list (which lacks `UNSUPPORTED_ENCRYPTION`). It also
//! cannot be built: all releases of `nostr-sdk` 0.45 that it needs are withdrawn (yanked), and the last pre-release does not
//! compile with `nostr` 0.45. So this crate speaks with the relays itself (WebSocket, NIP-01, NIP-42), with the events, the
//! messages and the encryption of `nostr`.

mod api;
mod attempts;
mod blocks;
mod cipher;
mod client;
mod connection;
mod exchange;
mod hold;
mod message;
mod received;
mod records;
mod relay;
mod settings;
mod tls;
mod transaction;
mod wallet;

pub use connection::{ConnectionError, NwcConnection};
pub use settings::{FeeLimit, NwcSettings};
pub use wallet::NwcWallet;
