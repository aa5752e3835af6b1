//! Nodes that are sold, and what makes them.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;
use std::path::PathBuf;
use std::time::Duration;
use tithe_engine::bootstraps::BootstrapPlan;
use tithe_money::Sats;
use tithe_provisioner::{ApiToken, DropletPlan};

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "TITHE_PROVISIONER",
        "provisioner",
        "sim",
        "What makes the nodes that are sold: none, sim (makes none, for play money), command, or digitalocean",
    )
    .same(),
    Setting::new(
        "TITHE_BOOTSTRAP_PLANS",
        "bootstrap_plans",
        "",
        "The nodes that are sold, as plan=sats, separated by commas; the first is the default (with sim: small=50000)",
    )
    .same(),
    Setting::new(
        "TITHE_BOOTSTRAP_SECONDS",
        "bootstrap_seconds",
        "1800",
        "How long after its payment a node must be ready, in seconds; after that the customer is refunded and the node destroyed",
    )
    .same(),
    Setting::new(
        "TITHE_PROVISIONER_COMMAND",
        "provisioner_command",
        "",
        "The program that makes nodes, with its arguments, separated by spaces. It gets the variables TITHE_PROVISION_*",
    ),
    Setting::new(
        "TITHE_PROVISIONER_TIMEOUT_SECONDS",
        "provisioner_timeout_seconds",
        "120",
        "How long one call of that program may take, in seconds",
    ),
    Setting::secret(
        "TITHE_DIGITALOCEAN_TOKEN",
        "digitalocean_token",
        "The access token of DigitalOcean's API",
    ),
    Setting::new(
        "TITHE_DIGITALOCEAN_SIZES",
        "digitalocean_sizes",
        "",
        "The size of the droplet of each plan, as plan=size, separated by commas, such as small=s-1vcpu-1gb",
    ),
    Setting::new("TITHE_DIGITALOCEAN_REGION", "digitalocean_region", "fra1", "The region of the droplets"),
    Setting::new(
        "TITHE_DIGITALOCEAN_IMAGE",
        "digitalocean_image",
        "debian-13-x64",
        "The image of the droplets",
    ),
    Setting::new(
        "TITHE_DIGITALOCEAN_SETUP",
        "digitalocean_setup",
        "",
        "A file with a script that every droplet runs on its first boot",
    ),
    Setting::new(
        "TITHE_DIGITALOCEAN_URL",
        "digitalocean_url",
        "https://api.digitalocean.com",
        "The address of DigitalOcean's API",
    ),
];

/// The plan that the simulated provisioner sells.
const SIMULATED_PLANS: &str = "small=50000";

/// The longest name of a plan, in characters.
const NAME_CHARS_MAX: usize = 64;

/// What makes nodes.
pub(crate) enum Provisioning {
    None,
    Simulated,
    Command { program: PathBuf, arguments: Vec<String>, time_limit: Duration },
    DigitalOcean { token: ApiToken, plans: Vec<(String, DropletPlan)>, setup: Option<PathBuf>, url: String },
}

/// Nodes that are sold.
pub(crate) struct Bootstrap {
    pub(crate) provisioning: Provisioning,
    pub(super) plans: Vec<BootstrapPlan>,
    pub(super) timeout: Duration,
}

impl Bootstrap {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        let name = values.one_of("TITHE_PROVISIONER", &["none", "sim", "command", "digitalocean"])?;
        let default = if name == "sim" { SIMULATED_PLANS } else { "" };
        let plans = values.parse("TITHE_BOOTSTRAP_PLANS", |text| {
            let plans = pairs(if text.is_empty() { default } else { text })?;
            plans.into_iter().map(plan).collect::<Result<Vec<_>, String>>()
        })?;
        if plans.is_empty() != (name == "none") {
            let problem = if name == "none" {
                "TITHE_BOOTSTRAP_PLANS is set, but TITHE_PROVISIONER=none makes no nodes".to_owned()
            } else {
                format!("missing TITHE_BOOTSTRAP_PLANS: it is required with TITHE_PROVISIONER={name}")
            };
            return Err(ConfigError::Together(problem));
        }
        let provisioning = match name {
            "command" => command(values)?,
            "digitalocean" => digital_ocean(values, &plans)?,
            "sim" => Provisioning::Simulated,
            _ => Provisioning::None,
        };
        Ok(Self { provisioning, plans, timeout: values.seconds("TITHE_BOOTSTRAP_SECONDS")? })
    }
}

/// Splits `a=b,c=d`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let mut pairs: Vec<(String, String)> = Vec::new();
    for item in items {
        let (name, value) = item.split_once('=').ok_or("expected name=value, separated by commas")?;
        let (name, value) = (name.trim(), value.trim());
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || !name.chars().all(is_name) {
            return Err("expected names of letters, digits, '-', '_' and '.'".to_owned());
        }
        if pairs.iter().any(|(other, _)| other == name) {
            return Err(format!("{name} occurs twice"));
        }
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

fn plan((name, price): (String, String)) -> Result<BootstrapPlan, String> {
    let sats = price.parse().ok().and_then(|sats| Sats::new(sats).ok()).filter(|sats| !sats.is_zero());
    let price = sats.ok_or_else(|| format!("expected a price of {name} in whole sats"))?;
    Ok(BootstrapPlan { name, price })
}

fn command(values: &Values) -> Result<Provisioning, ConfigError> {
    let text = values.required("TITHE_PROVISIONER_COMMAND", "TITHE_PROVISIONER=command")?;
    let mut words = text.split_whitespace().map(str::to_owned);
    let program = words.next().unwrap_or_default().into();
    let time_limit = values.seconds("TITHE_PROVISIONER_TIMEOUT_SECONDS")?;
    Ok(Provisioning::Command { program, arguments: words.collect(), time_limit })
}

fn digital_ocean(values: &Values, plans: &[BootstrapPlan]) -> Result<Provisioning, ConfigError> {
    let with = "TITHE_PROVISIONER=digitalocean";
    let token = values.required("TITHE_DIGITALOCEAN_TOKEN", with)?;
    let token = token
        .parse()
        .map_err(|wrong| ConfigError::Together(format!("invalid TITHE_DIGITALOCEAN_TOKEN: {wrong}")))?;
    let sizes = values.parse("TITHE_DIGITALOCEAN_SIZES", pairs)?;
    let (image, region) = (
        values.required("TITHE_DIGITALOCEAN_IMAGE", with)?,
        values.required("TITHE_DIGITALOCEAN_REGION", with)?,
    );
    for (name, _) in &sizes {
        if !plans.iter().any(|plan| plan.name == *name) {
            let problem =
                format!("TITHE_DIGITALOCEAN_SIZES names {name:?}, which TITHE_BOOTSTRAP_PLANS does not sell");
            return Err(ConfigError::Together(problem));
        }
    }
    let droplet = |plan: &BootstrapPlan| {
        let size = sizes.iter().find(|(name, _)| *name == plan.name).map(|(_, size)| size.clone());
        let size = size.filter(|size| !size.is_empty()).ok_or_else(|| {
            ConfigError::Together(format!(
                "TITHE_DIGITALOCEAN_SIZES has no size for the plan {:?}",
                plan.name
            ))
        })?;
        Ok((plan.name.clone(), DropletPlan { size, image: image.clone(), region: region.clone() }))
    };
    Ok(Provisioning::DigitalOcean {
        token,
        plans: plans.iter().map(droplet).collect::<Result<_, ConfigError>>()?,
        setup: values.optional("TITHE_DIGITALOCEAN_SETUP").map(PathBuf::from),
        url: values.required("TITHE_DIGITALOCEAN_URL", with)?,
    })
}
