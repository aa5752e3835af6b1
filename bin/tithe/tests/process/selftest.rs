//! `tithe selftest`: it passes on a server that keeps the contract, and names what one does that does not.

use crate::operating::procedure;
use crate::server::Server;
use crate::tampering::{Answered, Asked, Proxy};
use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, text};
use crate::{selftest_ai, selftest_held};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use tithe_test_lightning::{LightningLine, NostrRelay, NwcService, RoutingFee};
use tokio::runtime::Runtime;

on_both_stores! {
    a_server_with_default_settings_passes,
}

/// Runs the self-test against a URL.
fn selftest(env: &TestEnv, url: &str, arguments: &[&str]) -> Output {
    env.run(&[&["selftest", url], arguments].concat())
}

/// The report, and the exit code.
pub(crate) fn report(env: &TestEnv, url: &str, arguments: &[&str]) -> (Value, i32) {
    let ran = selftest(env, url, &[&["--json"], arguments].concat());
    let report =
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|wrong| panic!("{wrong}: {}", all_of(&ran)));
    (report, ran.status.code().unwrap())
}

/// The names of the checks that ended in this way.
pub(crate) fn named(report: &Value, outcome: &str) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    let ended = checks.filter(|check| check["outcome"] == outcome);
    ended.map(|check| check["name"].as_str().unwrap().to_owned()).collect()
}

/// What the server's ledger says that it has received, less what it has paid out, in msats.
fn received_msats(env: &TestEnv) -> i64 {
    let wallet = &env.audit()["accountsMsats"]["wallet"];
    -wallet.as_str().map_or(0, |wallet| wallet.parse().unwrap())
}

fn a_server_with_default_settings_passes(env: &TestEnv) {
    let mut server = env.start();
    let (report, code) = report(env, &server.url(""), &[]);
    assert_eq!((code, named(&report, "failed")), (0, Vec::<String>::new()), "{report:#}");
    let passed = named(&report, "ok");
    for name in [
        "admin-token",
        "ai-bad-request",
        "ai-chat-stream",
        "ai-idempotency-key",
        "ai-key",
        "ai-messages-stream",
        "ai-money",
        "ai-other-model",
        "ai-responses-stream",
        "ai-sdk-retry",
        "ai-tools",
        "ask-failure",
        "ask-other-body",
        "ask-session",
        "ask-stream",
        "credits-licence",
        "deposit-closed",
        "deposit-opened",
        "deposit-topped-up",
        "deposit-used",
        "idempotency-replay",
        "identity-login",
        "job-held",
        "job-money",
        "macaroon-keys",
        "offer-other-body",
        "offer-payment-scheme",
        "offer-mcp",
        "offer-receipt",
        "offer-refund",
        "offer-replay",
        "offer-wrong-proof",
        "refund-paid",
        "session-history",
        "session-refund-paid",
        "solvency",
    ] {
        assert!(passed.iter().any(|passed| passed == name), "{name} did not pass: {report:#}");
    }
    assert!(passed.len() >= 130, "{passed:?}");
    // A node costs more than the budget by default.
    let skipped =
        report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "bootstrap-ready");
    assert_eq!(skipped.unwrap()["overBudget"], true, "{skipped:?}");
    assert_eq!(report["summary"]["overBudget"], 1);
    assert!(server.stop());
    env.audit();
}

#[test]
fn a_node_is_bought_within_the_budget_and_what_was_spent_is_what_the_server_received() {
    let env = TestEnv::sqlite();
    let mut server = env.start_with(&[("TITHE_BOOTSTRAP_PLANS", "small=100")]);
    let skip = ["--skip", "refunds", "session-refund-paid", "offer-refund", "deposit-closed"];
    let (report, code) = report(&env, &server.url(""), &skip);
    assert_eq!((code, named(&report, "failed")), (0, Vec::<String>::new()), "{report:#}");
    assert!(named(&report, "ok").contains(&"bootstrap-credentials".to_owned()), "{report:#}");
    assert!(server.stop());
    assert_eq!(report["spentMsats"], received_msats(&env), "{report:#}");
}

#[test]
fn the_lines_say_the_same_as_the_document() {
    let env = TestEnv::sqlite();
    let server = env.start();
    let only = ["--only", "operations", "job-create", "--skip", "pool"];
    let ran = selftest(&env, &server.url(""), &only);
    let lines = text(&ran.stdout);
    assert!(ran.status.success(), "{}", all_of(&ran));
    assert!(lines.contains("\nskip pool: --skip\n"), "{lines}");
    assert!(
        lines.lines().any(|line| line.starts_with("ok   job-create  (") && line.ends_with(" ms)")),
        "{lines}"
    );
    let (report, _) = report(&env, &server.url(""), &only);
    let count = |outcome: &str| lines.lines().filter(|line| line.starts_with(outcome)).count();
    let summary = &report["summary"];
    assert_eq!((&summary["passed"], &summary["failed"]), (&json!(count("ok ")), &json!(0)), "{lines}");
    assert_eq!(summary["skipped"], count("skip "), "{lines}");
    let last = lines.lines().last().unwrap();
    assert!(last.contains("0 failed") && last.contains("spent 0 of at most 2000 sats (dev)"), "{last}");
}

#[test]
fn the_list_names_every_check_that_the_document_has() {
    let env = TestEnv::sqlite();
    let listed = env.run(&["selftest", "--list"]);
    assert!(listed.status.success());
    let listed = text(&listed.stdout);
    let names: Vec<&str> =
        listed.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(distinct.len(), names.len(), "{listed}");
    assert!(names.len() >= 35, "{listed}");
    let is_kebab =
        |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    assert!(names.iter().all(|name| is_kebab(name)), "{names:?}");
    let json: Value = serde_json::from_slice(&env.run(&["selftest", "--list", "--json"]).stdout).unwrap();
    let in_json = json["checks"].as_array().unwrap();
    assert_eq!(in_json.len(), names.len());
    assert!(in_json.iter().all(|check| !check["proves"].as_str().unwrap().is_empty()));
    // Without money nothing is bought, but every check is accounted for.
    let server = env.start();
    let (report, code) = report(&env, &server.url(""), &["--budget-sats", "0"]);
    assert_eq!(code, 0, "{report:#}");
    let reported: Vec<&str> =
        report["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(reported, names);
    for check in report["checks"].as_array().unwrap() {
        let reason = check["outcome"] != "skipped" || !check["reason"].as_str().unwrap().is_empty();
        assert!(
            reason && check["millis"].is_u64() && !check["section"].as_str().unwrap().is_empty(),
            "{check}"
        );
    }
}

#[test]
fn the_budget_is_kept() {
    let env = TestEnv::sqlite();
    let mut server = env.start();
    let skip = ["--skip", "refunds", "session-refund-paid", "offer-refund", "deposit-closed"];
    let with_budget =
        |sats: &str| report(&env, &server.url(""), &[&skip[..], &["--budget-sats", sats]].concat());
    let (nothing, code) = with_budget("0");
    assert_eq!(
        (code, &nothing["payments"], &nothing["spentMsats"]),
        (0, &json!([]), &json!(0)),
        "{nothing:#}"
    );
    assert!(nothing["summary"]["overBudget"].as_u64().unwrap() > 0, "{nothing:#}");
    let skipped = named(&nothing, "skipped");
    for name in
        ["job-evaluation", "job-work", "session-active", "session-request", "topup-paid", "bootstrap-ready"]
    {
        assert!(skipped.contains(&name.to_owned()), "{name}: {nothing:#}");
    }
    assert_eq!(received_msats(&env), 0);

    let (little, code) = with_budget("15");
    assert_eq!((code, named(&little, "failed")), (0, Vec::<String>::new()), "{little:#}");
    let spent = little["spentMsats"].as_u64().unwrap();
    assert!(spent > 0 && spent <= 15_000, "{little:#}");
    assert!(named(&little, "ok").contains(&"job-money".to_owned()), "{little:#}");
    assert!(named(&little, "skipped").contains(&"session-active".to_owned()), "{little:#}");
    assert!(server.stop());
    assert_eq!(little["spentMsats"], received_msats(&env), "{little:#}");
}

#[test]
fn a_server_that_takes_no_play_money_is_paid_nothing() {
    let env = TestEnv::sqlite();
    let server = env.start_with(&[("TITHE_DEV", "0")]);
    let (report, code) = report(&env, &server.url(""), &["--only", "jobs"]);
    assert_eq!(code, 0, "{report:#}");
    let check =
        report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "job-evaluation").unwrap();
    assert_eq!((&check["outcome"], &check["overBudget"]), (&json!("skipped"), &json!(false)));
    assert!(check["reason"].as_str().unwrap().contains("TITHE_DEV=1"), "{check}");
    assert_eq!(report["spentMsats"], 0);
}

#[test]
fn wrong_usage_and_an_unreachable_server_end_with_2() {
    let env = TestEnv::sqlite();
    let unreachable = selftest(&env, "http://127.0.0.1:1", &[]);
    assert_eq!(unreachable.status.code(), Some(2));
    assert!(
        text(&unreachable.stderr).contains("no server reachable at http://127.0.0.1:1"),
        "{}",
        all_of(&unreachable)
    );
    assert_eq!(text(&unreachable.stdout), "");
    let secret = "nostr+walletconnect://hunter2";
    for (arguments, told) in [
        (&[][..], "<URL>"),
        (&["nonsense"], "invalid server URL"),
        (&["http://127.0.0.1:1", "--only", "no-such-check"], "unknown check"),
        (&["http://127.0.0.1:1", "--skip", "no-such-check"], "unknown check"),
        (&["http://127.0.0.1:1", "--budget-sats=-1"], "--budget-sats"),
        (&["http://127.0.0.1:1", "--budget-sats", "NaN"], "--budget-sats"),
        (&["http://127.0.0.1:1", "--timeout", "0"], "--timeout"),
        (&["http://127.0.0.1:1", "--pay", "gold"], "--pay"),
        (&["http://127.0.0.1:1", "--pay", "nwc"], "TITHE_SELFTEST_NWC"),
        (&["http://127.0.0.1:1", "--nwc", secret], "invalid wallet public key"),
    ] {
        let ran = env.run(&[&["selftest"], arguments].concat());
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {}", all_of(&ran));
        assert!(text(&ran.stderr).contains(told), "{arguments:?}: {}", all_of(&ran));
        assert!(!all_of(&ran).contains("hunter2"), "{}", all_of(&ran));
    }
    // The connection string can come from the environment.
    let ran = env
        .tithe()
        .args(["selftest", "http://127.0.0.1:1"])
        .env("TITHE_SELFTEST_NWC", secret)
        .output()
        .unwrap();
    assert!(text(&ran.stderr).contains("invalid wallet public key"), "{}", all_of(&ran));
    assert!(!all_of(&ran).contains("hunter2"), "{}", all_of(&ran));
}

#[test]
fn a_server_whose_plan_includes_little_is_not_at_fault() {
    for (settings, skipped) in [
        (&[("TITHE_PLAN_CORE", "lifetime:0")][..], "out_of_credits"),
        (&[("TITHE_PLAN_CORE", "monthly:5,cloud:0")], "cloud_cap_exceeded_no_hardware"),
        (&[("TITHE_CREDITS_NEW_INSTALLS", "0")], "too_many_installs"),
        (&[("TITHE_PLAN_CORE", "monthly:5,cloud:0"), ("TITHE_HARDWARE", "sim")], ""),
        (&[("TITHE_PLAN_CORE", "unlimited"), ("TITHE_CREDITS_MAX_OUTPUT_TOKENS", "100")], ""),
    ] {
        let env = TestEnv::sqlite();
        let mut server = env.start_with(settings);
        let (report, code) = report(&env, &server.url(""), &["--only", "install-credits", "plain-requests"]);
        assert_eq!((code, named(&report, "failed")), (0, Vec::<String>::new()), "{settings:?}: {report:#}");
        assert!(named(&report, "ok").contains(&"ask-session".to_owned()), "{settings:?}: {report:#}");
        let checks = report["checks"].as_array().unwrap();
        let asked = checks.iter().find(|check| check["name"] == "ask-credit").unwrap();
        if skipped.is_empty() {
            assert_eq!(asked["outcome"], "ok", "{settings:?}: {asked}");
        } else {
            assert_eq!(asked["outcome"], "skipped", "{settings:?}: {asked}");
            assert!(asked["reason"].as_str().unwrap().contains(skipped), "{settings:?}: {asked}");
        }
        assert!(server.stop());
        env.audit();
    }
}

/// A fault, and the checks that must find it.
pub(crate) struct Plant {
    /// What the server does wrong.
    pub(crate) fault: &'static str,
    /// The checks that run.
    pub(crate) only: &'static str,
    /// Those that fail.
    pub(crate) found_by: &'static [&'static str],
    pub(crate) tamper: fn(&Asked, &mut Answered),
}

fn is_session(line: &str) -> bool {
    line.starts_with("GET /api/sessions/") && line.matches('/').count() == 3
}

const READ_CREDITS: &str = "GET /api/credits";

/// Takes one more credit than was used.
fn take_one_more(credits: &mut Value) {
    for (field, change) in [("remaining", -1), ("lifetimeConsumed", 1)] {
        credits[field] = json!(credits[field].as_i64().unwrap() + change);
    }
}

const PLANTS: &[Plant] = &[
    Plant { fault: "nothing", only: "jobs", found_by: &[], tamper: |_, _| {} },
    Plant {
        fault: "the balance after a request is a msat too high",
        only: "session-request",
        found_by: &["session-request"],
        tamper: |asked, answered| {
            if asked.line.ends_with("/request") && answered.status == 200 {
                answered.add("/balanceMsats", 1);
            }
        },
    },
    Plant {
        fault: "the session's own balance disagrees with its replies",
        only: "session-request",
        found_by: &["session-request"],
        tamper: |asked, answered| {
            if is_session(&asked.line) && answered.status == 200 {
                answered.edit(|body| {
                    if body["spentMsats"] != 0 {
                        body["spentMsats"] = json!(body["spentMsats"].as_u64().unwrap() - 1);
                    }
                });
            }
        },
    },
    Plant {
        fault: "an answer has no request id",
        only: "request-ids",
        found_by: &["request-ids"],
        tamper: |asked, answered| {
            if asked.line == "GET /api/pool" {
                answered.drop_header("x-request-id");
            }
        },
    },
    Plant {
        fault: "an invalid token is served as anonymous",
        only: "identity-invalid-token",
        found_by: &["identity-invalid-token"],
        tamper: |asked, answered| {
            if asked.has_header("x-nostr-token: garbage") {
                answered.replace(200, &json!({ "identity": { "trust_tier": "anonymous" } }));
            }
        },
    },
    Plant {
        fault: "a replayed answer is not marked",
        only: "idempotency",
        found_by: &["idempotency-replay"],
        tamper: |_, answered| answered.drop_header("idempotency-replayed"),
    },
    Plant {
        fault: "the field says less than the invoice asks for",
        only: "job-eval-invoice",
        found_by: &["job-eval-invoice"],
        tamper: |asked, answered| {
            if asked.line == "POST /api/jobs" && answered.status == 201 {
                answered.edit(|body| body["evalInvoice"]["amountSats"] = json!(0));
            }
        },
    },
    Plant {
        fault: "a sat of the refund is missing",
        only: "job-money",
        found_by: &["job-money"],
        tamper: |_, answered| {
            answered.edit(|body| {
                if let Some(sats) = body.pointer("/refund/amountSats").and_then(Value::as_u64)
                    && sats > 0
                {
                    body["refund"]["amountSats"] = json!(sats - 1);
                }
            });
        },
    },
    Plant {
        fault: "anybody can have a refund paid to themselves",
        only: "refund-wrong-claim-token",
        found_by: &["refund-wrong-claim-token"],
        tamper: |asked, answered| {
            if asked.line.ends_with("/refund") && asked.has_header("authorization: bearer garbage") {
                answered.replace(202, &json!({ "refund": { "state": "pending", "amountSats": 1 } }));
            }
        },
    },
    Plant {
        fault: "a payment hash leads to its job",
        only: "invoice-pending",
        found_by: &["invoice-pending"],
        tamper: |asked, answered| {
            if asked.line.starts_with("GET /api/invoices/") {
                answered.edit(|body| body["ownerPath"] = json!("/api/jobs/x"));
            }
        },
    },
    Plant {
        fault: "the estimate rounds down",
        only: "estimate-amounts",
        found_by: &["estimate-amounts"],
        tamper: |asked, answered| {
            if asked.line.starts_with("GET /api/estimate?") {
                answered.add("/estimatedMsats", 1_000);
            }
        },
    },
    Plant {
        fault: "a problem has another code than its status says",
        only: "problem-shapes",
        found_by: &["problem-shapes"],
        tamper: |_, answered| {
            if answered.status == 404 {
                answered.edit(|body| body["status"] = json!(400));
            }
        },
    },
    Plant {
        fault: "a narrowed macaroon reads the session's keys",
        only: "macaroon-not-owner",
        found_by: &["macaroon-not-owner"],
        tamper: |asked, answered| {
            if asked.line.ends_with("/keys") {
                answered.replace(200, &json!({ "keys": [] }));
            }
        },
    },
    Plant {
        fault: "a request that is too dear is called a failure of the server",
        only: "session-insufficient-balance",
        found_by: &["session-insufficient-balance"],
        tamper: |_, answered| {
            if answered.status == 402 {
                answered.edit(|body| body["code"] = json!("internal"));
            }
        },
    },
    Plant {
        fault: "a closed session promises a sat more than it had",
        only: "session-close",
        found_by: &["session-close"],
        tamper: |asked, answered| {
            if asked.line.ends_with("/close") && answered.status == 202 {
                answered.add("/refund/amountSats", 1);
            }
        },
    },
    Plant {
        fault: "a request takes two credits",
        only: "ask-credit",
        found_by: &["ask-credit"],
        tamper: |asked, answered| {
            if asked.line == READ_CREDITS {
                answered.edit(|body| {
                    if body["lifetimeConsumed"] == 1 {
                        take_one_more(body);
                    }
                });
            }
        },
    },
    Plant {
        fault: "a replay takes a credit",
        only: "ask-replay",
        found_by: &["ask-replay"],
        tamper: |asked, answered| {
            static REPLAYED: AtomicBool = AtomicBool::new(false);
            if answered.has_header("idempotency-replayed") {
                REPLAYED.store(true, Ordering::Release);
            }
            if asked.line == READ_CREDITS && REPLAYED.load(Ordering::Acquire) {
                answered.edit(take_one_more);
            }
        },
    },
    Plant {
        fault: "the key of an install shows its answer to anybody",
        only: "ask-replay",
        found_by: &["ask-replay"],
        tamper: |asked, answered| {
            if asked.line == "POST /api/ask" && answered.status == 402 {
                answered.replace(200, &json!({ "result": "the answer of another" }));
            }
        },
    },
    Plant {
        fault: "a request that fails keeps its credit",
        only: "ask-failure",
        found_by: &["ask-failure"],
        tamper: |asked, answered| {
            static FAILED: AtomicBool = AtomicBool::new(false);
            if asked.line == "POST /api/ask" && answered.status == 502 {
                FAILED.store(true, Ordering::Release);
            }
            if asked.line == READ_CREDITS && FAILED.load(Ordering::Acquire) {
                answered.edit(take_one_more);
            }
        },
    },
    Plant {
        fault: "an install id in upper case is taken for another install",
        only: "credits-install-id",
        found_by: &["credits-install-id"],
        tamper: |asked, answered| {
            let mut is_upper = false;
            answered.edit(|body| {
                is_upper = body["detail"].as_str().is_some_and(|told| told.contains("with hyphens"));
            });
            if asked.line == READ_CREDITS && is_upper {
                answered.replace(200, &json!({ "plan": "core", "remaining": 50 }));
            }
        },
    },
    Plant {
        fault: "a forged licence is the plan core",
        only: "credits-licence",
        found_by: &["credits-licence"],
        tamper: |asked, answered| {
            if asked.line == READ_CREDITS && answered.status == 401 {
                answered.replace(200, &json!({ "plan": "core", "remaining": 50 }));
            }
        },
    },
    Plant {
        fault: "anybody lists the installs",
        only: "admin-token",
        found_by: &["admin-token"],
        tamper: |asked, answered| {
            if asked.line == "GET /api/admin/installs" {
                answered.replace(200, &json!({ "installs": [], "next": null }));
            }
        },
    },
    Plant {
        fault: "a request that nobody pays for does not say how to pay",
        only: "ask-no-payer",
        found_by: &["ask-no-payer"],
        tamper: |_, answered| {
            if answered.status == 402 {
                answered.edit(|body| body["topUp"] = Value::Null);
            }
        },
    },
    Plant {
        fault: "a wrong proof of payment is served",
        only: "offer-wrong-proof",
        found_by: &["offer-wrong-proof"],
        tamper: |_, answered| {
            if answered.has_code("invalid_payment_proof") {
                answered.replace(200, &json!({ "result": "something" }));
            }
        },
    },
    Plant {
        fault: "the proof of one request buys another",
        only: "offer-other-body",
        found_by: &["offer-other-body"],
        tamper: |_, answered| {
            if answered.has_code("proof_for_another_request") {
                answered.replace(200, &json!({ "result": "something" }));
            }
        },
    },
    Plant {
        fault: "the challenges are for another invoice than the body",
        only: "offer",
        found_by: &["offer"],
        tamper: |_, answered| {
            if answered.has_code("payment_required") {
                answered.edit(|body| body["offer"]["authorization"] = json!("L402 AgEF:<preimage>"));
            }
        },
    },
];

/// A shop and a customer, whose wallets are real nodes with a router between them.
struct Lightning {
    runtime: Runtime,
    line: LightningLine,
    relay: NostrRelay,
    shop: NwcService,
    customer: NwcService,
}

fn lightning() -> Lightning {
    let runtime = Runtime::new().unwrap();
    let (line, relay, shop, customer) = runtime.block_on(async {
        let line = LightningLine::start(RoutingFee::TRAMPOLINE).await.unwrap();
        let relay = NostrRelay::start().await.unwrap();
        let shop = NwcService::start(line.merchant(), &[relay.url()]).await.unwrap();
        let customer = NwcService::start(line.customer(), &[relay.url()]).await.unwrap();
        (line, relay, shop, customer)
    });
    Lightning { runtime, line, relay, shop, customer }
}

#[test]
fn real_payments_are_made_within_the_budget_and_refunded_by_nostr_wallet_connect() {
    let Lightning { runtime, line, relay, shop, customer } = lightning();
    let env = TestEnv::sqlite();
    let mut server = env.start_with(&[
        ("TITHE_DEV", "0"),
        ("TITHE_WALLET", "nwc"),
        ("TITHE_NETWORK", "regtest"),
        ("TITHE_NWC_URL", shop.connection()),
        ("TITHE_BTC_PRICE_USD", "100000"),
    ]);
    // As it is written, but for the names of the wallet and the server.
    let written = procedure("selftest-real-money").replace("nostr+walletconnect://…", customer.connection());
    let script = format!("{} --json", written.replace("https://your.server", &server.url("")).trim_end());
    let programs = Path::new(env!("CARGO_BIN_EXE_tithe")).parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let ran =
        Command::new("sh").args(["-c", &script]).current_dir(env.path()).env("PATH", path).output().unwrap();
    let report: Value =
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|wrong| panic!("{wrong}: {}", all_of(&ran)));
    assert_eq!((ran.status.code(), named(&report, "failed")), (Some(0), Vec::<String>::new()), "{report:#}");
    let passed = named(&report, "ok");
    for name in ["ai-money", "job-money", "topup-paid", "session-refund-paid"] {
        assert!(passed.iter().any(|passed| passed == name), "{name} did not pass: {report:#}");
    }
    runtime.block_on(line.settle()).unwrap();
    let paid = line.customer().outgoing_all().into_iter().filter_map(|payment| {
        let (_, fee) = payment.succeeded()?;
        Some(payment.amount.get() + fee.get())
    });
    let paid: u64 = paid.sum();
    assert_eq!(report["spentMsats"], paid, "{report:#}");
    assert!(paid > 200_000 && paid <= 2_000_000, "{paid}");
    let refunded = line.customer().incoming_all().into_iter().filter_map(|payment| payment.received);
    assert!(refunded.map(|received| received.amount.get()).sum::<u64>() > 0);
    assert!(server.stop());
    env.audit();
    drop((shop, customer, relay));
}

#[test]
fn a_planted_fault_is_found_and_named() {
    find(PLANTS, &[]);
}

#[test]
fn a_planted_fault_of_the_ai_api_is_found_and_named() {
    find(selftest_ai::PLANTS, &[]);
}

#[test]
fn a_planted_fault_of_held_payments_is_found_and_named() {
    // Each run leaves offers that nobody pays, and all runs have one address.
    find(selftest_held::PLANTS, &[("TITHE_HOLD_REQUESTS", "1"), ("TITHE_HELD_PAYMENTS_MAX", "480")]);
}

fn find(plants: &'static [Plant], settings: &[(&str, &str)]) {
    let env = TestEnv::sqlite();
    let mut server = env.start_with(settings);
    for Plant { fault, only, found_by, tamper } in plants {
        let proxy = Proxy::start(&server, tamper);
        let (report, code) = report(&env, &proxy.url(), &["--only", only]);
        assert_eq!(named(&report, "failed"), *found_by, "{fault}: {report:#}");
        assert_eq!(code, i32::from(!found_by.is_empty()), "{fault}");
        for check in report["checks"].as_array().unwrap().iter().filter(|check| check["outcome"] == "failed")
        {
            for field in ["request", "expected", "got", "section"] {
                assert!(!check[field].as_str().unwrap().is_empty(), "{fault}: {check}");
            }
        }
    }
    assert!(server.stop());
    env.audit();
}

#[test]
fn the_line_of_a_fault_says_what_was_sent_what_the_contract_says_and_what_came() {
    let env = TestEnv::sqlite();
    let server = env.start();
    let proxy = Proxy::start(&server, |asked, answered| {
        if asked.line == "GET /api/pool" {
            answered.replace(200, &json!({ "balanceSats": 5, "reservedSats": 50 }));
        }
    });
    let ran = selftest(&env, &proxy.url(), &["--only", "estimate-pool"]);
    assert_eq!(ran.status.code(), Some(1), "{}", all_of(&ran));
    let lines = text(&ran.stdout);
    let fault = "FAIL pool: GET /api/pool: expected `reservedSats` to be a part of `balanceSats`, got 50 of 5 \
                 (contract: Pool, health, operations)";
    assert!(lines.lines().any(|line| line == fault), "{lines}");
    assert!(lines.contains("skip estimate-pool: it needs pool, which did not pass"), "{lines}");
}

#[test]
fn a_server_that_stops_answering_fails_within_the_time_limit() {
    let env = TestEnv::sqlite();
    let server = env.start();
    let (stuck, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let proxy = Proxy::start(&server, move |asked, _| {
        if asked.line == "GET /api/pool" {
            // Until the test ends.
            let _ended = released.lock().unwrap().recv();
        }
    });
    let (report, code) = report(&env, &proxy.url(), &["--only", "healthz", "pool", "--timeout", "1"]);
    assert_eq!((code, named(&report, "failed")), (1, vec!["pool".to_owned()]), "{report:#}");
    assert_eq!(named(&report, "ok"), ["healthz"], "{report:#}");
    let check = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "pool").unwrap();
    assert_eq!(check["request"], "GET /api/pool", "{check}");
    drop(stuck);
}

#[test]
fn a_real_failure_of_the_server_is_not_taken_for_a_fault_of_the_payer() {
    let env = TestEnv::sqlite();
    let mut server: Server = env.start();
    let proxy = Proxy::start(&server, |asked, answered| {
        if asked.line.starts_with("POST /dev/stub/pay/") {
            answered.edit(|body| body["preimage"] = json!("00".repeat(32)));
        }
    });
    let (report, code) = report(&env, &proxy.url(), &["--only", "job-work"]);
    assert_eq!((code, named(&report, "failed")), (1, vec!["job-evaluation".to_owned()]), "{report:#}");
    // The invoice was paid: it counts, although the answer was wrong.
    assert_eq!(report["payments"][0]["state"], "unknown", "{report:#}");
    assert!(server.stop());
    assert_eq!(report["spentMsats"], received_msats(&env), "{report:#}");
}
