//! A real process that is killed while it writes.

use crate::bench::request;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tithe_clock::{SystemClock, SystemEntropy};
use tithe_lightning::{InvoiceStatus, PaymentHash, TestPayer, Wallet};
use tithe_wallet_sim::SimWallet;

const FOLDER: &str = "TITHE_WALLET_SIM_TEST_FOLDER";

async fn open(folder: &std::path::Path) -> SimWallet {
    SimWallet::open(folder, Arc::new(SystemClock), Arc::new(SystemEntropy)).await.unwrap()
}

/// Makes and pays invoices without end, and says which are paid. Only as the child of the test below.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn child_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let wallet = Arc::new(open(folder.as_ref()).await);
    let writers = (0..4_u128).map(|writer| {
        let wallet = Arc::clone(&wallet);
        tokio::spawn(async move {
            for n in 0_u128.. {
                let id = (u128::from(std::process::id()) << 64) | (n << 8) | writer;
                let invoice = wallet.invoice_create(&request(id, 1)).await.unwrap();
                wallet.pay(&invoice).await.unwrap();
                let line = format!("paid {}\n", invoice.payment_hash());
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        })
    });
    futures_util::future::join_all(writers).await;
}

#[tokio::test]
async fn killed_writers_lose_nothing_that_they_have_answered() {
    let folder = tempfile::tempdir().unwrap();
    let survivor = open(folder.path()).await;
    let mut answered = Vec::new();
    for round in 0..5 {
        let mut children: Vec<_> = (0..2)
            .map(|_| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "kill::child_that_writes_until_it_is_killed", "--nocapture"])
                    .env(FOLDER, folder.path())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let mut outputs: Vec<_> =
            children.iter_mut().map(|child| BufReader::new(child.stdout.take().unwrap()).lines()).collect();
        let paid = |line: std::io::Result<String>| {
            line.ok()?.split_once("paid ").and_then(|(_, hash)| hash.parse::<PaymentHash>().ok())
        };
        for output in &mut outputs {
            answered.extend(output.by_ref().filter_map(paid).take(20 + round));
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // What was still in the pipe had been answered too.
        for output in outputs {
            answered.extend(output.filter_map(paid));
        }
    }
    let restarted = open(folder.path()).await;
    assert!(answered.len() >= 200);
    for wallet in [&survivor, &restarted] {
        for hash in &answered {
            let status = wallet.invoice_status(*hash).await.unwrap();
            assert!(matches!(status, Some(InvoiceStatus::Settled(_))), "{hash}: {status:?}");
        }
    }
    let invoice = survivor.invoice_create(&request(1, 1)).await.unwrap();
    restarted.pay(&invoice).await.unwrap();
}
