//! Lightning invoices and payments, verified, and the port to a wallet.
//!
//! Everything a Lightning wallet returns is verified before use: every BOLT11 is parsed, its signature verified, and
//! its network, amount, expiry and payment hash compared with the requirements ([`Bolt11::check`]). Wallets are
//! adapters behind `Wallet` (feature `ports`); `WalletError` distinguishes failures without effect from unknown outcomes.
//!
//! ```
//! use tithe_lightning::{PaymentHash, Preimage};
//!
//! let preimage: Preimage = "00".repeat(32).parse()?;
//! let hash: PaymentHash = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925".parse()?;
//! assert_eq!(preimage.payment_hash(), hash);
//! // A preimage is worth money, so `Debug` does not print it.
//! assert_eq!(format!("{preimage:?}"), "Preimage(…)");
//! # Ok::<(), tithe_lightning::HexError>(())
//! ```
//!
//! # Features
//!
//! `ports` has the traits `Wallet` and `InvoiceRepository` (`async-trait`, `futures-util`); `serde` serializes everything that is
//! stored. Neither is on by default. A serialized [`Preimage`] is as secret as
//! the preimage.

mod bolt11;
mod hash;
mod held;
mod ids;
mod invoice;
#[cfg(feature = "ports")]
mod repository;
#[cfg(feature = "ports")]
mod wallet;
#[cfg(feature = "ports")]
mod wallet_payer;

pub use bolt11::{Bolt11, Bolt11Error, Bolt11Mismatch, ExpectedInvoice, Network, UnknownNetwork};
pub use hash::{HexError, PaymentHash, Preimage};
pub use held::HeldPayment;
pub use ids::{InvoiceId, PaymentId};
pub use invoice::{
    Invoice, InvoiceChange, InvoiceError, InvoiceState, OwnerId, Purpose, PurposeName, PurposeNames,
    ReceivedPayment,
};
#[cfg(feature = "ports")]
pub use repository::{ExpiryWindow, InvoiceRepository};
#[cfg(feature = "ports")]
pub use wallet::{
    Direction, HeldPayments, InvoiceRequest, InvoiceStatus, Payment, PaymentOrder, ReceivedPayments,
    TestPayer, TestPaymentError, Wallet, WalletCapabilities, WalletError, WalletPayment,
};
#[cfg(feature = "ports")]
pub use wallet_payer::WalletPayer;

pub use lightning_invoice;
pub use tithe_clock;
pub use tithe_label::InvalidLabel;
pub use tithe_money;
pub use uuid;
