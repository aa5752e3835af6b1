//! Refunds, as a customer claims them in the terminal.

use crate::server::Server;
use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, ask, text};
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

on_both_stores! {
    a_job_s_refund_is_paid_at_once_or_claimed_later,
    what_a_session_has_left_is_paid_when_it_is_closed,
    the_readme_s_commands_of_a_refund_pay_it,
}

/// What is due of a job that has failed, and how much of it can be paid.
const FAILED: &str = "[sim:refuse] please";
const DUE: u64 = 29;
pub(crate) const PAYABLE: u64 = 26;

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// An invoice of the wallet that pays test invoices.
pub(crate) fn invoice(server: &Server, sats: u64) -> String {
    block_on(async {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let made = http.post(server.url("/dev/stub/invoice")).json(&json!({ "amountSats": sats }));
        let made: Value = made.send().await.unwrap().json().await.unwrap();
        made["paymentRequest"].as_str().unwrap().to_owned()
    })
}

/// Buys a job that fails; returns its id and its claim token.
pub(crate) fn failed_job(server: &Server) -> (String, String) {
    let told = text(&ask(server, &[FAILED]).stderr);
    let after = |prefix: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(prefix));
        line.unwrap_or_else(|| panic!("no {prefix:?} in\n{told}")).to_owned()
    };
    (after("Job "), after("Claim token, which entitles you to refunds of this job: "))
}

/// A host with the Lightning address `alice`, which gives this invoice for this amount.
pub(crate) async fn serve_address(host: &MockServer, sats: u64, invoice: &str) {
    let reply = json!({
        "tag": "payRequest",
        "callback": format!("{}/pay", host.uri()),
        "minSendable": 1_000,
        "maxSendable": 100_000_000,
        "metadata": r#"[["text/plain","Payment to alice"]]"#,
    });
    let service = ResponseTemplate::new(200).set_body_json(reply);
    Mock::given(path("/.well-known/lnurlp/alice")).respond_with(service).mount(host).await;
    let callback = Mock::given(path("/pay")).and(query_param("amount", (sats * 1_000).to_string()));
    let reply = ResponseTemplate::new(200).set_body_json(json!({ "pr": invoice, "routes": [] }));
    callback.respond_with(reply).mount(host).await;
}

fn refund(server: &Server, arguments: &[&str]) -> Output {
    server.run(&[&["refund", "--server", &server.url("")], arguments].concat())
}

fn assert_says(output: &Output, code: i32, parts: &[&str]) {
    let told = all_of(output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
}

fn a_job_s_refund_is_paid_at_once_or_claimed_later(env: &TestEnv) {
    let server = env.start_with(&[("TITHE_LIGHTNING_ADDRESSES", "any")]);
    let bought = ask(&server, &["Why is the sky blue?", "--refund-to", "dev"]);
    assert_says(&bought, 0, &["The refund is claimed: ", "The refund is paid: refund of ", "; payment "]);
    assert!(text(&bought.stdout).contains("Why is the sky blue?"));
    assert!(!text(&bought.stdout).contains("refund is"), "the result can be piped");

    // To a Lightning address. The exit code says how the job ended.
    let host = block_on(MockServer::start());
    let address = format!("alice@{}", host.address());
    block_on(serve_address(&host, PAYABLE, &invoice(&server, PAYABLE)));
    assert_says(
        &ask(&server, &[FAILED, "--refund-to", &address]),
        4,
        &["The refund is paid: refund of 29 sats, paid"],
    );

    // An invoice for another amount is not sent to the server, and the way to claim later is said.
    let wrong = invoice(&server, 20);
    let asked = ask(&server, &[FAILED, "--refund-to", &wrong]);
    let unsuitable = "unsuitable invoice: expected one for exactly 26 sats, got one for 20000 msat";
    assert_says(&asked, 1, &[unsuitable, "an invoice for exactly 26 sats", "  tithe refund "]);
    for nonsense in ["nonsense", "", "alice@", "lnbcrt1nonsense"] {
        assert_eq!(ask(&server, &["hello", "--refund-to", nonsense]).status.code(), Some(2), "{nonsense}");
    }

    // Without a destination, the command that claims it is said, as it must be typed.
    let asked = ask(&server, &[FAILED]);
    assert_says(&asked, 4, &["Refund: 29 sats (pending)", "To be paid 26 sats, name a Lightning address"]);
    let told = text(&asked.stderr);
    let command = told.lines().find_map(|line| line.strip_prefix("  tithe ")).unwrap();
    let command = command.replace("name@host", "dev");
    let words: Vec<&str> = command.split(' ').collect();
    let job = words[1];
    let pending = format!(
        "refund of {DUE} sats, pending; {PAYABLE} sats can be paid out, 3 sats are left for the routing fee"
    );
    assert_says(&refund(&server, &[job]), 0, &[&pending, "<claim token>"]);
    let (_, other_token) = failed_job(&server);
    let stolen = refund(&server, &[job, "--claim-token", &other_token, "--to", "dev"]);
    assert_says(&stolen, 1, &["invalid_claim_token"]);
    assert_eq!(refund(&server, &[job, "--to", "dev"]).status.code(), Some(2), "a claim token is needed");
    assert_says(&server.run(&words), 0, &["The refund is paid: refund of 29 sats, paid; payment "]);
    // Claiming again pays nothing.
    assert_says(&server.run(&words), 0, &["The refund is paid: "]);
    assert_says(&refund(&server, &[job]), 0, &["refund of 29 sats, paid; payment "]);
    let unknown = "00000000-0000-4000-8000-000000000000";
    assert_says(&refund(&server, &[unknown]), 1, &["(404, not_found)"]);
    assert_eq!(env.audit()["payouts"], 3);
}

fn what_a_session_has_left_is_paid_when_it_is_closed(env: &TestEnv) {
    let server = env.start_with(&[("TITHE_LIGHTNING_ADDRESSES", "any")]);
    let url = server.url("");
    let session = |arguments: &[&str]| server.run(&[&["session"], arguments, &["--server", &url]].concat());
    let open = |more: &[&str]| {
        let opened = session(&[&["open", "500", "--dev-pay", "--no-qr"], more].concat());
        assert!(opened.status.success(), "{}", text(&opened.stderr));
        text(&opened.stdout).trim().to_owned()
    };
    let close = |macaroon: &str, more: &[&str]| session(&[&["close", "--macaroon", macaroon], more].concat());
    // To play money.
    let macaroon = open(&[]);
    assert_says(
        &close(&macaroon, &["--refund-to", "dev"]),
        0,
        &["closed; ", "The refund is paid: refund of 500 sats"],
    );

    // An unsuitable invoice leaves the session open; once it is closed, it is known how much can be paid.
    let macaroon = open(&[]);
    let (wrong, right) = (invoice(&server, 500), invoice(&server, 493));
    let refused = close(&macaroon, &["--refund-to", &wrong]);
    assert_says(&refused, 1, &["expected 493000 msat, got 500000 msat", "Nothing has changed"]);
    let show = || text(&session(&["show", "--macaroon", &macaroon]).stdout);
    assert!(show().contains(", active"), "{}", show());
    let closed = close(&macaroon, &[]);
    assert_says(
        &closed,
        0,
        &["closed; refund of 500 sats, pending; 493 sats can be paid out", "tithe session close"],
    );
    assert!(show().contains("ended    refund of 500 sats, pending"), "{}", show());
    assert_says(&close(&macaroon, &["--refund-to", &right]), 0, &["The refund is paid: "]);
    assert!(show().contains("ended    refund of 500 sats, paid; payment "), "{}", show());

    // To the address that the session was opened with.
    let host = block_on(MockServer::start());
    block_on(serve_address(&host, 493, &invoice(&server, 493)));
    let macaroon = open(&["--return-to", &format!("alice@{}", host.address())]);
    assert_says(&close(&macaroon, &[]), 0, &["The refund is paid: refund of 500 sats"]);
    for wrong in [right.as_str(), "alice", "dev"] {
        let refused = session(&["open", "500", "--dev-pay", "--return-to", wrong]);
        assert_says(&refused, 2, &["invalid Lightning address: expected name@host"]);
    }
    let audit = env.audit();
    assert_eq!(
        (&audit["payouts"], &audit["accountsMsats"]["refunds_due"]),
        (&json!(3), &json!("0")),
        "{audit:#}"
    );
}

fn the_readme_s_commands_of_a_refund_pay_it(env: &TestEnv) {
    const README: &str = include_str!("../../../../README.md");
    let server = env.start();
    let block = |marker: &str| {
        let (_, after) = README.split_once(&format!("<!-- {marker} -->")).unwrap();
        after.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0.to_owned()
    };
    let script = block("first paid request") + &block("refund");
    let script = script.replace("127.0.0.1:8402", &server.address);
    let ran =
        Command::new("timeout").args(["60", "bash", "-euo", "pipefail", "-c", &script]).output().unwrap();
    let printed = text(&ran.stdout);
    assert!(ran.status.success(), "{printed}\n{}", text(&ran.stderr));
    let job: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!((&job["state"], &job["refund"]["state"]), (&json!("complete"), &json!("paid")), "{job}");
    let audit = env.audit();
    assert_eq!(
        (&audit["payouts"], &audit["accountsMsats"]["refunds_due"]),
        (&json!(1), &json!("0")),
        "{audit:#}"
    );
}

#[test]
fn a_refund_that_the_fee_may_use_up_is_said_to_be_too_small() {
    let env = TestEnv::sqlite();
    let server = env.start_with(&[("TITHE_PAYOUT_FEE_BASE_SATS", "1000")]);
    let asked = ask(&server, &[FAILED]);
    assert_says(&asked, 4, &["It is too small to be paid out"]);
    let (job, token) = failed_job(&server);
    assert_says(&refund(&server, &[&job]), 0, &["refund of 29 sats, pending; too small to be paid out"]);
    let claimed = refund(&server, &[&job, "--claim-token", &token, "--to", "alice@example.com"]);
    assert_says(&claimed, 1, &["(409, refund_too_small)"]);
}

#[test]
fn an_address_that_cannot_be_paid_is_said_at_once() {
    let env = TestEnv::sqlite();
    let server = env.start_with(&[("TITHE_LIGHTNING_ADDRESSES", "any")]);
    let host = block_on(MockServer::start());
    let address = format!("alice@{}", host.address());
    let (job, token) = failed_job(&server);
    let began = Instant::now();
    let claimed = refund(&server, &[&job, "--claim-token", &token, "--to", &address]);
    assert_says(
        &claimed,
        1,
        &["not paid: refund of 29 sats, pending", "does not know the address", "tithe refund "],
    );
    assert!(began.elapsed() < Duration::from_secs(30), "it was waited for nothing");
    // The public internet only, unless the operator says otherwise.
    let server = env.start();
    let claimed = refund(&server, &[&job, "--claim-token", &token, "--to", &address]);
    assert_says(&claimed, 1, &["lightningAddress: "]);
}
