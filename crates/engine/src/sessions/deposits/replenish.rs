//! Waiting for a top-up in the middle of an answer.

use tithe_money::Sats;

/// Is asked for more when the balance of a session is used up before the answer of a request is: the answer waits for a top-up, and goes on
/// after it.
pub trait Replenish: Send + Sync {
    /// The answer waits. `spent` is what the session was charged so far, with this answer, and `required` what the next part needs at
    /// least; both rounded up.
    fn needed(&self, spent: Sats, required: Sats);

    /// No top-up has come in time, or the session has ended: the answer ends here. Called after [`Replenish::needed`], or instead of it when too
    /// many answers wait already.
    fn timed_out(&self, spent: Sats, required: Sats);
}
