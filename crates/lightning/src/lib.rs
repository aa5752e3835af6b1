//! Lightning invoices, payments and the wallet port.
//!
//! Everything a Lightning wallet returns is verified before use: every BOLT11 is parsed, its signature verified, and
//! its network, amount, expiry and payment hash compared with the requirements ([`Bolt11::check`]). Wallets are
//! adapters behind [`Wallet`]; [`WalletError`] distinguishes failures without effect from unknown outcomes.
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

mod bolt11;
mod hash;
mod invoice;
mod wallet;

pub use bolt11::{Bolt11, Bolt11Error, Bolt11Mismatch, ExpectedInvoice, Network};
pub use hash::{HexError, PaymentHash, Preimage};
pub use invoice::{
    Invoice, InvoiceChange, InvoiceError, InvoiceRepository, InvoiceState, OwnerId, Purpose, ReceivedPayment,
};
pub use wallet::{
    InvoiceId, InvoiceRequest, InvoiceStatus, Payment, PaymentId, PaymentOrder, ReceivedPayments, TestPayer,
    TestPaymentError, Wallet, WalletCapabilities, WalletError,
};
