//! Building the Lightning wallets that the configuration names.

use crate::config::{Config, Connection};
use crate::failure::{Failure, doing};
use std::sync::Arc;
use tithe_clock::{Clock, Entropy};
use tithe_engine::payouts::NoAddresses;
use tithe_lightning::{Network, TestPayer, Wallet, WalletPayer};
use tithe_lnurl::{LnurlResolver, LnurlSettings};
use tithe_payouts::AddressResolver;
use tithe_wallet_lnbits::LnbitsWallet;
use tithe_wallet_nwc::NwcWallet;
use tithe_wallet_phoenixd::PhoenixdWallet;
use tithe_wallet_sim::{SimOptions, SimWallet};

/// The server's wallet, and what pays test invoices.
pub(crate) struct Wallets {
    pub(crate) wallet: Arc<dyn Wallet>,
    /// `None` unless the development routes exist.
    pub(crate) test_payer: Option<Arc<dyn TestPayer>>,
}

/// The wallets of the configuration. Nothing is sent yet.
pub(crate) async fn wallets(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Wallets, Failure> {
    let dev = config.server.dev;
    if dev && config.wallet.network == Network::Mainnet {
        return Err(
            "invalid TITHE_DEV: expected a wallet on a test network (TITHE_NETWORK), got one on mainnet"
                .into(),
        );
    }
    let Some(connection) = &config.wallet.connection else {
        let options = SimOptions { fault_rates: config.wallet.sim_faults, ..SimOptions::default() };
        let folder = config.storage.data_dir.join("wallet-sim");
        let opened = SimWallet::open_with(&folder, options, clock.clone(), entropy.clone()).await;
        let wallet = Arc::new(opened.map_err(doing("cannot open the simulated wallet"))?);
        let test_payer = dev.then(|| -> Arc<dyn TestPayer> { wallet.clone() });
        return Ok(Wallets { wallet, test_payer });
    };
    let payer = config.wallet.dev_payer.as_ref().filter(|_| dev);
    let payer = payer.map(|connection| connected(connection, clock)).transpose()?;
    let test_payer = payer.map(|wallet| -> Arc<dyn TestPayer> {
        Arc::new(WalletPayer::new(wallet, clock.clone(), entropy.clone()))
    });
    Ok(Wallets { wallet: connected(connection, clock)?, test_payer })
}

/// The wallet behind a connection. Nothing is sent yet.
pub(crate) fn connected(connection: &Connection, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Wallet>, Failure> {
    Ok(match connection {
        Connection::Lnbits(settings) => Arc::new(LnbitsWallet::new(settings, clock.clone())?),
        Connection::Nwc(settings) => Arc::new(NwcWallet::new(settings.clone(), clock.clone())),
        Connection::Phoenixd(settings) => Arc::new(PhoenixdWallet::new(settings, clock.clone())?),
    })
}

/// What gets invoices from customers' Lightning addresses.
pub(crate) fn addresses(config: &Config) -> Result<Arc<dyn AddressResolver>, Failure> {
    let Some(destinations) = config.wallet.addresses else { return Ok(Arc::new(NoAddresses)) };
    let settings = LnurlSettings { destinations, ..LnurlSettings::new(config.wallet.network) };
    Ok(Arc::new(LnurlResolver::new(settings)?))
}
