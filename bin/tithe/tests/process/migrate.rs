//! Bringing tables up to date, by hand and by servers that start.

use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, ask, text};
use std::sync::Barrier;

on_both_stores! {
    migrating_again_changes_nothing,
}

fn migrating_again_changes_nothing(env: &TestEnv) {
    let migrate = || {
        let migrated = env.run(&["migrate"]);
        assert!(migrated.status.success(), "{}", all_of(&migrated));
        text(&migrated.stdout)
    };
    let told = migrate();
    assert!(told.starts_with("the tables are up to date (migrations applied: "), "{told}");
    assert_eq!(migrate(), "the tables are up to date\n");
    assert_eq!(env.audit()["jobs"], 0);
    // Nothing is left to do for a server.
    assert!(ask(&env.start(), &["hello"]).status.success());
    assert_eq!(migrate(), "the tables are up to date\n");
    assert_eq!(env.audit()["jobs"], 1);
}

#[test]
fn servers_that_start_at_the_same_moment_on_an_empty_database_all_come_up() {
    let env = TestEnv::postgres();
    let moment = Barrier::new(3);
    std::thread::scope(|scope| {
        let starts = [(); 3].map(|()| {
            scope.spawn(|| {
                moment.wait();
                env.start()
            })
        });
        for server in starts {
            assert!(ask(&server.join().unwrap(), &["hello"]).status.success());
        }
    });
    assert_eq!(env.audit()["jobs"], 3);
}
