//! The README, and what a server says first.

use crate::test_env::{TestEnv, on_both_stores};
use crate::text;
use serde_json::{Value, json};
use std::process::Command;

const README: &str = include_str!("../../../../README.md");
const PAYWALL: &str = include_str!("../../../../docs/paywall.md");

on_both_stores! {
    the_readme_s_commands_buy_a_job_exactly_as_written,
    the_readme_s_commands_of_a_session_spend_and_refund_it,
    the_commands_that_pay_for_one_request_buy_its_answer_once,
    the_readme_s_commands_buy_a_node,
    the_readme_s_commands_of_an_install_use_what_its_plan_includes,
    the_readme_s_commands_of_an_identity_are_served_from_the_pool,
    the_first_lines_say_what_is_simulated_where_the_data_is_and_what_to_try,
}

/// The code block of the README that follows a marker.
fn readme_block(marker: &str) -> String {
    let (_, after) =
        README.split_once(&format!("<!-- {marker} -->")).unwrap_or_else(|| panic!("no {marker}"));
    let (_, code) = after.split_once("```sh\n").unwrap();
    code.split_once("```").unwrap().0.to_owned()
}

fn the_readme_s_commands_buy_a_job_exactly_as_written(env: &TestEnv) {
    let server = env.start();
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
    assert_eq!(env.audit()["jobs"], 1);
}

fn the_readme_s_commands_of_a_session_spend_and_refund_it(env: &TestEnv) {
    let server = env.start();
    let tithe = env!("CARGO_BIN_EXE_tithe");
    let script = readme_block("session").replace("cargo run -q --", tithe);
    let script = script.replace("127.0.0.1:8402", &server.address);
    let ran = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output().unwrap();
    let printed = text(&ran.stdout);
    assert!(ran.status.success(), "{printed}\n{}", text(&ran.stderr));
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [_opened, _paid, reply, closed] = &lines[..] else { panic!("{printed}") };
    assert_eq!(reply["state"], "complete", "{reply}");
    let left = reply["balanceMsats"].as_u64().unwrap();
    assert_eq!(left + reply["debitedMsats"].as_u64().unwrap(), 500_000);
    assert_eq!(closed["refund"]["amountSats"], left / 1_000, "{closed}");
    let audit = env.audit();
    assert_eq!((&audit["sessions"], &audit["sessionsMsats"]), (&json!(1), &json!("0")), "{audit}");
}

fn the_commands_that_pay_for_one_request_buy_its_answer_once(env: &TestEnv) {
    let server = env.start();
    let run = |script: &str| {
        let script = script.replace("127.0.0.1:8402", &server.address);
        let ran = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output().unwrap();
        let printed = text(&ran.stdout);
        assert!(ran.status.success(), "{printed}\n{}", text(&ran.stderr));
        printed
    };
    let printed = run(&readme_block("pay for one request"));
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [offer, reply, payment] = &lines[..] else { panic!("{printed}") };
    assert_eq!(
        (&offer["code"], &reply["state"]),
        (&json!("payment_required"), &json!("complete")),
        "{printed}"
    );
    assert_eq!(
        (&payment["state"], &payment["chargedMsats"]),
        (&json!("used"), &reply["costMsats"]),
        "{printed}"
    );
    // The longer commands, which show the headers and repeat the proof.
    let (_, page) = PAYWALL.split_once("<!-- pay for one request -->").unwrap();
    let printed = run(page.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0);
    assert!(printed.to_lowercase().contains("payment-receipt: "), "{printed}");
    let lines: Vec<&str> = printed.lines().filter(|line| line.contains("\"result\"")).collect();
    assert!(lines.len() == 2 && lines[0] == lines[1], "{printed}");
    // Two requests, and a deposit that was offered besides each.
    assert_eq!(env.audit()["sessions"], 4);
}

fn the_readme_s_commands_buy_a_node(env: &TestEnv) {
    let server = env.start();
    let script = readme_block("bootstrap").replace("127.0.0.1:8402", &server.address);
    let ran = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output().unwrap();
    let printed = text(&ran.stdout);
    assert!(ran.status.success(), "{printed}\n{}", text(&ran.stderr));
    let ready: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!((&ready["state"], &ready["node"]["credentials"]["user"]), (&json!("ready"), &json!("root")));
    let audit = env.audit();
    assert_eq!((&audit["bootstraps"], &audit["bootstrapsMsats"]), (&json!(1), &json!("0")), "{audit}");
}

fn the_readme_s_commands_of_an_install_use_what_its_plan_includes(env: &TestEnv) {
    let server = env.start();
    let script = readme_block("install credits").replace("cargo run -q --", env!("CARGO_BIN_EXE_tithe"));
    let script = script.replace("127.0.0.1:8402", &server.address);
    let mut bash = Command::new("bash");
    let ran = bash.args(["-euo", "pipefail", "-c", &script]).current_dir(env.path()).output().unwrap();
    let printed = text(&ran.stdout);
    assert!(ran.status.success(), "{printed}\n{}", text(&ran.stderr));
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [new, core, used, pro, answered] = &lines[..] else { panic!("{printed}") };
    for (credits, plan, left) in [
        (new, "core", 50),
        (&core["credits"], "core", 49),
        (used, "core", 49),
        (pro, "pro", 1_000),
        (&answered["credits"], "pro", 999),
    ] {
        assert_eq!((&credits["plan"], &credits["remaining"]), (&json!(plan), &json!(left)), "{printed}");
    }
    for reply in [core, answered] {
        assert_eq!((&reply["state"], &reply["debitedMsats"]), (&json!("complete"), &json!(0)), "{reply}");
    }
    let audit = env.audit();
    assert_eq!((&audit["installs"], &audit["credits"]), (&json!(1), &json!(2)), "{audit}");
}

fn the_readme_s_commands_of_an_identity_are_served_from_the_pool(env: &TestEnv) {
    let server = env.start_with(&[("FREE_TIER_BUDGET_NEW", "1000")]);
    let commands = readme_block("identity");
    assert!(README.contains("`FREE_TIER_BUDGET_NEW=1000 TITHE_DEV=1 cargo run -- serve`"));
    let tithe = env!("CARGO_BIN_EXE_tithe");
    let script = commands.replace("cargo run -q --", tithe).replace("127.0.0.1:8402", &server.address);
    let ran = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .env("TITHE_SERVER", format!("http://{}", server.address))
        .env("TITHE_IDENTITY", env.path().join("identity.nsec"))
        .output()
        .unwrap();
    let printed = text(&ran.stdout);
    assert!(ran.status.success(), "{printed}\n{}", text(&ran.stderr));
    let lines: Vec<&str> = printed.lines().filter(|line| line.starts_with('{')).collect();
    let [estimate, me, pool] = lines[..] else { panic!("{printed}") };
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    assert_eq!(read(estimate)["identity"]["free_tier"]["serve"], "free", "{estimate}");
    let absorbed = read(me)["freeTier"]["absorbedTodaySats"].as_u64().unwrap();
    assert!(absorbed > 0, "{me}");
    assert_eq!(read(pool)["grantedTodaySats"], absorbed, "{pool}");
    assert_eq!(env.audit()["grants"], 1);
}

#[test]
fn the_readme_s_first_command_is_what_the_tests_start() {
    let command = readme_block("run command");
    assert_eq!(command.trim(), "TITHE_DEV=1 cargo run -- serve");
}

fn the_first_lines_say_what_is_simulated_where_the_data_is_and_what_to_try(env: &TestEnv) {
    let server = env.start();
    for part in [
        "wallet     SIMULATED",
        "inference  SIMULATED",
        "BTC price  SIMULATED",
        "nodes      SIMULATED",
        "pool       10000 sats; new 0, established 50, trusted 200, elite 1000 sats a day",
        "data ",
        "try ",
        "/docs",
    ] {
        assert!(server.banner.contains(part), "{part:?} is not in\n{}", server.banner);
    }
    assert!(server.banner.contains(&*env.path().canonicalize().unwrap().to_string_lossy()));
    assert_eq!(env.file().exists(), !env.is_postgres());
    assert_eq!(server.banner.contains("database   postgres://"), env.is_postgres());
}

#[cfg(unix)]
#[test]
fn a_generated_secret_is_kept_for_nobody_else_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let env = TestEnv::sqlite();
    let mut server = env.start();
    let path = env.path().join("tithe-data/token.secret");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let secret = std::fs::read(&path).unwrap();
    server.kill();
    server.restart().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), secret);
}
