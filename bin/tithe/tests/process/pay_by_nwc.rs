//! `tithe pay` with a wallet of Nostr Wallet Connect, on real nodes: paid once, also when it is killed.

use crate::pay::{Stall, l402, simulated_invoice};
use crate::test_env::PAUSE;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock as _, ManualClock, SystemClock};
use tithe_lightning::Bolt11;
use tithe_money::Msats;
use tithe_test_lightning::{LightningPair, NostrRelay, NwcFault, NwcService};
use wiremock::ResponseTemplate;

/// How long something may take that takes milliseconds.
const SOON: Duration = Duration::from_mins(1);

/// A stall that wants a real payment, and its customer's wallet.
struct Market {
    stall: Stall,
    pair: LightningPair,
    wallet: NwcService,
    _relay: NostrRelay,
}

impl Market {
    async fn open() -> Self {
        let pair = LightningPair::start().await.unwrap();
        let relay = NostrRelay::start().await.unwrap();
        let wallet = NwcService::start(pair.customer(), &[relay.url()]).await.unwrap();
        let price = Msats::new(7_000).unwrap();
        let invoice =
            pair.merchant().create_invoice(Some(price), "one thing", Duration::from_mins(10)).unwrap();
        let stall = Stall::of_invoice(invoice, l402).await;
        Self { stall, pair, wallet, _relay: relay }
    }

    fn command(&self) -> Command {
        let mut command = self.stall.command();
        command.env("TITHE_PAY_NWC", self.wallet.connection());
        command
    }

    fn pay(&self) -> Output {
        self.command().output().unwrap()
    }

    async fn serves_whoever_has_paid(&self) {
        let served = ResponseTemplate::new(200).set_body_string("the thing");
        self.stall.answers_once("^L402 abc=:[0-9a-f]{64}$", served).await;
    }

    /// How many payments the customer's node has made.
    fn paid(&self) -> usize {
        self.pair.customer().outgoing_all().iter().filter(|payment| payment.succeeded().is_some()).count()
    }

    /// Starts to pay, and kills the process once that is so.
    async fn kill_when(&self, is_so: impl Fn() -> bool) {
        let mut child = self.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let waiting = async {
            while !is_so() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(SOON, waiting).await.unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The note of a payment that was begun. While it is written, its file has another name.
    fn note(&self) -> Option<PathBuf> {
        self.stall.kept_files().into_iter().find(|file| file.extension().is_some_and(|end| end == "begun"))
    }

    /// Changes what is noted of the payment that was begun.
    fn edit_note(&self, edit: impl Fn(&mut serde_json::Value)) {
        let file = self.note().unwrap();
        let mut note = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        edit(&mut note);
        std::fs::write(file, note.to_string()).unwrap();
    }
}

/// An invoice that has expired ten minutes ago.
async fn expired() -> Bolt11 {
    let past = SystemClock.now() - Duration::from_mins(20);
    simulated_invoice(&tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(past))).await.1
}

fn says(output: &Output, text: &str) -> bool {
    String::from_utf8_lossy(&output.stderr).contains(text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_paid_for_once() {
    let market = Market::open().await;
    market.serves_whoever_has_paid().await;
    let served = market.pay();
    assert!(served.status.success(), "{served:?}");
    assert_eq!((served.stdout.as_slice(), market.paid()), (&b"the thing"[..], 1));
    assert_eq!(market.stall.kept_files().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_succeeded_when_the_process_was_killed_is_looked_up() {
    let market = Market::open().await;
    market.serves_whoever_has_paid().await;
    market.wallet.faults().set("pay_invoice", NwcFault::ResponseSwallowed);
    market.kill_when(|| market.paid() == 1).await;
    let served = market.pay();
    assert!(served.status.success() && says(&served, "begun before"), "{served:?}");
    assert_eq!((served.stdout.as_slice(), market.paid()), (&b"the thing"[..], 1));
    assert_eq!(market.stall.kept_files().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_was_in_flight_when_the_process_was_killed_is_awaited() {
    let market = Market::open().await;
    market.serves_whoever_has_paid().await;
    let merchant = market.pair.merchant();
    merchant.hold();
    market.kill_when(|| market.pair.customer().outgoing_all().len() == 1).await;
    merchant.held(market.stall.hash()).await.unwrap();
    let mut child = market.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    errors.read_line(&mut first).unwrap();
    assert!(first.contains("begun before"), "{first}");
    merchant.release();
    let served = child.wait_with_output().unwrap();
    assert!(served.status.success(), "{served:?}");
    assert_eq!((served.stdout.as_slice(), market.paid()), (&b"the thing"[..], 1));
    assert_eq!(market.stall.kept_files().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_failed_after_the_process_was_killed_is_made_anew() {
    let market = Market::open().await;
    market.serves_whoever_has_paid().await;
    let (merchant, customer) = (market.pair.merchant(), market.pair.customer());
    merchant.hold();
    market.kill_when(|| customer.outgoing_all().len() == 1).await;
    merchant.held(market.stall.hash()).await.unwrap();
    merchant.reject_held();
    customer.paid(customer.outgoing_all()[0].id).await.unwrap();
    assert_eq!(market.paid(), 0);
    let served = market.pay();
    assert!(served.status.success() && says(&served, "was not paid"), "{served:?}");
    assert_eq!((served.stdout.as_slice(), market.paid()), (&b"the thing"[..], 1));
    assert_eq!(market.stall.kept_files().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_the_wallet_has_no_record_of_is_made_anew_once_it_can_be_made_no_more() {
    let market = Market::open().await;
    market.serves_whoever_has_paid().await;
    market.wallet.faults().set("pay_invoice", NwcFault::RequestIgnored);
    market.kill_when(|| market.note().is_some()).await;
    market.wallet.faults().clear();
    // The invoice can still be paid.
    let unknown = market.pay();
    assert_eq!((unknown.status.code(), market.note().is_some()), (Some(1), true), "{unknown:?}");
    assert!(says(&unknown, "certain from"), "{unknown:?}");
    let expired = expired().await;
    market.edit_note(|note| note["offer"]["invoice"] = expired.as_str().into());
    let payer = std::cell::RefCell::new(serde_json::Value::Null);
    // Another wallet may have paid it.
    market.edit_note(|note| {
        payer.replace(std::mem::replace(&mut note["payer"], "nwc:another".into()));
    });
    let unknown = market.pay();
    assert_eq!((unknown.status.code(), market.note().is_some()), (Some(1), true), "{unknown:?}");
    assert!(says(&unknown, "begun with another one"), "{unknown:?}");
    market.edit_note(|note| note["payer"] = payer.borrow().clone());
    let served = market.pay();
    assert!(served.status.success() && says(&served, "was not paid"), "{served:?}");
    assert_eq!((served.stdout.as_slice(), market.paid()), (&b"the thing"[..], 1));
    assert_eq!(market.note(), None);
}
