//! A real LNbits over a real node. It is installed from the Python package index, so these tests are ignored by default.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use tithe_lightning::{Bolt11, Preimage};
use tithe_money::Msats;
use tithe_test_lightning::{LightningPair, LnbitsServer, PayTerms, PhoenixdApi};

struct Lab {
    pair: LightningPair,
    _api: PhoenixdApi,
    lnbits: LnbitsServer,
    http: Client,
}

impl Lab {
    async fn start() -> Self {
        let pair = LightningPair::start().await.unwrap();
        let api = PhoenixdApi::start(pair.merchant()).await.unwrap();
        let started = Instant::now();
        let lnbits = LnbitsServer::start(&api).await.unwrap();
        println!("LNbits starts in {:?}", started.elapsed());
        // A connection that is kept would be found dead, not refused.
        let http = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { pair, _api: api, lnbits, http }
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.http.get(self.lnbits.url() + path);
        let request = request.header("x-api-key", &self.lnbits.wallet().invoice_key);
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn post(&self, key: &str, body: Value) -> Value {
        let request = self.http.post(self.lnbits.url() + "/api/v1/payments").header("x-api-key", key);
        request.json(&body).send().await.unwrap().json().await.unwrap()
    }

    /// The customer pays the wallet.
    async fn top_up(&self, sats: u64) {
        let wallet = self.lnbits.wallet();
        let made =
            self.post(&wallet.invoice_key, json!({ "out": false, "amount": sats, "memo": "a job" })).await;
        let invoice: Bolt11 = made["bolt11"].as_str().unwrap().parse().unwrap();
        assert_eq!(invoice.amount().map(Msats::get), Some(sats * 1_000));
        let paid = self.pair.customer().pay(&invoice, PayTerms::default()).await.unwrap();
        let (preimage, _) = paid.succeeded().unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        let seen = loop {
            let seen = self.get(&format!("/api/v1/payments/{}", invoice.payment_hash())).await;
            if seen["paid"] == true {
                break seen;
            }
            assert!(Instant::now() < deadline, "{seen}\n{}", self.lnbits.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(seen["preimage"].as_str().unwrap().parse::<Preimage>().unwrap(), preimage);
    }
}

#[tokio::test]
#[ignore = "installs LNbits: just test-lnbits"]
async fn a_payment_comes_in_and_a_refund_goes_out_over_the_channel() {
    let lab = Lab::start().await;
    lab.top_up(1_000).await;
    assert_eq!(lab.get("/api/v1/wallet").await["balance"], 1_000_000);

    let refund = lab.pair.customer().create_invoice(
        Some(Msats::new(9_000).unwrap()),
        "a refund",
        Duration::from_mins(10),
    );
    let refund = refund.unwrap();
    let body = json!({ "out": true, "bolt11": refund.as_str() });
    let sent = lab.post(&lab.lnbits.wallet().admin_key, body).await;
    assert_eq!((&sent["status"], &sent["amount"]), (&json!("success"), &json!(-9_000)), "{sent}");
    let received = lab.pair.customer().received(refund.payment_hash()).await.unwrap();
    assert_eq!(sent["preimage"], received.preimage.unwrap().reveal());
    assert_eq!(lab.pair.merchant().balance(), Msats::new(4_000_991_000).unwrap());

    let other = lab.lnbits.wallet_create("another").await.unwrap();
    assert_ne!(other.admin_key, lab.lnbits.wallet().admin_key);
}

#[tokio::test]
#[ignore = "installs LNbits: just test-lnbits"]
async fn a_stopped_lnbits_refuses_connections_and_comes_back_with_its_wallets() {
    let lab = Lab::start().await;
    lab.top_up(50).await;
    lab.lnbits.stop().unwrap();
    let error = lab.http.get(lab.lnbits.url()).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    lab.lnbits.start_again().await.unwrap();
    assert_eq!(lab.get("/api/v1/wallet").await["balance"], 50_000);
}
