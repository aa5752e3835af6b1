//! Invoices that are paid while no server runs.

use crate::customer::Bought;
use crate::merchant::{Merchant, Setting};
use crate::patience::until;
use crate::shop::Shop;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tithe_clock::{SystemClock, SystemEntropy};
use tithe_lightning::{Bolt11, TestPayer};
use tithe_test_lightning::{LightningPair, PayTerms};
use tithe_wallet_sim::SimWallet;

/// How many invoices there are, and what each is for, in sats.
const INVOICES: usize = 1_000;
const SATS: u64 = 500;

/// How many requests customers send at once, and how many invoices they pay at once.
const AT_ONCE: usize = 20;

/// How long the server may take to answer while it catches up, and to credit everything. Both are far above what it needs.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const CREDIT_MAX: Duration = Duration::from_mins(3);

/// The pause between two plain requests.
const PROBE_PAUSE: Duration = Duration::from_millis(20);

fn open_shop(wallet: &[Setting]) -> Shop {
    let more = [
        ("TITHE_REQUESTS_PER_SECOND", "0"),
        ("TITHE_MAX_UNPAID_PER_ADDRESS", "10000"),
        ("TITHE_INVOICE_EXPIRY_SECONDS", "3600"),
    ];
    Shop::open(wallet, &more)
}

/// Sessions whose deposits are not paid.
async fn sessions(shop: &Shop) -> Vec<(Bought, Bolt11)> {
    let open = async |_| {
        let (status, created) = shop.post("/api/sessions", None, &json!({ "amountSats": SATS })).await;
        assert_eq!(status, 201, "{created}");
        let session = Bought {
            path: format!("/api/sessions/{}", created["sessionId"].as_str().unwrap()),
            secret: created["macaroon"].as_str().unwrap().to_owned(),
            paid_sats: SATS,
        };
        let invoice = created["invoice"]["paymentRequest"].as_str().unwrap().parse().unwrap();
        (session, invoice)
    };
    stream::iter(0..INVOICES).map(open).buffer_unordered(AT_ONCE).collect().await
}

/// What the ledger says was received, in msats.
fn received(shop: &Shop) -> u64 {
    let audit = shop.json(&["audit", "--json"]);
    assert_eq!(audit["sound"], true, "{audit:#}");
    audit["accountsMsats"]["wallet"]
        .as_str()
        .map_or(0, |wallet| wallet.trim_start_matches('-').parse().unwrap())
}

/// Sends plain requests to a server, one after the other.
struct Probe {
    url: String,
    stopped: AtomicBool,
}

impl Probe {
    /// Begins, on a thread of its own. At the end the thread returns the longest time that an answer took, and how many there were.
    fn begin(shop: &Shop) -> (Arc<Self>, JoinHandle<(Duration, usize)>) {
        let url = shop.server.url("/api/estimate?request=hello");
        let probe = Arc::new(Self { url, stopped: AtomicBool::new(false) });
        let ours = Arc::clone(&probe);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        (probe, std::thread::spawn(move || runtime.block_on(ours.run())))
    }

    async fn run(&self) -> (Duration, usize) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let (mut longest, mut count) = (Duration::ZERO, 0);
        while !self.stopped.load(Ordering::SeqCst) {
            let began = Instant::now();
            let answer = http.get(&self.url).send().await.unwrap().error_for_status().unwrap();
            let _whole = answer.bytes().await.unwrap();
            longest = longest.max(began.elapsed());
            count += 1;
            tokio::time::sleep(PROBE_PAUSE).await;
        }
        (longest, count)
    }
}

/// Starts the server that was killed, and waits until everything is credited.
async fn catch_up(mut shop: Shop, sessions: &[(Bought, Bolt11)]) {
    let all = u64::try_from(INVOICES).unwrap() * SATS * 1_000;
    assert_eq!(received(&shop), 0, "nothing is credited while no server runs");
    let began = Instant::now();
    shop.server.restart().unwrap();
    let started = began.elapsed();
    let (probe, probing) = Probe::begin(&shop);
    // Somebody buys meanwhile.
    let (status, created) = shop.post("/api/sessions", None, &json!({ "amountSats": SATS })).await;
    assert_eq!(status, 201, "{created}");
    let sold = began.elapsed();
    until("everything is credited", CREDIT_MAX, async || (received(&shop) == all).then_some(())).await;
    let credited = began.elapsed();
    probe.stopped.store(true, Ordering::SeqCst);
    let (longest, count) = probing.join().unwrap();
    println!(
        "{INVOICES} invoices: started in {started:.2?}, sold something new after {sold:.2?}, all credited after {credited:.2?}; the \
         longest of {count} answers meanwhile took {longest:.2?}"
    );
    assert!(sold < started + ANSWER_MAX && longest < ANSWER_MAX, "{sold:?}, {longest:?}");
    // Each was credited once.
    stream::iter(sessions)
        .for_each_concurrent(AT_ONCE, async |(session, _)| {
            let seen = shop.get(&session.path, Some(&session.secret)).await;
            let sums = (&seen["state"], &seen["balanceMsats"]);
            assert_eq!(sums, (&json!("active"), &json!(SATS * 1_000)), "{seen}");
        })
        .await;
    let audit = shop.json(&["audit", "--wallet", "--json"]);
    assert_eq!((&audit["sound"], &audit["wallet"]["sound"]), (&json!(true), &json!(true)), "{audit:#}");
    assert_eq!(audit["wallet"]["differences"], json!([]), "{audit:#}");
    assert_eq!(audit["wallet"]["expectedMsats"], all.to_string(), "{audit:#}");
}

#[tokio::test]
async fn a_thousand_invoices_that_were_paid_while_the_server_was_down_are_credited_once() {
    let mut shop = open_shop(&[]);
    let sessions = sessions(&shop).await;
    shop.server.kill();
    let folder = shop.folder().join("tithe-data/wallet-sim");
    let wallet = SimWallet::open(&folder, Arc::new(SystemClock), Arc::new(SystemEntropy)).await.unwrap();
    let paying = stream::iter(&sessions).map(Ok::<_, tithe_lightning::TestPaymentError>);
    paying
        .try_for_each_concurrent(AT_ONCE, async |(_, invoice)| wallet.pay(invoice).await.map(drop))
        .await
        .unwrap();
    drop(wallet);
    catch_up(shop, &sessions).await;
}

#[tokio::test]
#[ignore = "takes a minute: just test-lightning"]
async fn a_thousand_invoices_that_were_paid_over_a_channel_while_the_server_was_down_are_credited_once() {
    let pair = LightningPair::start().await.unwrap();
    let merchant = Merchant::phoenixd(pair.merchant()).await;
    let mut shop = open_shop(&merchant.settings());
    let sessions = sessions(&shop).await;
    shop.server.kill();
    let began = Instant::now();
    stream::iter(&sessions)
        .for_each_concurrent(AT_ONCE, async |(_, invoice)| {
            let payment = pair.customer().pay(invoice, PayTerms::default()).await.unwrap();
            assert!(payment.succeeded().is_some(), "{payment:?}");
        })
        .await;
    println!("paid over the channel in {:.2?}", began.elapsed());
    pair.settle().await.unwrap();
    catch_up(shop, &sessions).await;
}
