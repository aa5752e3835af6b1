//! Invoices of the simulated wallet, without a server: no offer can be made faster.

use crate::figures::Figures;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_lightning::{InvoiceId, InvoiceRequest, Wallet};
use tithe_money::Sats;
use tithe_wallet_sim::SimWallet;
use tokio::task::JoinSet;

/// Makes invoices in a wallet in this folder, so many at once, so many each.
pub(crate) async fn invoices(folder: &str, at_once: u32, each: u32) -> Figures {
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
        (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let wallet = Arc::new(SimWallet::open(folder, clock, entropy).await.unwrap());
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..at_once {
        let wallet = Arc::clone(&wallet);
        callers.spawn(async move {
            let mut micros = Vec::new();
            for _ in 0..each {
                let request = InvoiceRequest {
                    id: InvoiceId(crate::fixture::new_id(&SystemClock, &SystemEntropy)),
                    amount: Sats::new(3).unwrap(),
                    description: "one request".to_owned(),
                    expiry: Duration::from_mins(10),
                };
                let asked = Instant::now();
                wallet.invoice_create(&request).await.unwrap();
                micros.push(asked.elapsed().as_micros() as u32);
            }
            micros
        });
    }
    let micros = callers.join_all().await.concat();
    Figures::of(micros.len(), began.elapsed().as_secs_f64(), micros)
}
