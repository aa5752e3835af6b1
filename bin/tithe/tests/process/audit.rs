//! `tithe audit`, and what the database itself refuses.

use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, ask, text};
use std::error::Error;
use tithe_store_postgres::PostgresStore;
use tithe_test_postgres::TestDatabase;

on_both_stores! {
    the_database_itself_refuses_to_change_history,
    without_its_tables_the_audit_says_what_to_do,
}

/// A fault that somebody plants, with what stands in its way on each store, and how the audit names it.
struct Fault {
    before: [&'static str; 2],
    plant: &'static str,
    named: &'static str,
}

const DROP_TRIGGERS: [&str; 2] = [
    "DROP TRIGGER transfers_are_never_changed; DROP TRIGGER transfers_are_never_deleted;",
    "DROP TRIGGER transfers_are_never_changed ON transfers;",
];

const FAULTS: [Fault; 7] = [
    // Somebody makes a job's account richer.
    Fault {
        before: ["", ""],
        plant: "UPDATE accounts SET balance_msats = balance_msats + 5000 WHERE id LIKE 'job:%'",
        named: "I1 account job:",
    },
    // A payment is credited a second time, under another key.
    Fault {
        before: ["", ""],
        plant: "INSERT INTO transfers (key, debit, credit, amount_msats, kind, reference, created_at)
                SELECT 'payment:again', debit, credit, amount_msats, kind, reference, created_at
                FROM transfers WHERE kind = 'job_payment' LIMIT 1",
        named: "I3 transfer payment:again",
    },
    // A refund vanishes.
    Fault {
        before: DROP_TRIGGERS,
        plant: "DELETE FROM transfers WHERE kind = 'refund_accrued'",
        named: "I8 refunds_due",
    },
    // A charge grows after the fact.
    Fault {
        before: DROP_TRIGGERS,
        plant: "UPDATE transfers SET amount_msats = amount_msats + 1 WHERE kind = 'charge' AND key LIKE 'work:%'",
        named: "I8 job ",
    },
    // A paid invoice is unpaid by hand.
    Fault {
        before: ["", ""],
        plant: "UPDATE invoices SET state = 'pending', received_msats = NULL, paid_at = NULL",
        named: "I7 wallet",
    },
    // A hold that nothing stands behind.
    Fault {
        before: ["", ""],
        plant: "UPDATE accounts SET balance_msats = 9, held_msats = 9",
        named: "I2 account job:",
    },
    // A row that says what cannot be.
    Fault {
        before: [
            "PRAGMA ignore_check_constraints = 1;",
            "ALTER TABLE accounts DROP CONSTRAINT accounts_balance_msats_check;
             ALTER TABLE accounts DROP CONSTRAINT accounts_check;",
        ],
        plant: "UPDATE accounts SET balance_msats = -1",
        named: "balance_msats is -1",
    },
];

/// Sells one job, and leaves what that leaves.
fn sell(env: &TestEnv) {
    let mut server = env.start();
    assert!(ask(&server, &["hello"]).status.success());
    assert!(server.stop());
}

fn finds(env: &TestEnv, fault: &Fault) {
    env.audit();
    let plant = fault.before[usize::from(env.is_postgres())].to_owned() + fault.plant;
    env.execute(&plant).unwrap();
    let audited = env.run(&["audit"]);
    let report = all_of(&audited);
    assert_eq!(audited.status.code(), Some(1), "{plant}: {report}");
    assert!(report.contains("NOT SOUND") && report.contains(fault.named), "{plant}: {report}");
}

#[test]
fn the_audit_names_faults_that_are_planted_by_hand_in_sqlite() {
    let env = TestEnv::sqlite();
    sell(&env);
    // All of it is in the file then, whatever the server has left beside it.
    env.execute("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let sound = std::fs::read(env.file()).unwrap();
    for fault in &FAULTS {
        for leftover in ["tithe.db-wal", "tithe.db-shm"] {
            let _none = std::fs::remove_file(env.file().with_file_name(leftover));
        }
        std::fs::write(env.file(), &sound).unwrap();
        finds(&env, fault);
    }
}

#[test]
fn the_audit_names_faults_that_are_planted_by_hand_in_postgres() {
    let template = format!("tithe_sold_{}", PostgresStore::schema_version());
    for fault in &FAULTS {
        let selling = async |url: String| -> Result<(), Box<dyn Error + Send + Sync>> {
            let folder = tempfile::tempdir()?;
            let mut server =
                crate::Server::start(folder.path(), &[("TITHE_DEV", "1"), ("DATABASE_URL", &url)]);
            assert!(ask(&server, &["hello"]).status.success() && server.stop());
            Ok(())
        };
        finds(&TestEnv::of(TestDatabase::create_blocking(&template, selling)), fault);
    }
}

fn the_database_itself_refuses_to_change_history(env: &TestEnv) {
    sell(env);
    let mut refused = vec!["UPDATE transfers SET amount_msats = 1", "DELETE FROM transfers"];
    if env.is_postgres() {
        refused.extend(["TRUNCATE transfers", "TRUNCATE accounts, holds, transfers CASCADE"]);
    }
    for statement in refused {
        let told = env.execute(statement).unwrap_err();
        assert!(told.contains("transfers are never"), "{statement}: {told}");
    }
    env.audit();
}

fn without_its_tables_the_audit_says_what_to_do(env: &TestEnv) {
    let audited = env.run(&["audit"]);
    assert_eq!(audited.status.code(), Some(2), "it could not look, and says nothing about the money");
    let told = text(&audited.stderr);
    let expected = if env.is_postgres() { "run `tithe migrate`" } else { "no database at" };
    assert!(told.contains(expected), "{told}");
    assert_eq!(text(&audited.stdout), "");
}

#[test]
fn without_the_database_the_audit_says_where_it_looked() {
    let folder = tempfile::tempdir().unwrap();
    let mut audit = crate::server::tithe(folder.path());
    let audited =
        audit.arg("audit").env("DATABASE_URL", "postgres://tithe@127.0.0.1:1/books").output().unwrap();
    assert_eq!(audited.status.code(), Some(2));
    let told = text(&audited.stderr);
    assert!(told.contains("the database at 127.0.0.1:1/books is unreachable"), "{told}");
    assert!(told.to_lowercase().contains("because") && told.contains("refused"), "{told}");
}

#[test]
fn an_audit_leaves_a_file_exactly_as_it_is() {
    let env = TestEnv::sqlite();
    sell(&env);
    let state = || {
        let mut files: Vec<_> = std::fs::read_dir(env.file().parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("tithe.db"))
            .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
            .filter(|(name, _)| !name.to_string_lossy().ends_with("-shm"))
            .collect();
        files.retain(|(_, bytes)| !bytes.is_empty());
        files.sort();
        files
    };
    let before = state();
    env.audit();
    assert!(state() == before, "the audit has written");
    // Tables that this program would migrate are not migrated by looking at them.
    env.execute("DELETE FROM __diesel_schema_migrations WHERE version = (SELECT MAX(version) FROM __diesel_schema_migrations)")
        .unwrap();
    let before = state();
    for command in [&["audit"][..], &["payouts", "list"], &["credits", "export"]] {
        let refused = env.run(command);
        let told = text(&refused.stderr);
        assert!(told.contains("out of date (1 migrations): run `tithe migrate`"), "{command:?}: {told}");
        assert!(state() == before, "{command:?} has written");
    }
}

#[test]
fn an_empty_file_is_no_sound_database() {
    let env = TestEnv::sqlite();
    std::fs::create_dir_all(env.file().parent().unwrap()).unwrap();
    std::fs::write(env.file(), "").unwrap();
    let audited = env.run(&["audit"]);
    assert_eq!(audited.status.code(), Some(2));
    let told = text(&audited.stderr);
    assert!(told.contains("no database at") && told.contains("tithe migrate"), "{told}");
    assert_eq!(std::fs::read(env.file()).unwrap(), b"");
}
