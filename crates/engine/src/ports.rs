//! What the engine runs on.

use crate::inference::{Inference, Routes};
use crate::sessions::Webhooks;
use crate::store::Store;
use std::sync::Arc;
use tithe_bootstrap::Provisioner;
use tithe_clock::{Clock, Entropy};
use tithe_lightning::Wallet;
use tithe_payouts::AddressResolver;
use tithe_pricing::{Catalogue, PriceFeed};

/// The operator's own machine, which works on requests of installs once they have used up their share of the cloud.
#[derive(Clone)]
pub struct Hardware {
    /// The connection to it.
    pub inference: Arc<dyn Inference>,
    /// The model that it runs, by its name in the catalogue.
    pub model: String,
}

/// What the engine runs on.
#[derive(Clone)]
pub struct Ports {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The Lightning wallet.
    pub wallet: Arc<dyn Wallet>,
    /// What makes the nodes that are sold.
    pub provisioner: Arc<dyn Provisioner>,
    /// What gets invoices from customers' Lightning addresses.
    pub addresses: Arc<dyn AddressResolver>,
    /// What warns the owners of sessions.
    pub webhooks: Arc<dyn Webhooks>,
    /// The AI backend that models without a route run on.
    pub inference: Arc<dyn Inference>,
    /// Where the work on other models is done.
    pub routes: Routes,
    /// The operator's own machine, if there is one.
    pub hardware: Option<Hardware>,
    /// The price of bitcoin.
    pub prices: Arc<dyn PriceFeed>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The models and their prices.
    pub catalogue: Arc<Catalogue>,
}
