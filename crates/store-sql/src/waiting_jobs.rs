//! Which jobs have something to do, and which have a payment on hold. The conditions are written out in the statements, so that both
//! stores use the partial indexes that the migrations make for them.

/// Jobs whose payment is held. They come first when jobs are claimed: a payment is held for minutes.
///
/// Their state is `awaiting_work_payment`, since nobody has received one yet. So a server of an older release, which does not know the
/// column, does not claim them; and no such server can credit their payment or expire them, because the state cannot change while the
/// column says that a payment is held.
pub const HELD: &str = "state = 'awaiting_work_payment' AND held_payment IS NOT NULL AND held_payment <> '{\"step\":\"chosen\"}'";

/// All other jobs that have something to do.
pub const RUNNABLE: &str = "state IN ('evaluating', 'accepted', 'executing')";

/// Jobs with a hold invoice that can still be paid, or whose payment is held.
pub const ON_HOLD: &str = "state = 'awaiting_work_payment' AND held_payment IS NOT NULL";
