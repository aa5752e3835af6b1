//! Licences that prove the plan of an install: signed by the operator, verified offline.

mod revocation;

pub use revocation::{LicenceId, Revocation};
