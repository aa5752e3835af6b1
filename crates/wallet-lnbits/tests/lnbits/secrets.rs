//! The key and the preimages stay secret.

use crate::lnbits::{INVOICE_HASH, INVOICE_PREIMAGE, KEY, Lnbits, get, hash, invoice, settings, with};
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tithe_clock::SystemClock;
use tithe_lightning::Wallet;
use tithe_wallet_lnbits::LnbitsWallet;
use tracing_subscriber::filter::LevelFilter;
use wiremock::ResponseTemplate;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next} {next:?}");
        cause = next.source();
    }
    text
}

#[tokio::test]
async fn neither_errors_nor_logs_have_the_key_or_a_preimage() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    // Nobody listens at port 1.
    let down = LnbitsWallet::new(&settings("http://127.0.0.1:1/"), Arc::new(SystemClock)).unwrap();
    let mut said = vec![format!("{down:?}")];
    said.push(chain(&down.balance().await.unwrap_err()));
    said.push(chain(&down.payments_received().await.err().unwrap()));

    // The wallet is there, and its WebSocket is not.
    let lnbits = Lnbits::start().await;
    let balance = ResponseTemplate::new(200).set_body_json(json!({ "balance": 0 }));
    get("/api/v1/wallet").respond_with(balance).mount(&lnbits.server).await;
    said.push(chain(&lnbits.wallet.payments_received().await.err().unwrap()));

    // LNbits reports the preimage of an unpaid invoice, once readably and once not.
    lnbits.check(INVOICE_HASH, 200, json!({ "paid": false, "details": invoice() })).await;
    said.push(format!("{:?}", lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap()));
    let lnbits = Lnbits::start().await;
    let unreadable = with(invoice(), json!({ "amount": INVOICE_PREIMAGE }));
    lnbits.check(INVOICE_HASH, 200, json!({ "paid": false, "details": unreadable })).await;
    said.push(chain(&lnbits.wallet.invoice_status(hash(INVOICE_HASH)).await.unwrap_err()));

    tracing::info!("the end");
    said.push(log.text());
    assert!(said.last().unwrap().contains("the end"));
    for text in said {
        assert!(!text.contains(KEY) && !text.contains(INVOICE_PREIMAGE), "{text}");
    }
}
