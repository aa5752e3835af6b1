//! The checks, by the part of the contract that they prove.

mod answers;
mod bootstrap;
mod closing;
mod errors;
mod estimate;
mod free_tier;
mod idempotency;
mod identity;
mod invoices;
mod jobs;
mod macaroons;
mod operations;
mod prices;
mod refunds;
mod sessions;
mod signed_requests;
mod spending;
mod topups;

use super::check::Area;

/// All checks, in the order in which they run.
pub(super) fn all() -> Vec<Area> {
    vec![
        operations::area(),
        errors::area(),
        estimate::area(),
        identity::area(),
        signed_requests::area(),
        jobs::area(),
        invoices::area(),
        refunds::area(),
        idempotency::area(),
        free_tier::area(),
        sessions::area(),
        spending::area(),
        macaroons::area(),
        topups::area(),
        closing::area(),
        bootstrap::area(),
        answers::area(),
    ]
}
