//! Which kept requests there are. The conditions are written out in the statements, so that both stores use the partial index that the
//! migrations make for them.

/// Those whose payment is held, or whose outcome is not known.
pub const DUE: &str = "state <> 'ended' AND state <> 'offered'";

/// What those that have not ended come to.
pub const TOTAL: &str = "SELECT count(*) AS requests, CAST(coalesce(sum(bytes), 0) AS BIGINT) AS bytes FROM kept_requests WHERE state <> 'ended'";
