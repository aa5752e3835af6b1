//! `tithe selftest` on a server that holds the payments of single requests, and faults that it must find there.

use crate::selftest::{Plant, named, report};
use crate::test_env::TestEnv;
use serde_json::json;

#[test]
fn a_server_that_holds_the_payments_of_single_requests_passes() {
    let held = ["offer-held", "offer-held-failure"];
    for (setting, outcome) in [("1", "ok"), ("0", "skipped")] {
        let env = TestEnv::sqlite();
        let mut server = env.start_with(&[("TITHE_HOLD_REQUESTS", setting)]);
        let only: &[&str] = if setting == "1" { &[] } else { &["--only", "paid-requests"] };
        let (report, code) = report(&env, &server.url(""), only);
        assert_eq!((code, named(&report, "failed")), (0, Vec::<String>::new()), "{setting}: {report:#}");
        assert!(held.iter().all(|name| named(&report, outcome).contains(&(*name).to_owned())), "{report:#}");
        for name in ["offer-mcp", "offer-payment-scheme", "offer-receipt", "offer-refund"] {
            assert!(named(&report, "ok").contains(&name.to_owned()), "{setting}: {name}: {report:#}");
        }
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "offer-held").unwrap();
        let reason = check["reason"].as_str().unwrap_or_default();
        assert_eq!(reason.contains("TITHE_HOLD_REQUESTS"), setting == "0", "{check}");
        assert!(server.stop());
        env.audit();
    }
}

/// What a server can do wrong that holds the payments of single requests.
pub(crate) const PLANTS: &[Plant] = &[
    Plant { fault: "nothing", only: "offer-held-failure", found_by: &[], tamper: |_, _| {} },
    Plant {
        fault: "a request is done again when its proof comes",
        only: "offer-held",
        found_by: &["offer-held"],
        tamper: |_, answered| answered.drop_header("idempotency-replayed"),
    },
    Plant {
        fault: "a payment that was held is charged a msat more than the answer says",
        only: "offer-held",
        found_by: &["offer-held"],
        tamper: |asked, answered| {
            if asked.line.starts_with("GET /api/payments/") && answered.status == 200 {
                answered.add("/chargedMsats", 1);
            }
        },
    },
    Plant {
        fault: "the payment of a request that has failed is taken",
        only: "offer-held-failure",
        found_by: &["offer-held-failure"],
        tamper: |asked, answered| {
            let Some(hash) = asked.line.strip_prefix("POST /dev/stub/pay/").map(str::to_owned) else {
                return;
            };
            let mut has_come_back = false;
            answered.edit(|body| {
                has_come_back = body["detail"].as_str().is_some_and(|it| it.starts_with("payment returned"));
            });
            if has_come_back {
                let paid = json!({ "ok": true, "paymentHash": hash, "preimage": "00".repeat(32) });
                answered.replace(200, &paid);
            }
        },
    },
];
