//! Why an operation on a key's usage is rejected.

use crate::Limit;
use tithe_clock::Timestamp;
use tithe_money::{MoneyError, Msats};

/// The limit that doesn't allow a request. Its `Display` may be shown to the key's holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitReached {
    /// Less is left of a limit on spend than the request may cost.
    #[error("spend limit reached: {amount} requested, {left} left of {limit}")]
    Spend {
        /// The limit.
        limit: Limit,
        /// The amount that is left of it.
        left: Msats,
        /// The amount that the request may cost.
        amount: Msats,
        /// The end of the period, if the limit is for a period and would allow the request in the next one. Running
        /// requests count in the next one as well.
        retry_at: Option<Timestamp>,
    },
    /// No requests are left.
    #[error("request limit reached: {limit} allowed")]
    Requests {
        /// The number of requests allowed.
        limit: u64,
    },
}

/// The reason why an operation on a [`KeyUsage`](crate::KeyUsage) is rejected. A rejected operation changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// A limit doesn't allow the request.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// A request can cost at most what it reserved.
    #[error("cost above the reservation: {cost} of {reserved}")]
    AboveReservation {
        /// The cost.
        cost: Msats,
        /// The amount that the request reserved.
        reserved: Msats,
    },
    /// There is no such reservation.
    #[error("no such reservation: {amount} of {reserved} reserved")]
    NotReserved {
        /// The amount that should have been reserved.
        amount: Msats,
        /// The amount that is reserved by all requests together.
        reserved: Msats,
    },
    /// The number of requests is out of range.
    #[error("too many requests: the counter is at its end")]
    TooManyRequests,
    /// An amount is out of range.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
