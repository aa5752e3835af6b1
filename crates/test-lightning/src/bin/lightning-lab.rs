//! Runs real Lightning nodes for another process: `lightning-lab [--lnbits] [--nwc] [--fee]`.
//!
//! Starts a merchant and a customer with a channel between them, each behind the HTTP API of phoenixd, and prints one line of JSON when
//! everything is ready. It runs until its standard input is closed, or until SIGTERM or SIGINT.
//!
//! - `--lnbits` also starts an LNbits over the merchant.
//! - `--nwc` also starts a Nostr relay, and a wallet service of Nostr Wallet Connect over each node.
//! - `--fee` puts a router between the two, which charges 4 sat and 0.4 %.

use std::env;
use std::io::{Write, stdout};
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use tithe_test_lightning::{
    LightningLine, LightningNode, LightningPair, LnbitsServer, NostrRelay, NwcService, PhoenixdApi,
    RoutingFee,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

type Failed = Box<dyn std::error::Error>;

const USAGE: &str = "usage: lightning-lab [--lnbits] [--nwc] [--fee]";

#[derive(Clone, Copy, Default)]
struct Wanted {
    lnbits: bool,
    nwc: bool,
    fee: bool,
}

impl Wanted {
    fn read(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut wanted = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--lnbits" => wanted.lnbits = true,
                "--nwc" => wanted.nwc = true,
                "--fee" => wanted.fee = true,
                _ => return None,
            }
        }
        Some(wanted)
    }
}

/// The nodes, which run as long as this is not dropped.
enum Network {
    Pair(LightningPair),
    Line(LightningLine),
}

impl Network {
    fn merchant(&self) -> &LightningNode {
        match self {
            Self::Pair(pair) => pair.merchant(),
            Self::Line(line) => line.merchant(),
        }
    }

    fn customer(&self) -> &LightningNode {
        match self {
            Self::Pair(pair) => pair.customer(),
            Self::Line(line) => line.customer(),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(wanted) = Wanted::read(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(wanted).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lightning-lab: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(wanted: Wanted) -> Result<(), Failed> {
    let network = if wanted.fee {
        Network::Line(LightningLine::start(RoutingFee::TRAMPOLINE).await?)
    } else {
        Network::Pair(LightningPair::start().await?)
    };
    let merchant = PhoenixdApi::start(network.merchant()).await?;
    let customer = PhoenixdApi::start(network.customer()).await?;
    let mut ready = Map::new();
    ready.insert("merchant".to_owned(), describe(network.merchant(), &merchant));
    ready.insert("customer".to_owned(), describe(network.customer(), &customer));

    let nwc = if wanted.nwc { Some(Nwc::start(&network).await?) } else { None };
    if let Some(nwc) = &nwc {
        ready.insert("nwc".to_owned(), nwc.describe());
    }
    let lnbits = if wanted.lnbits { Some(LnbitsServer::start(&merchant).await?) } else { None };
    if let Some(lnbits) = &lnbits {
        let wallet = lnbits.wallet();
        let (admin, invoice) = (&wallet.admin_key, &wallet.invoice_key);
        let described = json!({ "url": lnbits.url(), "admin_key": admin, "invoice_key": invoice });
        ready.insert("lnbits".to_owned(), described);
    }
    writeln!(stdout(), "{}", Value::Object(ready))?;
    stdout().flush()?;
    until_stopped().await?;
    Ok(())
}

fn describe(node: &LightningNode, api: &PhoenixdApi) -> Value {
    json!({
        "node_id": node.id().to_string(),
        "url": api.url(),
        "password": api.password(),
        "limited_password": api.limited_password(),
        "balance_msat": node.balance().get(),
    })
}

struct Nwc {
    relay: NostrRelay,
    merchant: NwcService,
    customer: NwcService,
}

impl Nwc {
    async fn start(network: &Network) -> Result<Self, Failed> {
        let relay = NostrRelay::start().await?;
        let merchant = NwcService::start(network.merchant(), &[relay.url()]).await?;
        let customer = NwcService::start(network.customer(), &[relay.url()]).await?;
        Ok(Self { relay, merchant, customer })
    }

    fn describe(&self) -> Value {
        json!({
            "relay": self.relay.url(),
            "merchant": self.merchant.connection(),
            "customer": self.customer.connection(),
        })
    }
}

/// Returns at the end of the input, or at a signal.
async fn until_stopped() -> Result<(), Failed> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (close, closed) = oneshot::channel();
    // A thread that nobody waits for: a signal may come while it reads.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        close.send(())
    });
    tokio::select! {
        _ = closed => {},
        _ = terminate.recv() => {},
        _ = interrupt.recv() => {},
    }
    Ok(())
}
