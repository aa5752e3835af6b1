//! An engine for the operator's commands: on the same database and the same wallet as the servers, without background tasks.

use crate::adapters::catalogue;
use crate::config::Config;
use crate::failure::{Failure, doing};
use crate::routes;
use crate::secret;
use crate::wallets::{addresses, wallets};
use std::sync::Arc;
use tithe_bootstrap::NoProvisioner;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_engine::inference::Inference;
use tithe_engine::sessions::NoWebhooks;
use tithe_engine::store::Store;
use tithe_engine::{Engine, Ports};
use tithe_inference::{SimInference, SimSettings};
use tithe_money::BtcPrice;
use tithe_price_feed::FixedPrice;

/// An engine on the servers' database and wallet. It sells nothing and runs no model.
pub(crate) async fn operator_engine(config: &Config, store: Arc<dyn Store>) -> Result<Engine, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let price = BtcPrice::parse("100000").map_err(doing("cannot use a price"))?;
    let inference: Arc<dyn Inference> = Arc::new(SimInference::new(SimSettings::default()));
    let catalogue = catalogue(config.inference.models.as_deref())?;
    let ports = Ports {
        store,
        wallet: wallets(config, &clock, &entropy).await?.wallet,
        addresses: addresses(config)?,
        webhooks: Arc::new(NoWebhooks),
        provisioner: Arc::new(NoProvisioner),
        routes: routes::over(config, &inference, &catalogue)?,
        inference,
        hardware: None,
        prices: Arc::new(FixedPrice::new(price, clock.clone())),
        catalogue: Arc::new(catalogue),
        clock,
        entropy: entropy.clone(),
    };
    let data_dir = &config.storage.data_dir;
    let secrets = secret::secrets(config.storage.token_secret.as_deref(), data_dir, entropy.as_ref());
    let secrets = secrets.map_err(doing("cannot read or create the token secret"))?;
    Ok(Engine::new(ports, config.engine.clone(), &secrets)?)
}
