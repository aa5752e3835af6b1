//! The configuration as it is shown to the operator, and as it is compared with that of other servers.

use super::setting::{Across, Setting};
use super::values::{FROM_DEFAULT, FROM_ENVIRONMENT};
use super::{Backend, Config, Connection, GROUPS, MountConfig, PriceSource};
use crate::url::without_secrets;
use serde_json::{Value, json};
use std::fmt::Write as _;
use tithe_engine::servers::SharedSettings;

impl Config {
    /// The configuration in force, with the origin of each value, as a TOML file that would set it.
    pub(crate) fn describe(&self) -> String {
        let mut text =
            String::from("# The configuration in force. Each line can stand in a configuration file.\n");
        for setting in GROUPS.iter().copied().flatten() {
            let Setting { name, key, help, .. } = setting;
            let (value, origin) = self.values.get(name);
            let line = match self.shown(setting) {
                // Not a line that could be taken for a value.
                Shown::Hidden => format!("# {key} is set, and hidden"),
                Shown::Redacted(shown) => format!("# {key} = {shown:?}, with what is hidden here"),
                Shown::Plain => format!("{key} = {value:?}"),
            };
            let in_force =
                self.in_force(name).map(|value| format!("\n# in force: {value}")).unwrap_or_default();
            let _infallible = write!(text, "\n# {help}\n# {name}, from {origin}\n{line}{in_force}\n");
        }
        if !self.mounts.is_empty() {
            text.push_str("\n# The mounted routes.\n");
        }
        text.extend(self.mounts.iter().map(MountConfig::describe));
        text
    }

    /// The settings for programs.
    pub(crate) fn to_json(&self) -> Value {
        let settings = GROUPS.iter().copied().flatten().map(|setting| {
            let (value, origin) = self.values.get(setting.name);
            let source = match origin {
                FROM_DEFAULT => "default",
                FROM_ENVIRONMENT => "environment",
                _ => "file",
            };
            let shown = match self.shown(setting) {
                Shown::Hidden => None,
                Shown::Redacted(shown) => Some(shown),
                Shown::Plain => Some(value.to_owned()),
            };
            json!({
                "name": setting.name,
                "key": setting.key,
                "value": shown,
                "isHidden": shown.is_none(),
                "inForce": self.in_force(setting.name),
                "source": source,
                "file": (source == "file").then_some(origin),
                "default": setting.default,
                "unit": Some(setting.unit()).filter(|unit| !unit.is_empty()),
                "isShared": setting.across != Across::Own,
                "description": setting.help,
            })
        });
        Value::Array(settings.collect())
    }

    fn shown(&self, setting: &Setting) -> Shown {
        let value = self.values.get(setting.name).0;
        if setting.secret && !value.is_empty() {
            return Shown::Hidden;
        }
        without_secrets(value).map_or(Shown::Plain, Shown::Redacted)
    }

    /// What a setting means here, if that is not its value: what an empty one stands for, or what another setting makes of it.
    fn in_force(&self, name: &str) -> Option<String> {
        let engine = &self.engine;
        let of_connection = |backend: &Backend| match backend {
            Backend::Simulated { .. } => None,
            Backend::OpenAi { url } | Backend::Anthropic { url } => {
                Some(without_secrets(url).unwrap_or_else(|| url.clone()))
            }
        };
        let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(",");
        let effective = match name {
            "DATABASE_URL" => {
                let url = self.storage.database();
                without_secrets(&url).unwrap_or(url)
            }
            "TITHE_STOP_NOTICE_SECONDS" => self.server.notice.as_secs().to_string(),
            "TITHE_NETWORK" => self.wallet.network.to_string(),
            "TITHE_PAYOUT_FEE_BASE_SATS" => self.wallet.payout_fees.base.get().to_string(),
            "TITHE_INFERENCE_URL" => of_connection(&self.inference.connection.backend)?,
            "TITHE_EVAL_MODEL" => engine.eval_model.clone(),
            "TITHE_WORK_MODEL" => engine.work_model.clone(),
            "TITHE_OFFERED_MODELS" => list(&mut engine.offered_models.iter().cloned()),
            "TITHE_HARDWARE_MODEL" => self.hardware.as_ref()?.model.clone(),
            "TITHE_BTC_PRICE_USD" => match self.prices.btc {
                PriceSource::Live => "live".to_owned(),
                // What is configured, in whatever form, is in force.
                PriceSource::Fixed(_) => return None,
                PriceSource::Simulated(_) => "100000".to_owned(),
            },
            "TITHE_BOOTSTRAP_PLANS" => list(
                &mut engine.bootstrap_plans.iter().map(|plan| format!("{}={}", plan.name, plan.price.get())),
            ),
            _ => return None,
        };
        let value = self.values.text(name);
        (value != effective && without_secrets(value).as_deref() != Some(&effective)).then_some(effective)
    }

    /// What tells the wallet from others, with the setting that it is from. It is secret.
    pub(crate) fn wallet_identity(&self) -> Option<(&'static str, &str)> {
        Some(match self.wallet.connection.as_ref()? {
            Connection::Lnbits(_) => ("LNBITS_API_KEY", self.values.text("LNBITS_API_KEY")),
            Connection::Phoenixd(_) => {
                ("TITHE_PHOENIXD_PASSWORD", self.values.text("TITHE_PHOENIXD_PASSWORD"))
            }
            Connection::Nwc(_) => {
                // The wallet's public key: each server may have a connection of its own, over other relays.
                let connection = self.values.text("TITHE_NWC_URL");
                let wallet = connection.split_once('?').map_or(connection, |(wallet, _)| wallet);
                ("TITHE_NWC_URL", wallet.rsplit(['/', ':']).next().unwrap_or_default())
            }
        })
    }

    /// What all servers on one database must share and is no secret.
    pub(crate) fn shared(&self, shared: SharedSettings) -> SharedSettings {
        let settings = GROUPS.iter().copied().flatten().filter(|setting| !setting.secret);
        settings.fold(shared, |shared, setting| {
            let value =
                self.in_force(setting.name).unwrap_or_else(|| self.values.text(setting.name).to_owned());
            match setting.across {
                Across::Own => shared,
                Across::Same => shared.plain(setting.name, &value),
                Across::Essential => shared.essential(setting.name, &value),
            }
        })
    }
}

/// How a value is shown.
enum Shown {
    /// Not at all.
    Hidden,
    /// Without what is secret in it.
    Redacted(String),
    /// As it is.
    Plain,
}

/// All settings, as the table of the chapter on configuration.
pub(crate) fn table() -> String {
    let mut text = String::from(
        "| setting | in the file | default | unit | servers | meaning |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for setting in GROUPS.iter().copied().flatten() {
        let default = match setting.default {
            _ if setting.secret => "secret".to_owned(),
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let servers = match setting.across {
            Across::Own => "",
            Across::Same => "same",
            Across::Essential => "must be the same",
        };
        let (name, key, unit, help) =
            (setting.name, setting.key, setting.unit(), setting.help.replace('|', "\\|"));
        let _infallible = writeln!(text, "| `{name}` | `{key}` | {default} | {unit} | {servers} | {help} |");
    }
    text
}
