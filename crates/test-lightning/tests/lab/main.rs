//! The program `lightning-lab`, as other processes use it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

struct Lab {
    process: Child,
    ready: Value,
}

impl Lab {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_lightning-lab"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, ready: serde_json::from_str(&line).unwrap() }
    }

    fn text(&self, pointer: &str) -> &str {
        self.ready.pointer(pointer).and_then(Value::as_str).unwrap()
    }

    async fn form(&self, who: &str, path: &str, form: &str) -> Value {
        let url = format!("{}/{path}", self.text(&format!("/{who}/url")));
        let password = self.text(&format!("/{who}/password"));
        let request = reqwest::Client::new().post(url).basic_auth("", Some(password)).body(form.to_owned());
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The customer pays the merchant, and this is the routing fee.
    async fn pay(&self) -> u64 {
        let invoice = self.form("merchant", "createinvoice", "amountSat=1000&description=a+test").await;
        let form = format!("invoice={}", invoice["serialized"].as_str().unwrap());
        let paid = self.form("customer", "payinvoice", &form).await;
        assert_eq!(paid["paymentHash"], invoice["paymentHash"], "{paid}");
        paid["routingFeeSat"].as_u64().unwrap()
    }

    fn close(mut self) -> ExitStatus {
        drop(self.process.stdin.take());
        self.process.wait().unwrap()
    }
}

#[tokio::test]
async fn the_lab_runs_until_its_input_is_closed() {
    let lab = Lab::start(&[]);
    assert_eq!(lab.pay().await, 0);
    assert_eq!(lab.ready["merchant"]["balance_msat"], 4_000_000_000_u64);
    assert!(lab.ready.get("nwc").is_none() && lab.ready.get("lnbits").is_none());
    assert!(lab.close().success());
}

#[tokio::test]
async fn the_lab_charges_fees_and_offers_nwc_with_the_options_for_them() {
    let mut lab = Lab::start(&["--nwc", "--fee"]);
    assert_eq!(lab.pay().await, 8);
    assert!(lab.text("/nwc/relay").starts_with("ws://127.0.0.1:"));
    for who in ["merchant", "customer"] {
        assert!(lab.text(&format!("/nwc/{who}")).starts_with("nostr+walletconnect://"));
    }
    let kill = format!("kill -TERM {}", lab.process.id());
    assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
    assert!(lab.process.wait().unwrap().success(), "although its input is open");
}

#[test]
fn a_wrong_argument_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_lightning-lab")).arg("--lnd").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("usage: lightning-lab"));
}
