//! What the server says first.

use crate::config::{Backend, Config, PriceSource, Provisioning};
use crate::url::without_secrets;
use tithe_engine::pool::PoolStatus;
use tithe_free_tier::Budgets;

/// The address that customers' commands use by default.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8402";

/// The first lines that the server prints: what is simulated, where the data is, what to try.
pub(crate) fn banner(config: &Config, address: &str, pool: &PoolStatus) -> String {
    let is_paid =
        config.server.dev && (config.wallet.connection.is_none() || config.wallet.dev_payer.is_some());
    let paid_by = if is_paid { ", paid by POST /dev/stub/pay" } else { "" };
    let network = config.wallet.network;
    let mut lines = vec![match &config.wallet.connection {
        None => {
            format!("wallet     SIMULATED: no money moves; invoices are real BOLT11 on {network}{paid_by}")
        }
        Some(connection) => format!("wallet     {} on {network}{paid_by}", connection.name()),
    }];
    let engine = &config.engine;
    match &config.inference.connection.backend {
        Backend::Simulated { .. } => {
            lines.push("inference  SIMULATED: results are made up, token counts are real".to_owned());
        }
        Backend::OpenAi { url } | Backend::Anthropic { url } => {
            let shown = without_secrets(url).unwrap_or_else(|| url.clone());
            lines.push(format!("inference  {} and {} at {shown}", engine.eval_model, engine.work_model));
        }
    }
    if let Some(hardware) = &config.hardware {
        lines.push(match &hardware.connection.backend {
            Backend::Simulated { .. } => format!("hardware   SIMULATED: {}", hardware.model),
            Backend::OpenAi { url } | Backend::Anthropic { url } => {
                let shown = without_secrets(url).unwrap_or_else(|| url.clone());
                format!("hardware   {} at {shown}", hardware.model)
            }
        });
    }
    lines.push(match config.prices.btc {
        PriceSource::Simulated(price) => format!("BTC price  SIMULATED: {price}"),
        PriceSource::Fixed(price) => format!("BTC price  fixed: {price}"),
        PriceSource::Live => "BTC price  live, from public sources".to_owned(),
    });
    lines.push(match &config.bootstrap.provisioning {
        Provisioning::None => "nodes      none are sold".to_owned(),
        Provisioning::Simulated => "nodes      SIMULATED: none are made".to_owned(),
        Provisioning::Command { program, .. } => format!("nodes      made by {}", program.display()),
        Provisioning::DigitalOcean { .. } => "nodes      made at DigitalOcean".to_owned(),
    });
    let Budgets { new, established, trusted, elite } = pool.budgets;
    lines.push(format!(
        "pool       {}; new {}, established {}, trusted {}, elite {} a day",
        pool.balance.to_sats_rounding_down(),
        new.get(),
        established.get(),
        trusted.get(),
        elite
    ));
    let url = config.storage.database();
    if !url.starts_with("sqlite://") {
        lines.push(format!("database   {}", without_secrets(&url).unwrap_or(url)));
    }
    let folder =
        std::path::absolute(&config.storage.data_dir).unwrap_or_else(|_| config.storage.data_dir.clone());
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
        "Tithe {} is listening on http://{address}\n  {}\n  data       {}\n  docs       http://{address}/docs\n{try_it}\n",
        env!("CARGO_PKG_VERSION"),
        lines.join("\n  "),
        folder.display(),
    )
}
