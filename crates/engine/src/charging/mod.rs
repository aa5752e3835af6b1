//! Charging: who pays for finished work, in one place for every kind of customer; and holds, which set money aside for work
//! that is still to be done.
//!
//! [`Books::settle`](crate::books::Books) ends the hold, decides what the pool grants, charges the rest, moves the tithe, and
//! feeds the identity's trust, in one transaction. Jobs and [`WorkCharge`] both end there.

mod hold_expire;
mod hold_place;
mod hold_release;
mod hold_renew;
mod holds;
mod refund;
mod service;
mod settle;
mod work_charge;

pub use hold_expire::HoldExpire;
pub use hold_place::HoldPlace;
pub use hold_release::HoldRelease;
pub use hold_renew::HoldRenew;
pub use service::{Charging, HoldOwner};
pub use settle::{Absorb, FinishedWork, Payer};
pub use work_charge::{Charged, WorkCharge};
