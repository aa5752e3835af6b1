//! What `TITHE_ENV=production` starts on, and what it refuses.

use crate::books::Before;
use crate::customer::Customer;
use crate::merchant::{Merchant, Setting};
use crate::patience::SOON;
use crate::server::tithe;
use crate::shop::Shop;
use crate::text;
use serde_json::{Value, json};
use tithe_test_lightning::LightningPair;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// A backend that speaks OpenAI's API.
struct Backend;

impl Respond for Backend {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Value = request.body_json().unwrap();
        let usage = json!({ "prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25 });
        if body["stream"] == true {
            let text = json!({ "choices": [{ "index": 0, "delta": { "content": "because" } }] });
            let end =
                json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }], "usage": usage });
            let events = format!("data: {text}\n\ndata: {end}\n\ndata: [DONE]\n\n");
            return ResponseTemplate::new(200).set_body_raw(events, "text/event-stream");
        }
        let message = json!({ "role": "assistant", "content": r#"{"accept":true}"# });
        let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
        ResponseTemplate::new(200).set_body_json(json!({ "choices": [choice], "usage": usage }))
    }
}

async fn backend() -> MockServer {
    let server = MockServer::start().await;
    let answers = Mock::given(method("POST")).and(path("/v1/chat/completions")).respond_with(Backend);
    answers.mount(&server).await;
    server
}

/// All that production needs, besides a wallet.
fn settings(backend: &str) -> Vec<Setting> {
    vec![
        ("TITHE_ENV", "production".to_owned()),
        ("TITHE_INFERENCE", "openai".to_owned()),
        ("TITHE_INFERENCE_URL", format!("{backend}/v1")),
        ("TITHE_INFERENCE_API_KEY", "sk-of-mine".to_owned()),
        ("TITHE_EVAL_MODEL", "sim-small".to_owned()),
        ("TITHE_WORK_MODEL", "sim-large".to_owned()),
        ("TITHE_BTC_PRICE_USD", "500".to_owned()),
        ("TITHE_PROVISIONER", "none".to_owned()),
        ("TITHE_TOKEN_SECRET", "a-secret-of-mine-that-is-long-enough".to_owned()),
    ]
}

#[tokio::test]
async fn production_sells_and_refunds_on_a_real_wallet_and_a_real_backend() {
    let (pair, backend) = (LightningPair::start().await.unwrap(), backend().await);
    let merchant = Merchant::phoenixd(pair.merchant()).await;
    let all = [settings(&backend.uri()), merchant.settings()].concat();
    let shop = Shop::open(&all, &[]);
    assert!(shop.server.banner.contains("phoenixd"), "{}", shop.server.banner);
    let before = Before::of(&merchant, pair.customer());
    let customer = Customer { shop: &shop, node: pair.customer() };
    let (job, done) = customer.buy_job("Why is the sky blue?").await;
    assert_eq!((&done["state"], &done["result"]), (&json!("complete"), &json!("because")), "{done}");
    let invoice = customer.invoice(&done["refund"]);
    customer.claim(&job, &invoice).await;
    customer.refunded(&job, SOON).await;
    customer.arrived(&invoice).await;
    // There is no way to pay with play money.
    let hash = "00".repeat(32);
    let (status, answer) = shop.post(&format!("/dev/stub/pay/{hash}"), None, &json!({})).await;
    assert_eq!(status, 404, "{answer}");
    pair.settle().await.unwrap();
    let (audit, gain, loss) = before.check(&shop, &merchant, pair.customer());
    assert_eq!(gain, loss, "{audit:#}");
}

/// What the server says when it does not start with these settings.
fn refusal(settings: &[Setting]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = tithe(folder.path());
    serve.arg("serve").env("TITHE_LISTEN", "127.0.0.1:0");
    let output = serve.envs(settings.iter().map(|(name, value)| (*name, value))).output().unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    text(&output.stderr)
}

/// Without these settings, and with those.
fn changed(settings: &[Setting], without: &[&str], with: &[(&'static str, &str)]) -> Vec<Setting> {
    let mut changed = settings.to_vec();
    changed.retain(|(name, _)| !without.contains(name));
    changed.extend(with.iter().map(|(name, value)| (*name, (*value).to_owned())));
    changed
}

#[test]
fn production_refuses_what_is_simulated_or_generated_and_names_the_setting() {
    let wallet = vec![
        ("TITHE_WALLET", "phoenixd".to_owned()),
        ("TITHE_PHOENIXD_PASSWORD", "a-password-of-mine".to_owned()),
        ("TITHE_NETWORK", "regtest".to_owned()),
    ];
    let all = [settings("http://127.0.0.1:1"), wallet].concat();
    for (without, with, problem) in [
        (&["TITHE_WALLET"][..], &[][..], "the simulated wallet: set TITHE_WALLET\n"),
        (&["TITHE_INFERENCE"], &[], "the simulated inference: set TITHE_INFERENCE\n"),
        (&["TITHE_PROVISIONER"], &[], "the simulated provisioner: set TITHE_PROVISIONER\n"),
        (&["TITHE_TOKEN_SECRET"], &[], "a generated secret: set TITHE_TOKEN_SECRET\n"),
        (&[], &[("TITHE_DEV", "1")], "the development routes: unset TITHE_DEV\n"),
    ] {
        let said = refusal(&changed(&all, without, with));
        assert!(said.starts_with("tithe: TITHE_ENV=production does not run on "), "{said}");
        assert!(said.ends_with(problem), "{said}");
        assert!(!said.contains("; nor on "), "{without:?}: {said}");
        assert!(!said.contains("of-mine"), "{said}");
    }
    let said = refusal(&changed(&all, &["TITHE_WALLET", "TITHE_TOKEN_SECRET"], &[]));
    assert!(said.contains("TITHE_WALLET; nor on ") && said.contains("TITHE_TOKEN_SECRET"), "{said}");
}

#[test]
fn play_money_is_never_taken_on_mainnet() {
    for network in [&[("TITHE_NETWORK", "mainnet")][..], &[]] {
        let settings = [
            ("TITHE_DEV", "1"),
            ("TITHE_WALLET", "phoenixd"),
            ("TITHE_PHOENIXD_PASSWORD", "a-password-of-mine"),
        ];
        let settings = settings.iter().chain(network).map(|(name, value)| (*name, (*value).to_owned()));
        let said = refusal(&settings.collect::<Vec<_>>());
        assert!(said.contains("invalid TITHE_DEV: ") && said.contains("(TITHE_NETWORK)"), "{said}");
        assert!(!said.contains("of-mine"), "{said}");
    }
}
