//! A simulated Lightning wallet: real signed invoices, no money.
//!
//! [`SimWallet`] is the wallet that works without any set-up. Its invoices are BOLT11 on the private chain "regtest",
//! signed by a node key of its own, and any decoder reads them; they are paid with simulated money through
//! [`TestPayer`](tithe_lightning::TestPayer).
//!
//! Simulated behaviour:
//!
//! - Outgoing payments need a balance and cost a fee. Paying an invoice of the same wallet settles it. An invoice of another
//!   simulated wallet is paid with its true preimage, and that wallet learns nothing of it. An invoice of a real wallet cannot be paid.
//! - A payment of a hold invoice is held for [`SimOptions::hold_time`]. It cannot be paid by the same wallet, nor by another simulated one:
//!   a [`TestPayer`](tithe_lightning::TestPayer) does, whose call returns at once.
//! - The balance is what was settled less what was paid, fees included. What is under way is still in the balance,
//!   and cannot be spent twice.
//!
//! What it keeps: everything that has happened, in a journal in one folder. Several servers can use one folder at the
//! same time and see one wallet; a server that is killed loses nothing that it has answered.
//!
//! It can inject the faults of real wallets: see [`Faults`], [`FaultRates`], [`SimWallet::expire`].
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use tithe_clock::{SystemClock, SystemEntropy};
//! use tithe_lightning::{InvoiceId, InvoiceRequest, InvoiceStatus, TestPayer, Wallet};
//! use tithe_money::Sats;
//! use tithe_wallet_sim::SimWallet;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let wallet = SimWallet::open(folder.path(), Arc::new(SystemClock), Arc::new(SystemEntropy)).await?;
//! let request = InvoiceRequest {
//!     id: InvoiceId(uuid::uuid!("6f2c1d1e-7a55-4c11-9d0c-0d6f6f5ad0a1")),
//!     amount: Sats::new(21)?,
//!     description: "a cup of coffee".to_owned(),
//!     expiry: Duration::from_mins(10),
//! };
//! let invoice = wallet.invoice_create(&request).await?;
//! assert!(invoice.as_str().starts_with("lnbcrt210n1"));
//!
//! let proof = wallet.pay(&invoice).await?;
//! assert_eq!(proof.payment_hash(), invoice.payment_hash());
//! let status = wallet.invoice_status(invoice.payment_hash()).await?;
//! assert!(matches!(status, Some(InvoiceStatus::Settled(_))));
//! # Ok(())
//! # }
//! ```

mod decide;
mod error;
mod faults;
mod hold;
mod journal;
mod network;
mod node;
mod record;
mod settlements;
mod state;
mod wallet;

pub use decide::PaymentEnd;
pub use error::{LineError, SimError};
pub use faults::{Fault, FaultRates, FaultRatesError, Faults, Operation};
pub use wallet::{SimOptions, SimWallet};
