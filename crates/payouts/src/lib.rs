//! Obligations to customers and the payouts that meet them, as pure functions.

mod address;

pub use address::{InvalidLightningAddress, LightningAddress};
#[cfg(feature = "ports")]
pub use address::{AddressError, AddressResolver};
