//! Mounted routes: the configuration file, and a server that sells them.

use crate::operating::procedure;
use crate::server::{Server, tithe};
use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, text};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

on_both_stores! {
    a_call_is_sold_and_its_answer_survives_the_server,
}

fn check(folder: &Path, file: &str, arguments: &[&str]) -> Output {
    std::fs::write(folder.join("tithe.toml"), file).unwrap();
    let mut command = tithe(folder);
    command.args(["config", "check"]).args(arguments).env("ARCHIVE_AUTHORIZATION", "Bearer very-secret");
    command.output().unwrap()
}

#[test]
fn the_chapters_example_is_accepted_and_shown_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let example = procedure("configure-mounts");
    let checked = check(folder.path(), &example, &[]);
    assert_eq!(checked.status.code(), Some(0), "{}", all_of(&checked));
    let shown = text(&checked.stdout);
    for line in [
        "[[mount]]\npath = \"/paid/weather\"\n",
        "price_msats_per_token = 20\n",
        "# headers.Authorization is set, and hidden\n",
    ] {
        assert!(shown.contains(line), "{line:?} is not in {shown}");
    }
    let report = check(folder.path(), &example, &["--json"]);
    let json: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(
        (&json["mounts"][1]["headers"], &json["mounts"][0]["price_sats"]),
        (&json!(["Authorization"]), &json!(5))
    );
    assert!(!all_of(&checked).contains("very-secret") && !all_of(&report).contains("very-secret"));
}

#[test]
fn what_is_wrong_stops_the_start_and_is_named_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = "margin_pct = -5\n[[mount]]\npath = \"/api/ask\"\nupstream = \"http://127.0.0.1:9\"\nprice_sats = 1\n\
                [[mount]]\npath = \"/paid\"\nupstream = \"nowhere\"\nprice_sats = 1\n";
    let checked = check(folder.path(), file, &[]);
    let told = all_of(&checked);
    assert_eq!(checked.status.code(), Some(1), "{told}");
    for problem in [
        "invalid mount 1 (\"/api/ask\"): path: expected another first segment than \"api\", which is the server's own",
        "invalid mount 2 (\"/paid\"): upstream: expected an http or https URL (in tithe.toml)",
        "invalid TITHE_MARGIN_PCT",
    ] {
        assert!(told.contains(problem), "{problem:?} is not in {told}");
    }
    let refused = tithe(folder.path()).arg("serve").env("TITHE_LISTEN", "127.0.0.1:0").output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{}", all_of(&refused));
    let mounted = "[[mount]]\npath = \"/paid\"\nupstream = \"http://127.0.0.1:9\"\nprice_sats = 1\n";
    let public = check(folder.path(), &format!("dev = true\nlisten = \"0.0.0.0:1\"\n{mounted}"), &[]);
    assert!(
        all_of(&public).contains("with mounted routes it serves only on a loopback address"),
        "{}",
        all_of(&public)
    );
    let probed = check(folder.path(), mounted, &["--connect"]);
    assert!(
        text(&probed.stdout).contains("/paid: no connection to http://127.0.0.1:9/"),
        "{}",
        all_of(&probed)
    );
}

fn a_call_is_sold_and_its_answer_survives_the_server(env: &TestEnv) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let service = runtime.block_on(async {
        let service = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/weather"))
            .and(query_param("city", "Rome"))
            .and(header("x-key", "very-secret"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "sun": true })))
            .expect(1)
            .mount(&service)
            .await;
        service
    });
    let file = format!(
        "[[mount]]\npath = \"/paid/weather\"\nupstream = \"{}/weather\"\nprice_sats = 5\nheaders = {{ X-Key = \"very-secret\" }}\n",
        service.uri()
    );
    std::fs::write(env.path().join("tithe.toml"), file).unwrap();
    let mut server = env.start();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = |server: &Server| client.post(server.url("/paid/weather?city=Rome")).body("{}");
    let proof = runtime.block_on(async {
        let refused = ask(&server).send().await.unwrap();
        assert_eq!(refused.status(), 402);
        let offer = refused.json::<Value>().await.unwrap()["offer"].clone();
        assert_eq!(offer["amountSats"], 5, "{offer}");
        let hash = offer["invoice"]["paymentHash"].as_str().unwrap();
        let paid = client.post(server.url(&format!("/dev/stub/pay/{hash}"))).send().await.unwrap();
        let preimage = paid.json::<Value>().await.unwrap()["preimage"].as_str().unwrap().to_owned();
        let proof = offer["authorization"].as_str().unwrap().replace("<preimage>", &preimage);
        let answer = ask(&server).header("Authorization", &proof).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("payment-receipt"));
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "sun": true }));
        proof
    });
    server.kill();
    server.restart().unwrap();
    runtime.block_on(async {
        let again = ask(&server).header("Authorization", &proof).send().await.unwrap();
        assert_eq!(
            (again.status().as_u16(), &again.headers()["idempotency-replayed"]),
            (200, &"true".parse().unwrap())
        );
        assert_eq!(again.json::<Value>().await.unwrap(), json!({ "sun": true }));
        service.verify().await;
    });
    assert!(server.stop());
    env.audit();
    let log = std::fs::read_to_string(env.path().join("server.log")).unwrap();
    assert!(!log.contains("very-secret"), "{log}");
}
