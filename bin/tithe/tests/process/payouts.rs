//! `tithe payouts` and `tithe audit --wallet`: what is owed to customers, as the operator sees it.

use crate::refunds::{PAYABLE, block_on, failed_job, invoice, serve_address};
use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, text};
use serde_json::{Value, json};
use std::process::Output;
use wiremock::MockServer;

on_both_stores! {
    what_nobody_claims_is_listed_and_settled_by_the_operator,
    what_was_paid_is_shown_with_its_payments,
    what_could_not_be_paid_is_paid_by_a_retry,
    the_audit_compares_the_ledger_with_the_wallet,
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", all_of(output));
    text(&output.stdout)
}

fn json_of(output: &Output) -> Value {
    serde_json::from_str(&printed(output)).unwrap()
}

fn refused(output: &Output, reason: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", all_of(output));
    assert!(text(&output.stderr).contains(reason), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
}

fn what_nobody_claims_is_listed_and_settled_by_the_operator(env: &TestEnv) {
    let server = env.start();
    assert!(printed(&server.run(&["payouts", "list"])).contains("0 obligations, 0 sats due"));
    assert_eq!(json_of(&server.run(&["payouts", "list", "--json"])), json!([]));
    let (job, token) = failed_job(&server);
    let (other, _) = failed_job(&server);
    let account = format!("job:{job}");
    let listed = printed(&server.run(&["payouts", "list"]));
    assert!(listed.contains(&format!("{account}  pending  29 sats due of 29 sats, since 20")), "{listed}");
    assert!(listed.contains("; unclaimed\n") && listed.contains("2 obligations, 58 sats due"), "{listed}");
    let listed = json_of(&server.run(&["payouts", "list", "--json"]));
    let ours = listed.as_array().unwrap().iter().find(|owed| owed["account"] == account).unwrap();
    assert_eq!(
        (&ours["state"], &ours["dueSats"], &ours["accruedSats"]),
        (&json!("pending"), &json!(29), &json!(29))
    );
    assert_eq!((&ours["destination"], &ours["inFlight"]), (&Value::Null, &Value::Null), "{ours}");

    let settle =
        |how: &str, account: &str, sats: &str| server.run(&["payouts", "settle", how, account, sats]);
    let settled = printed(&settle("paid-elsewhere", &account, "10"));
    assert!(settled.contains("pending  19 sats due of 29 sats"), "{settled}");
    refused(&settle("forfeit", &account, "20"), "too much: expected at most 19 sats, got 20 sats");
    refused(&settle("forfeit", &account, "0"), "nothing is due");
    let settled = printed(&settle("forfeit", &account, "19"));
    assert!(settled.contains("0 sats due of 29 sats"), "{settled}");
    refused(&settle("forfeit", &account, "1"), "nothing is due");
    for unknown in ["job:00000000-0000-4000-8000-000000000000", "wallet"] {
        refused(&settle("forfeit", unknown, "1"), &format!("there is no obligation {unknown}"));
    }
    let listed = printed(&server.run(&["payouts", "list"]));
    assert!(listed.contains("1 obligations, 29 sats due") && listed.contains(&other), "{listed}");
    // The customer comes too late.
    let claim = ["refund", &job, "--server", &server.url(""), "--claim-token", &token, "--to", "dev"];
    let claimed = server.run(&claim);
    assert!(all_of(&claimed).contains("refund of 29 sats, paid"), "{}", all_of(&claimed));
    let audit = env.audit();
    let accounts = &audit["accountsMsats"];
    assert_eq!(accounts["refunds_due"], "29000", "{audit:#}");
    assert_eq!(audit["payouts"], 0, "the wallet has paid nothing");
}

fn what_was_paid_is_shown_with_its_payments(env: &TestEnv) {
    let server = env.start();
    let (job, token) = failed_job(&server);
    let account = format!("job:{job}");
    let claim = ["refund", &job, "--server", &server.url(""), "--claim-token", &token, "--to", "dev"];
    printed(&server.run(&claim));
    assert!(printed(&server.run(&["payouts", "list"])).contains("0 obligations, 0 sats due"));
    let shown = printed(&server.run(&["payouts", "show", &account]));
    assert!(shown.starts_with(&format!("{account}  paid  0 sats due of 29 sats")), "{shown}");
    assert!(
        shown.contains("  paid  26 sats, attempt 1, at 20") && shown.contains("routing fee 1000 msat"),
        "{shown}"
    );
    let shown = json_of(&server.run(&["payouts", "show", &account, "--json"]));
    let [payment] = &shown["payouts"].as_array().unwrap()[..] else { panic!("{shown:#}") };
    assert_eq!(
        (&payment["state"], &payment["amountSats"], &payment["feeLimitSats"], &payment["feeMsats"]),
        (&json!("paid"), &json!(PAYABLE), &json!(3), &json!("1000")),
        "{payment}"
    );
    assert_eq!(payment["preimage"], Value::Null, "the proof of payment is not printed");
    // What the wallet knows is not overruled by hand.
    let hash = payment["paymentHash"].as_str().unwrap();
    let over = format!("the payment is not in flight: {hash}");
    refused(&server.run(&["payouts", "settle", "failed", hash]), &over);
    let preimage = "00".repeat(32);
    refused(&server.run(&["payouts", "settle", "succeeded", hash, &preimage]), &over);
    let unknown = "00".repeat(32);
    refused(
        &server.run(&["payouts", "settle", "failed", &unknown]),
        &format!("there is no payout {unknown}"),
    );
    let unknown = "job:00000000-0000-4000-8000-000000000000";
    for command in ["show", "retry"] {
        refused(&server.run(&["payouts", command, unknown]), "there is no obligation");
    }
    let again = printed(&server.run(&["payouts", "retry", &account]));
    assert!(again.contains("  paid  0 sats due of 29 sats"), "{again}");
    assert_eq!(env.audit()["payouts"], 1);
}

fn what_could_not_be_paid_is_paid_by_a_retry(env: &TestEnv) {
    let mut server = env.start_with(&[("TITHE_LIGHTNING_ADDRESSES", "any")]);
    let (job, token) = failed_job(&server);
    let account = format!("job:{job}");
    let host = block_on(MockServer::start());
    // For now, its host is out of order.
    let fault = wiremock::ResponseTemplate::new(503);
    let broken =
        block_on(wiremock::Mock::given(wiremock::matchers::any()).respond_with(fault).mount_as_scoped(&host));
    block_on(async {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let claim = http.post(server.url(&format!("/api/jobs/{job}/refund"))).bearer_auth(&token);
        let claim = claim.json(&json!({ "lightningAddress": format!("alice@{}", host.address()) }));
        assert_eq!(claim.send().await.unwrap().status(), 202);
    });
    let request = invoice(&server, PAYABLE);
    assert!(server.stop());
    let tried = printed(&server.run(&["payouts", "retry", &account]));
    let problem = "pending  29 sats due of 29 sats";
    assert!(tried.contains(problem) && tried.contains("; the Lightning address does not work"), "{tried}");
    let listed = json_of(&server.run(&["payouts", "list", "--json"]));
    assert_eq!(listed[0]["destination"], format!("alice@{}", host.address()));
    drop(broken);
    block_on(serve_address(&host, PAYABLE, &request));
    let tried = printed(&server.run(&["payouts", "retry", &account]));
    assert!(tried.contains("  paid  0 sats due of 29 sats"), "{tried}");
    let audit = env.audit();
    assert_eq!((&audit["payouts"], &audit["accountsMsats"]["refunds_due"]), (&json!(1), &json!("0")));
}

fn the_audit_compares_the_ledger_with_the_wallet(env: &TestEnv) {
    let mut server = env.start();
    let (job, token) = failed_job(&server);
    failed_job(&server);
    let claim = ["refund", &job, "--server", &server.url(""), "--claim-token", &token, "--to", "dev"];
    printed(&server.run(&claim));
    let audit = |json: bool| {
        let arguments: &[&str] = if json { &["audit", "--wallet", "--json"] } else { &["audit", "--wallet"] };
        server.run(arguments)
    };
    assert!(printed(&audit(false)).contains("wallet: sound"), "{}", all_of(&audit(false)));
    let report = json_of(&audit(true));
    let wallet = &report["wallet"];
    // Two jobs paid 30 sats each; 26 sats were refunded, for a fee of 1 sat.
    let held = json!((2 * 30_000 - 27_000).to_string());
    assert_eq!(
        (&wallet["sound"], &wallet["heldMsats"], &wallet["expectedMsats"]),
        (&json!(true), &held, &held),
        "{wallet:#}"
    );
    assert_eq!((&wallet["paymentsListed"], &wallet["differences"]), (&json!(5), &json!([])), "{wallet:#}");
    assert_eq!(env.audit()["wallet"], Value::Null, "only when it is asked for");

    // A wallet that has lost everything.
    assert!(server.stop());
    std::fs::remove_dir_all(env.path().join("tithe-data/wallet-sim")).unwrap();
    let lost = server.run(&["audit", "--wallet"]);
    let told = all_of(&lost);
    assert_eq!(lost.status.code(), Some(1), "{told}");
    for part in
        ["SHORTFALL of 33 sats (33000 msat)", "WRONG: payment", "credited, but not in the wallet's list"]
    {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
    let lost = server.run(&["audit", "--wallet", "--json"]);
    let report: Value = serde_json::from_slice(&lost.stdout).unwrap();
    assert_eq!((&report["sound"], &report["wallet"]["sound"]), (&json!(true), &json!(false)), "{report:#}");
    assert_eq!(report["wallet"]["shortfallMsats"], "33000");
    env.audit();
}
