//! What is deleted after a while. The conditions are written out in the statements, so that both stores use the partial indexes that
//! the migrations make for them.

use tithe_clock::Timestamp;
use tithe_lightning::{ExpiryWindow, PaymentHash};

/// Expired jobs that still have their text.
pub const EXPIRED_TEXTS: &str = "state = 'expired' AND request <> ''";

/// Jobs that expired before their evaluation, and that nothing is owed for.
pub const UNPAID_JOBS: &str = "state = 'expired' AND work_terms IS NULL AND refund_state = 'not_applicable'";

/// No money has ever moved for the job: its account was never used.
pub const NOTHING_PAID: &str = "NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.id = 'job:' || jobs.id)";

/// Sessions that nobody has paid for.
pub const UNPAID_SESSIONS: &str = "state = 'expired' AND paid_in_msats = 0";

/// Bootstraps that nobody has paid for.
pub const UNPAID_BOOTSTRAPS: &str = "state = 'expired' AND refund_amount_msats = 0";

/// No money has ever moved for the bootstrap: its account was never used.
pub const NO_BOOTSTRAP_PAYMENT: &str =
    "NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.id = 'bootstrap:' || bootstrap_jobs.id)";

/// Credits that have ended and took nothing.
pub const CREDITS_GIVEN_BACK: &str = "(state = 'released' OR (state = 'expired' AND NOT late))";

/// Bootstraps with something to be done.
pub const OPEN_BOOTSTRAPS: &str = "(state = 'provisioning' OR (state = 'failed' AND begun_at IS NOT NULL))";

/// No bootstrap belongs to the identity.
pub const NO_BOOTSTRAPS: &str =
    "NOT EXISTS (SELECT 1 FROM bootstrap_jobs WHERE bootstrap_jobs.nostr_pubkey = nostr_identities.pubkey)";

/// No session belongs to the identity.
pub const NO_SESSIONS: &str =
    "NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.nostr_pubkey = nostr_identities.pubkey)";

/// Identities that have never earned or taken anything.
pub const UNPROVEN: &str = "\
    interaction_count = 0 AND trust_score_millis = 0 AND absorbed_reset_at IS NULL AND reserved_msats = 0 \
    AND open_offer IS NULL";

/// No job belongs to the identity.
pub const NO_JOBS: &str = "NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.nostr_pubkey = nostr_identities.pubkey)";

/// Where a page of expired invoices begins: after this time, or at it and after this hash.
#[must_use]
pub fn page_begin(window: ExpiryWindow, after: Option<(Timestamp, PaymentHash)>) -> (i64, String) {
    match after {
        Some((time, hash)) => (time.unix_micros(), hash.to_string()),
        // No hash comes after this text.
        None => (window.after.unix_micros(), "~".to_owned()),
    }
}
