//! The audit names every fault that is planted in rows which it finds nothing wrong with.

use crate::rows::{Rows, install_id};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::credits::{Backend, Counted, Counters, CreditId, CreditState, NewCredit, Plan, Quota};
use uuid::Uuid;

const CORE: Quota = Quota { counted: Counted::Lifetime, requests: Some(3), cloud: Some(2) };
const PRO: Quota = Quota { counted: Counted::Monthly, requests: Some(4), cloud: Some(3) };
const INSTALL: &str = "I9 install 00000000-0000-0000-0000-000000000001";

fn began() -> Timestamp {
    Timestamp::parse_rfc3339("2027-01-31T12:00:00Z").unwrap()
}

fn reserve(rows: &mut Rows, plan: Plan, now: Timestamp) {
    let quota = if plan.is_paid() { PRO } else { CORE };
    let index = rows.credits.len();
    let id = CreditId(Uuid::from_u128(u128::try_from(index).unwrap()));
    let new = NewCredit { id, plan, quota, has_hardware: true, lease: Duration::from_mins(1) };
    let moved = new.reserve(&rows.install(1, now), now).unwrap();
    rows.put(1, index, moved);
}

/// One install. Of its credits, 0 was consumed and 1 was given back as `core`; 2 is of an earlier period of `pro`, and of the
/// current one, 3 was consumed, 4 was done late and 5 still runs.
fn rows() -> Rows {
    let (mut rows, next) = (Rows::default(), began() + Duration::from_hours(40 * 24));
    for plan in [Plan::Core, Plan::Core, Plan::Pro] {
        reserve(&mut rows, plan, began());
    }
    for _ in 3..6 {
        reserve(&mut rows, Plan::Pro, next);
    }
    let later = next + Duration::from_hours(1);
    for (index, how) in [(0, "commit"), (1, "release"), (3, "commit"), (4, "expire"), (4, "commit")] {
        let (credit, install) = (&rows.credits[index], &rows.installs[&1]);
        let moved = match how {
            "commit" => credit.commit(install, later),
            "release" => credit.release(install, later),
            _ => credit.expire(install, later),
        };
        rows.put(1, index, moved.unwrap());
    }
    rows
}

/// What the audit finds after a fault was planted.
fn planted(plant: impl FnOnce(&mut Rows)) -> Vec<String> {
    let mut rows = rows();
    plant(&mut rows);
    rows.findings()
}

fn of_install(detail: &str) -> Vec<String> {
    vec![format!("{INSTALL}: {detail}")]
}

#[test]
fn sound_rows_have_no_findings() {
    assert_eq!(rows().findings(), Vec::<String>::new());
    assert_eq!(Rows::default().findings(), Vec::<String>::new());
}

#[test]
fn a_counter_of_what_is_reserved_must_be_that_of_the_credits() {
    let found = planted(|rows| rows.installs.get_mut(&1).unwrap().monthly.reserved += 1);
    let two = "its row says that 2 monthly requests are reserved (1 of them in the cloud), its credits 1 (1)";
    assert_eq!(found, of_install(two));
    let found = planted(|rows| rows.installs.get_mut(&1).unwrap().monthly.reserved -= 1);
    let none =
        "its row says that 0 monthly requests are reserved (1 of them in the cloud), its credits 1 (1)";
    assert_eq!(found, of_install(none));
    let found = planted(|rows| rows.installs.get_mut(&1).unwrap().monthly.cloud_reserved -= 1);
    let cloud =
        "its row says that 1 monthly requests are reserved (0 of them in the cloud), its credits 1 (1)";
    assert_eq!(found, of_install(cloud));
    let found = planted(|rows| rows.installs.get_mut(&1).unwrap().lifetime.reserved += 1);
    let life =
        "its row says that 1 lifetime requests are reserved (0 of them in the cloud), its credits 0 (0)";
    assert_eq!(found, of_install(life));
}

#[test]
fn a_counter_of_what_was_consumed_is_not_below_that_of_the_credits() {
    let found = planted(|rows| {
        let monthly = &mut rows.installs.get_mut(&1).unwrap().monthly;
        (monthly.consumed, monthly.cloud_consumed) = (1, 1);
    });
    let monthly =
        "its row says that 1 monthly requests were consumed (1 of them in the cloud), its credits 2 (2)";
    assert_eq!(found, of_install(monthly));
    let found = planted(|rows| rows.installs.get_mut(&1).unwrap().lifetime.cloud_consumed = 0);
    let life =
        "its row says that 1 lifetime requests were consumed (0 of them in the cloud), its credits 1 (1)";
    assert_eq!(found, of_install(life));
    let found = planted(|rows| {
        let install = rows.installs.get_mut(&1).unwrap();
        (install.monthly.consumed, install.lifetime.consumed) = (9, 9);
    });
    assert_eq!(found, Vec::<String>::new(), "an imported install has consumed more");
    let found = planted(|rows| rows.installs.get_mut(&1).unwrap().lifetime.cloud_consumed = 9);
    assert_eq!(found, Vec::<String>::new(), "and another system may have counted as it liked");
}

#[test]
fn a_credit_is_not_beyond_its_quota() {
    let found = planted(|rows| rows.credits[3].used_after = 5);
    let credit = "I9 credit 00000000-0000-0000-0000-000000000003";
    assert_eq!(found, [format!("{credit}: with it, 5 requests of 4 were used")]);
    let found = planted(|rows| rows.credits[3].cloud_used_after = 4);
    assert_eq!(found, [format!("{credit}: with it, 4 requests of 3 were used in the cloud")]);
    let found = planted(|rows| {
        let credit = &mut rows.credits[1];
        (credit.cloud_used_after, credit.backend) = (3, Backend::Hardware);
    });
    assert_eq!(found, Vec::<String>::new(), "what runs on hardware may come after a full cloud");
}

#[test]
fn a_credit_must_be_in_the_state_that_its_install_counts() {
    let running = CreditState::Held { lease: began() };
    let count = |index: usize, state| planted(|rows| rows.credits[index].state = state);
    let again =
        "its row says that 0 lifetime requests are reserved (0 of them in the cloud), its credits 1 (1)";
    assert_eq!(count(1, running), of_install(again));
    let twice =
        "its row says that 1 lifetime requests were consumed (1 of them in the cloud), its credits 2 (2)";
    assert_eq!(count(1, CreditState::Settled(())), of_install(twice));
    let gone =
        "its row says that 1 monthly requests are reserved (1 of them in the cloud), its credits 0 (0)";
    assert_eq!(count(5, CreditState::Released), of_install(gone));
    assert_eq!(count(5, CreditState::Expired { late: None }), of_install(gone));
}

#[test]
fn a_running_credit_is_not_lost() {
    let found = planted(|rows| rows.credits.truncate(5));
    let gone =
        "its row says that 1 monthly requests are reserved (1 of them in the cloud), its credits 0 (0)";
    assert_eq!(found, of_install(gone));
}

#[test]
fn a_credit_has_an_install_that_is_in_its_period_or_a_later_one() {
    let found = planted(|rows| rows.installs.clear());
    assert_eq!(found, of_install("it has credits, and no row"));
    let found = planted(|rows| rows.credits[1].install = install_id(9));
    assert_eq!(found, ["I9 install 00000000-0000-0000-0000-000000000009: it has credits, and no row"]);
    let found = planted(|rows| {
        let install = rows.installs.get_mut(&1).unwrap();
        install.period_start = began();
        install.monthly = Counters { reserved: 1, cloud_reserved: 1, ..Counters::default() };
    });
    assert_eq!(found, of_install("it has credits of a period after its current one"));
}

#[test]
fn credits_of_periods_that_are_over_are_not_counted() {
    let found = planted(|rows| rows.credits[2].state = CreditState::Settled(()));
    assert_eq!(found, Vec::<String>::new());
}
