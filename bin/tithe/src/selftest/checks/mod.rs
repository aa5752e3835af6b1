//! The checks, by the part of the contract that they prove.

mod ai_account;
mod ai_answers;
mod ai_errors;
mod answers;
mod asks;
mod bootstrap;
mod closing;
mod credits;
mod errors;
mod estimate;
mod free_tier;
mod held_requests;
mod idempotency;
mod identity;
mod invoices;
mod jobs;
mod macaroons;
mod mcp;
mod offers;
mod operations;
mod paid_requests;
mod payment_scheme;
mod payment_sessions;
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
        credits::area(),
        sessions::area(),
        spending::area(),
        asks::area(),
        paid_requests::area(),
        macaroons::area(),
        ai_account::area(),
        ai_answers::area(),
        ai_errors::area(),
        topups::area(),
        closing::area(),
        payment_sessions::area(),
        bootstrap::area(),
        answers::area(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_check_comes_after_those_that_it_needs_and_no_two_names_are_the_same() {
        let (areas, mut before) = (all(), HashSet::new());
        for check in areas.iter().flat_map(|area| &area.checks) {
            for need in check.needs {
                assert!(before.contains(need), "{} needs {need}, which does not come before it", check.name);
            }
            assert!(before.insert(check.name), "{} is there twice", check.name);
            assert!(!check.proves.is_empty() && !check.proves.ends_with('.'), "{}", check.proves);
        }
        for area in &areas {
            assert!(before.insert(area.name), "{} is the name of an area and of something else", area.name);
        }
    }
}
