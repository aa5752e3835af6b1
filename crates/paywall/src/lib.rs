//! Payment credentials: macaroons that their holders can narrow, and what has been spent with each of them.

mod caveat;
mod chain;
mod format;
mod key;
mod limit;
mod macaroon;
mod period;
#[cfg(test)]
mod testing;
mod usage;
mod verified;

pub use caveat::{Caveat, Expiry, InvalidCaveat, Models};
pub use chain::RootKey;
pub use key::{InvalidKeyId, Key, KeyId};
pub use limit::Limit;
pub use macaroon::{InvalidMacaroon, Macaroon, VerifyError};
pub use period::{Period, UnknownPeriod};
pub use usage::{KeyUsage, LimitReached, UsageError};
pub use verified::Verified;

pub use tithe_clock;
pub use tithe_money;
