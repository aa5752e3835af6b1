//! `DigitalOcean`, by the documentation of its API, version 2 (<https://docs.digitalocean.com/reference/api/>).

mod client;
mod cloud_config;
mod retry_after;
mod settings;
mod wire;

pub use settings::{
    ApiToken, ApiTokenError, DigitalOceanError, DigitalOceanSettings, DropletPlan, SetupScript,
    SetupScriptError,
};

use crate::credentials;
use client::{Api, ApiError};
use std::collections::BTreeMap;
use tithe_bootstrap::{
    BootstrapId, CreateError, Destroyed, LookupError, Node, Order, Progress, Provisioner, RootPassword,
};
use wire::{Droplet, NewDroplet};

/// The tag of every droplet of ours.
const TAG: &str = "tithe";

/// The provisioner that makes virtual machines ("droplets") at `DigitalOcean`.
///
/// A droplet carries the tag `tithe-<order id>`, by which it is found and destroyed, and the tag `tithe`, by which the operator can
/// list all of them. The API has no idempotency keys and names need not be unique, so a call to create first looks for the tag.
///
/// The customer opens the droplet as `root`, with the SSH key of the order (logins by password are then turned off) or with its
/// password, which must be changed at the first login. The operator's set-up script, if there is one, runs once, as `root`.
///
/// A droplet counts as ready when it is active and has a public IPv4 address. That is some seconds before cloud-init has set the
/// password or the key, and before a set-up script has ended.
#[derive(Debug)]
pub struct DigitalOcean {
    api: Api,
    plans: BTreeMap<String, DropletPlan>,
    setup_script: Option<SetupScript>,
}

impl DigitalOcean {
    /// A provisioner. Sends no requests before it is used.
    ///
    /// # Errors
    /// [`DigitalOceanError`] if the base URL is not usable or the HTTP client cannot be created.
    pub fn new(settings: DigitalOceanSettings) -> Result<Self, DigitalOceanError> {
        let DigitalOceanSettings { token, base_url, plans, setup_script, request_timeout } = settings;
        Ok(Self { api: Api::new(token, base_url, request_timeout)?, plans, setup_script })
    }

    fn new_droplet(&self, order: &Order, plan: &DropletPlan) -> NewDroplet {
        let name = name(order.id);
        NewDroplet {
            region: plan.region.clone(),
            size: plan.size.clone(),
            image: plan.image.as_str().into(),
            tags: vec![TAG.to_owned(), name.clone()],
            name,
            ipv6: true,
            monitoring: true,
            user_data: cloud_config::of(order, self.setup_script.as_ref()),
        }
    }

    /// The droplet of an order. If there are several, which only a defect or a person can have made, it is the oldest.
    async fn droplet(&self, order: &Order) -> Result<Option<Droplet>, ApiError> {
        let mut droplets = self.api.droplets(&name(order.id)).await?;
        droplets.sort_by(|one, other| (&one.created_at, one.id).cmp(&(&other.created_at, other.id)));
        if droplets.len() > 1 {
            let ids: Vec<u64> = droplets.iter().map(|droplet| droplet.id).collect();
            tracing::error!(bootstrap_id = %order.id, droplets = ?ids, "several droplets exist for one order; using the oldest");
        }
        Ok(droplets.into_iter().next())
    }

    fn reason(&self, error: &ApiError, order: &Order) -> String {
        let password = order.root_password.as_ref().map(RootPassword::reveal);
        error.reason(&[self.api.token().reveal(), password.unwrap_or_default()])
    }

    fn lookup_error(&self, error: &ApiError, order: &Order) -> LookupError {
        LookupError { reason: self.reason(error, order) }
    }

    fn create_error(&self, error: &ApiError, order: &Order) -> CreateError {
        let reason = self.reason(error, order);
        match error {
            ApiError::Unreachable(_) => CreateError::Unavailable { reason, retry_after: None },
            ApiError::Status { status, retry_after, .. } => match status.as_u16() {
                429 => CreateError::Unavailable { reason, retry_after: *retry_after },
                // The request was cut off somewhere on its way, perhaps behind a proxy that got all of it.
                408 => CreateError::Unknown { reason },
                400..=499 => CreateError::Refused { reason },
                _ => CreateError::Unknown { reason },
            },
            ApiError::Broken(_) | ApiError::TooLarge | ApiError::Unreadable(_) => {
                CreateError::Unknown { reason }
            }
        }
    }
}

#[async_trait::async_trait]
impl Provisioner for DigitalOcean {
    fn name(&self) -> &'static str {
        "digitalocean"
    }

    /// Whether the API accepts the token: it must be able to list droplets.
    async fn check(&self) -> Result<(), LookupError> {
        let listed = self.api.droplets(TAG).await;
        let reason = |error: ApiError| error.reason(&[self.api.token().reveal()]);
        listed.map(drop).map_err(|error| LookupError { reason: reason(error) })
    }

    async fn create(&self, order: &Order) -> Result<Progress, CreateError> {
        if credentials::of_root(order).is_none() {
            return Err(CreateError::Refused { reason: credentials::MISSING.to_owned() });
        }
        let plan = self.plans.get(&order.plan).ok_or_else(|| CreateError::Refused {
            reason: format!("no droplet is configured for the plan {:?}", order.plan),
        })?;
        let existing = self.droplet(order).await.map_err(|error| {
            let retry_after = error.retry_after();
            CreateError::Unavailable { reason: self.reason(&error, order), retry_after }
        })?;
        let droplet = if let Some(droplet) = existing {
            droplet
        } else {
            let new = self.new_droplet(order, plan);
            self.api.create(&new).await.map_err(|error| self.create_error(&error, order))?
        };
        progress(&droplet, order).map_err(|reason| CreateError::Unknown { reason })
    }

    async fn find(&self, order: &Order) -> Result<Option<Progress>, LookupError> {
        let found = self.droplet(order).await.map_err(|error| self.lookup_error(&error, order))?;
        let progress = found.map(|droplet| progress(&droplet, order)).transpose();
        progress.map_err(|reason| LookupError { reason })
    }

    async fn destroy(&self, order: &Order) -> Result<Destroyed, LookupError> {
        let lookup_error = |error| self.lookup_error(&error, order);
        // Deleting by a tag succeeds as well if there are no droplets.
        if self.droplet(order).await.map_err(lookup_error)?.is_none() {
            return Ok(Destroyed::NotFound);
        }
        self.api.delete(&name(order.id)).await.map_err(lookup_error)
    }
}

/// The name of an order's droplet, and its tag.
fn name(id: BootstrapId) -> String {
    format!("{TAG}-{id}")
}

/// How far a droplet is. Its statuses are `new`, `active`, `off` and `archive`.
fn progress(droplet: &Droplet, order: &Order) -> Result<Progress, String> {
    match (droplet.status.as_str(), droplet.public_address()) {
        ("active", Some(address)) => {
            let credentials = credentials::of_root(order).ok_or(credentials::MISSING)?;
            let node = Node { host: address.to_owned(), credentials }.check();
            node.map(Progress::Ready).map_err(|error| format!("droplet {}: {error}", droplet.id))
        }
        (status @ ("off" | "archive"), _) => {
            Ok(Progress::Failed { reason: format!("droplet {} has the status {status}", droplet.id) })
        }
        _ => Ok(Progress::Pending),
    }
}
