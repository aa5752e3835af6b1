//! Install credits: requests that an install's plan includes.
//!
//! A credit is reserved before its request runs and ends once: committed with the answer, given back when the backend failed, expired
//! when its server died. The install's counters and the credit are written in one change, so that no order of commands, on
//! however many servers, serves more than the plan includes (invariant I9).

mod credit_expire;
mod installs_import;
mod licence_revoke;
mod presented;
mod prove;
mod rows;
mod service;
mod sweep;

pub use credit_expire::CreditExpire;
pub use installs_import::{Imported, InstallsImport};
pub use licence_revoke::LicenceRevoke;
pub use presented::{PresentedInstall, ProvenPlan};
pub use rows::CreditRequest;
pub use service::{Credits, InstallBalance};
