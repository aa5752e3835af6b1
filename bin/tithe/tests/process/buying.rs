//! A customer in the terminal.

use crate::events::Events;
use crate::server::tithe;
use crate::test_env::{TestEnv, on_both_stores};
use crate::{ask, text};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

on_both_stores! {
    a_customer_buys_in_the_terminal,
    a_customer_pays_in_the_terminal_when_the_work_is_done,
    a_server_that_is_asked_to_stop_lets_work_finish,
    no_text_of_a_customer_is_logged,
}

fn a_customer_buys_in_the_terminal(env: &TestEnv) {
    let server = env.start();
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
        "Refund: ",
    ] {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
    let rejected = ask(&server, &["[sim:reject] please"]);
    assert_eq!(rejected.status.code(), Some(3), "{}", text(&rejected.stderr));
    let failed = ask(&server, &["[sim:refuse] please"]);
    assert_eq!(failed.status.code(), Some(4), "{}", text(&failed.stderr));
    assert!(
        text(&failed.stderr).contains("(pending), payable to the holder of claim token"),
        "{}",
        text(&failed.stderr)
    );
    let wrong = ask(&server, &["hello", "--model", "gpt-none"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        text(&wrong.stderr)
            .contains("not offered by this server: expected one of sim-large, sim-small; got \"gpt-none\""),
        "{}",
        text(&wrong.stderr)
    );
    assert_eq!(env.audit()["jobs"], 3);
}

fn a_customer_pays_in_the_terminal_when_the_work_is_done(env: &TestEnv) {
    let server = env.start();
    let bought = ask(&server, &["--held", "Why is the sky blue?"]);
    let (answer, told) = (text(&bought.stdout), text(&bought.stderr));
    assert_eq!(bought.status.code(), Some(0), "{told}");
    assert!(answer.contains("Why is the sky blue?"), "{answer}");
    assert!(told.contains("Refund: "), "{told}");
    let paid = env.audit()["accountsMsats"]["wallet"].clone();
    let failed = ask(&server, &["--held", "[sim:refuse] please"]);
    let told = text(&failed.stderr);
    assert_eq!(failed.status.code(), Some(4), "{told}");
    assert!(told.contains("The payment for it was not taken."), "{told}");
    assert!(!told.contains("payable to the holder of claim token"), "nothing is due: {told}");
    // The fee of the evaluation is all that has come in since.
    let msats = |value: &Value| value.as_str().unwrap().parse::<i64>().unwrap();
    let report = env.audit();
    assert_eq!(msats(&paid) - msats(&report["accountsMsats"]["wallet"]), 1_000, "{report:#}");
}

#[test]
fn without_a_server_a_customer_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let asked =
        tithe(folder.path()).args(["ask", "--server", "http://127.0.0.1:1", "hello"]).output().unwrap();
    assert_eq!(asked.status.code(), Some(1));
    assert!(
        text(&asked.stderr).contains("no server reachable at http://127.0.0.1:1/"),
        "{}",
        text(&asked.stderr)
    );
}

fn a_server_that_is_asked_to_stop_lets_work_finish(env: &TestEnv) {
    let mut server = env.start_with(&[("TITHE_SIM_DELTA_MS", "10")]);
    let arguments = ["ask", "--no-qr", "--dev-pay", "--server", &server.url(""), "Tell me more"];
    let mut customer = env.tithe();
    let customer = customer.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut customer = Ended(customer);
    let mut told = BufReader::new(customer.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let job = told.find_map(|line| line.strip_prefix("Job ").map(|id| format!("/api/jobs/{id}"))).unwrap();
    assert!(told.any(|line| line.contains("The work is running")));
    // That it is paid for; that somebody works on it shows in its text. What nobody has begun is left to other servers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Events::of(&server, &job).await.reach_text(Duration::from_secs(20)).await });
    assert!(server.stop());
    assert!(told.any(|line| line.contains("The work cost")), "its customer is told how it ended");
    let report = env.audit();
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

fn no_text_of_a_customer_is_logged(env: &TestEnv) {
    // The libraries' own words too: a database's client may log what it sends.
    let mut server = env.start_with(&[("TITHE_LOG_FORMAT", "json"), ("TITHE_LOG", "debug")]);
    assert!(ask(&server, &["my diagnosis is dragonpox"]).status.success());
    assert!(server.stop());
    let log = std::fs::read_to_string(env.path().join("server.log")).unwrap();
    assert!(!log.contains("dragonpox"), "{}", log.lines().find(|line| line.contains("dragonpox")).unwrap());
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    }
}
