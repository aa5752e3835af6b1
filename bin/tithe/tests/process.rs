//! The program as a stranger uses it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod server;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::Value;
use server::{Server, tithe};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

const DEV: &[(&str, &str)] = &[("TITHE_DEV", "1")];
const README: &str = include_str!("../../../README.md");

/// The code block of the README that follows a marker.
fn readme_block(marker: &str) -> String {
    let (_, after) =
        README.split_once(&format!("<!-- {marker} -->")).unwrap_or_else(|| panic!("no {marker}"));
    let (_, code) = after.split_once("```sh\n").unwrap();
    code.split_once("```").unwrap().0.to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn audit(server: &Server) -> Value {
    let report: Value = serde_json::from_slice(&server.run(&["audit", "--json"]).stdout).unwrap();
    assert_eq!(report["sound"], true, "{report:#}");
    report
}

fn ask(server: &Server, arguments: &[&str]) -> Output {
    let url = server.url("");
    server.run(&[&["ask", "--no-qr", "--dev-pay", "--server", &url], arguments].concat())
}

#[test]
fn the_readme_s_commands_buy_a_job_exactly_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), DEV);
    let commands = readme_block("first paid request");
    assert!(commands.contains("127.0.0.1:8402"));
    let script = commands.replace("127.0.0.1:8402", &server.address);
    let ran = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output().unwrap();
    let printed = text(&ran.stdout);
    assert!(ran.status.success(), "{printed}\n{}", text(&ran.stderr));
    let job: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(job["state"], "complete", "{job}");
    assert_eq!(job["refund"]["state"], "pending");
    assert!(job["refund"]["amountSats"].as_u64().unwrap() > 0);
    audit(&server);
}

#[test]
fn the_readme_s_first_command_is_what_the_tests_start() {
    let command = readme_block("run command");
    assert_eq!(command.trim(), "TITHE_DEV=1 cargo run -- serve");
}

#[test]
fn the_first_lines_say_what_is_simulated_where_the_data_is_and_what_to_try() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), DEV);
    for part in
        ["wallet     SIMULATED", "inference  SIMULATED", "BTC price  SIMULATED", "data ", "try ", "/docs"]
    {
        assert!(server.banner.contains(part), "{part:?} is not in\n{}", server.banner);
    }
    assert!(server.banner.contains(&*folder.path().canonicalize().unwrap().to_string_lossy()));
    assert!(folder.path().join("tithe-data/tithe.db").exists());
}

#[cfg(unix)]
#[test]
fn a_generated_secret_is_kept_for_nobody_else_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), DEV);
    let path = folder.path().join("tithe-data/token.secret");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let secret = std::fs::read(&path).unwrap();
    server.kill();
    server.restart();
    assert_eq!(std::fs::read(&path).unwrap(), secret);
}

#[test]
fn a_customer_buys_in_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), DEV);
    let bought = ask(&server, &["Why is the sky blue?"]);
    let (answer, told) = (text(&bought.stdout), text(&bought.stderr));
    assert_eq!(bought.status.code(), Some(0), "{told}");
    assert!(answer.contains("Why is the sky blue?"), "{answer}");
    for part in [
        "About ",
        "Pay 1 sat for the evaluation",
        "Pay 29 sats for the work",
        "lnbcrt",
        "The work cost ",
        "owed back",
    ] {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
    let rejected = ask(&server, &["[sim:reject] please"]);
    assert_eq!(rejected.status.code(), Some(3), "{}", text(&rejected.stderr));
    let failed = ask(&server, &["[sim:refuse] please"]);
    assert_eq!(failed.status.code(), Some(4), "{}", text(&failed.stderr));
    assert!(text(&failed.stderr).contains("owed back to you (pending)"), "{}", text(&failed.stderr));
    let wrong = ask(&server, &["hello", "--model", "gpt-none"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        text(&wrong.stderr).contains("model \"gpt-none\" is not offered here"),
        "{}",
        text(&wrong.stderr)
    );
    assert_eq!(audit(&server)["jobs"], 3);
}

#[test]
fn without_a_server_a_customer_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let asked =
        tithe(folder.path()).args(["ask", "--server", "http://127.0.0.1:1", "hello"]).output().unwrap();
    assert_eq!(asked.status.code(), Some(1));
    assert!(
        text(&asked.stderr).contains("no server answers at http://127.0.0.1:1/"),
        "{}",
        text(&asked.stderr)
    );
}

#[test]
fn a_server_that_is_asked_to_stop_lets_work_finish() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("TITHE_DEV", "1"), ("TITHE_SIM_DELTA_MS", "10")];
    let mut server = Server::start(folder.path(), &settings);
    let arguments = ["ask", "--no-qr", "--dev-pay", "--server", &server.url(""), "Tell me more"];
    let mut customer = tithe(folder.path());
    let customer = customer.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut customer = Ended(customer);
    let mut told = BufReader::new(customer.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains("The work runs")));
    assert!(server.stop());
    assert!(told.any(|line| line.contains("The work cost")), "its customer is told how it ended");
    let report = audit(&server);
    assert_eq!(report["jobsMsats"], "0", "the job has ended: {report:#}");
    assert_ne!(report["accountsMsats"]["refunds_due"], "0");
}

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _already_waited = self.0.wait();
    }
}

#[test]
fn the_audit_names_faults_that_are_planted_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), DEV);
    assert!(ask(&server, &["hello"]).status.success());
    assert!(server.stop());
    audit(&server);
    let path = folder.path().join("tithe-data/tithe.db");
    let sound = std::fs::read(&path).unwrap();
    let faults = [
        // Somebody makes a job's account richer.
        ("UPDATE accounts SET balance_msats = balance_msats + 5000 WHERE id LIKE 'job:%'", "I1 account job:"),
        // A payment is credited a second time, under another key.
        (
            "INSERT INTO transfers (key, debit, credit, amount_msats, kind, reference, created_at)
             SELECT 'payment:again', debit, credit, amount_msats, kind, reference, created_at
             FROM transfers WHERE kind = 'job_payment' LIMIT 1",
            "I3 transfer payment:again",
        ),
        // A refund vanishes.
        (
            "DROP TRIGGER transfers_are_never_deleted; DELETE FROM transfers WHERE kind = 'refund_accrued'",
            "I8 refunds_due",
        ),
        // A charge grows after the fact.
        (
            "DROP TRIGGER transfers_are_never_changed;
             UPDATE transfers SET amount_msats = amount_msats + 1 WHERE kind = 'charge' AND key LIKE '%work'",
            "I8 job ",
        ),
        // A paid invoice is unpaid by hand.
        ("UPDATE invoices SET state = 'pending', received_msats = NULL, paid_at = NULL", "I7 wallet"),
        // A hold that nothing stands behind.
        ("UPDATE accounts SET balance_msats = 9, held_msats = 9", "I2 account job:"),
        // A row that says what cannot be.
        (
            "PRAGMA ignore_check_constraints = 1; UPDATE accounts SET balance_msats = -1",
            "balance_msats is -1",
        ),
    ];
    for (fault, named) in faults {
        for leftover in ["tithe.db-wal", "tithe.db-shm"] {
            let _none = std::fs::remove_file(path.with_file_name(leftover));
        }
        std::fs::write(&path, &sound).unwrap();
        let mut database = SqliteConnection::establish(&path.to_string_lossy()).unwrap();
        database.batch_execute(fault).unwrap();
        drop(database);
        let audited = server.run(&["audit"]);
        let report = text(&audited.stdout);
        assert_eq!(audited.status.code(), Some(1), "{fault}: {report}");
        assert!(report.contains("NOT SOUND") && report.contains(named), "{fault}: {report}");
    }
}

#[test]
fn the_database_itself_refuses_to_change_history() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), DEV);
    assert!(ask(&server, &["hello"]).status.success());
    assert!(server.stop());
    let path = folder.path().join("tithe-data/tithe.db");
    let mut database = SqliteConnection::establish(&path.to_string_lossy()).unwrap();
    for statement in ["UPDATE transfers SET amount_msats = 1", "DELETE FROM transfers"] {
        assert!(database.batch_execute(statement).is_err(), "{statement}");
    }
}

#[test]
fn configuration_mistakes_stop_the_server_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |settings: &[(&str, &str)]| {
        let failed = tithe(folder.path()).arg("serve").envs(settings.iter().copied()).output().unwrap();
        assert_eq!(failed.status.code(), Some(1));
        text(&failed.stderr)
    };
    for (settings, message) in [
        (&[("TITHE_MARGIN_PCT", "lots")][..], "TITHE_MARGIN_PCT (from the environment) is \"lots\""),
        (&[("TITHE_ENV", "production")], "TITHE_ENV=production does not run on"),
        (&[("TITHE_LISTEN", "127.0.0.1:0"), ("DATABASE_URL", "mysql://x")], "\"mysql://x\" is no SQLite URL"),
        (&[("TITHE_LISTEN", "127.0.0.1:0"), ("TITHE_WORK_MODEL", "none")], "the work model is \"none\""),
        (
            &[("TITHE_LISTEN", "127.0.0.1:0"), ("TITHE_MODELS", "/nowhere.toml")],
            "/nowhere.toml (TITHE_MODELS)",
        ),
    ] {
        let told = serve(settings);
        assert!(told.contains(message), "{told}");
    }
    let taken = Server::start(folder.path(), DEV);
    let told = serve(&[("TITHE_LISTEN", &taken.address)]);
    assert!(told.contains("nothing can be served on") && told.contains("in use"), "{told}");
    let told = tithe(&folder.path().join("tithe-data")).arg("audit").output().unwrap();
    assert!(text(&told.stderr).contains("there is no database at"), "{}", text(&told.stderr));
}

#[test]
fn the_configuration_can_be_looked_at_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tithe.toml"), "margin_pct = 12.5\n").unwrap();
    let mut check = tithe(folder.path());
    let shown =
        check.args(["config", "check"]).env("TITHE_TOKEN_SECRET", "a-secret-of-mine-1234").output().unwrap();
    let shown = text(&shown.stdout);
    assert!(shown.contains("margin_pct = \"12.5\"") && shown.contains("from tithe.toml"), "{shown}");
    assert!(!shown.contains("a-secret-of-mine"), "{shown}");
}

#[test]
fn no_text_of_a_customer_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[("TITHE_DEV", "1"), ("TITHE_LOG_FORMAT", "json")]);
    assert!(ask(&server, &["my diagnosis is dragonpox"]).status.success());
    assert!(server.stop());
    let log = std::fs::read_to_string(folder.path().join("server.log")).unwrap();
    assert!(!log.contains("dragonpox"), "{log}");
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    }
}
