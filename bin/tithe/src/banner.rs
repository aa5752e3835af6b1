//! What the server says first.

use crate::config::{Backend, Config, LogFormat, PriceSource, Provisioning};
use crate::log::Line;
use crate::url::without_secrets;
use tithe_engine::pool::PoolStatus;
use tithe_free_tier::Budgets;
use tithe_trust::NostrPubkey;
use tracing::Level;

/// The address that customers' commands use by default.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8402";

/// What the server prints first: what is simulated, where the data is, what to try; with a log in JSON, the same as one line of it.
pub(crate) fn banner(
    config: &Config,
    address: &str,
    pool: &PoolStatus,
    signer: Option<NostrPubkey>,
) -> String {
    let mut facts = facts(config, pool);
    facts.extend(signer.map(|signer| fact("receipts", "receipts", format!("signed by {}", signer.npub()))));
    match config.log.format {
        LogFormat::Pretty => text(config, address, &facts),
        LogFormat::Json => {
            let line = Line::new(Level::INFO, "tithe", "listening");
            let line = line.with("version", env!("CARGO_PKG_VERSION")).with("address", address);
            facts.into_iter().fold(line, |line, Fact { field, text, .. }| line.with(field, text)).to_string()
        }
    }
}

/// What an operator should see: as a line for people, and as a field.
struct Fact {
    label: &'static str,
    field: &'static str,
    text: String,
}

const fn fact(label: &'static str, field: &'static str, text: String) -> Fact {
    Fact { label, field, text }
}

fn facts(config: &Config, pool: &PoolStatus) -> Vec<Fact> {
    let is_paid =
        config.server.dev && (config.wallet.connection.is_none() || config.wallet.dev_payer.is_some());
    let paid_by = if is_paid { ", paid by POST /dev/stub/pay" } else { "" };
    let network = config.wallet.network;
    let wallet = match &config.wallet.connection {
        None => format!("SIMULATED: no money moves; invoices are real BOLT11 on {network}{paid_by}"),
        Some(connection) => format!("{} on {network}{paid_by}", connection.name()),
    };
    let mut facts = vec![fact("wallet", "wallet", wallet)];
    let engine = &config.engine;
    let inference = match &config.inference.connection.backend {
        Backend::Simulated { .. } => "SIMULATED: results are made up, token counts are real".to_owned(),
        Backend::OpenAi { url } | Backend::Anthropic { url } => {
            let shown = without_secrets(url).unwrap_or_else(|| url.clone());
            format!("{} and {} at {shown}", engine.eval_model, engine.work_model)
        }
    };
    facts.push(fact("inference", "inference", inference));
    if let Some(hardware) = &config.hardware {
        let text = match &hardware.connection.backend {
            Backend::Simulated { .. } => format!("SIMULATED: {}", hardware.model),
            Backend::OpenAi { url } | Backend::Anthropic { url } => {
                let shown = without_secrets(url).unwrap_or_else(|| url.clone());
                format!("{} at {shown}", hardware.model)
            }
        };
        facts.push(fact("hardware", "hardware", text));
    }
    let price = match config.prices.btc {
        PriceSource::Simulated(price) => format!("SIMULATED: {price}"),
        PriceSource::Fixed(price) => format!("fixed: {price}"),
        PriceSource::Live => "live, from public sources".to_owned(),
    };
    facts.push(fact("BTC price", "btc_price", price));
    let nodes = match &config.bootstrap.provisioning {
        Provisioning::None => "none are sold".to_owned(),
        Provisioning::Simulated => "SIMULATED: none are made".to_owned(),
        Provisioning::Command { program, .. } => format!("made by {}", program.display()),
        Provisioning::DigitalOcean { .. } => "made at DigitalOcean".to_owned(),
    };
    facts.push(fact("nodes", "nodes", nodes));
    let Budgets { new, established, trusted, elite } = pool.budgets;
    let pool = format!(
        "{}; new {}, established {}, trusted {}, elite {} a day",
        pool.balance.to_sats_rounding_down(),
        new.get(),
        established.get(),
        trusted.get(),
        elite
    );
    facts.push(fact("pool", "pool", pool));
    let url = config.storage.database();
    if !url.starts_with("sqlite://") {
        facts.push(fact("database", "database", without_secrets(&url).unwrap_or(url)));
    }
    let folder =
        std::path::absolute(&config.storage.data_dir).unwrap_or_else(|_| config.storage.data_dir.clone());
    facts.push(fact("data", "data_dir", folder.display().to_string()));
    facts
}

fn text(config: &Config, address: &str, facts: &[Fact]) -> String {
    let lines: Vec<String> =
        facts.iter().map(|Fact { label, text, .. }| format!("{label:<10} {text}")).collect();
    let try_it = if config.server.dev {
        let server =
            if address == DEFAULT_ADDRESS { String::new() } else { format!("--server http://{address} ") };
        format!(
            "  try        cargo run -- ask {server}--dev-pay 'Why is the sky blue?'   (or the README's curl commands)"
        )
    } else {
        "  try        start with TITHE_DEV=1 to pay invoices without a Lightning wallet".to_owned()
    };
    format!(
        "Tithe {} is listening on http://{address}\n  {}\n  docs       http://{address}/docs\n{try_it}",
        env!("CARGO_PKG_VERSION"),
        lines.join("\n  "),
    )
}
