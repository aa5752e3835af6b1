//! The generosity pool: its money, what it would pay for, and reservations of it.
//!
//! A reservation takes the pool's money and the identity's budget at once; whatever ends it gives both back in one change,
//! less what is granted. So no order of commands, on however many servers, can exceed either limit (invariant I5).

mod grant_expire;
mod grant_release;
mod grant_renew;
mod grant_reserve;
mod reservations;
mod service;

pub use grant_expire::GrantExpire;
pub use grant_release::GrantRelease;
pub use grant_renew::GrantRenew;
pub use grant_reserve::GrantReserve;
pub use service::{Pool, PoolStatus};
