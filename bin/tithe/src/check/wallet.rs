//! Whether the wallet answers, is on the expected network, and may pay.

use super::probe::Probe;
use crate::chain;
use crate::config::{Config, Connection};
use crate::wallets::connected;
use std::sync::Arc;
use tithe_clock::{Clock, SystemClock};
use tithe_wallet_lnbits::{LnbitsSettings, LnbitsWallet};

const SUBJECT: &str = "wallet";

pub(super) fn probe(config: &Config) -> (&'static str, impl Future<Output = Vec<Probe>>) {
    (SUBJECT, async move { vec![wallet(config).await] })
}

async fn wallet(config: &Config) -> Probe {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (connection, network) = match &config.wallet.connection {
        None => return Probe::ok(SUBJECT, "simulated: no money moves"),
        Some(connection) => (connection, config.wallet.network),
    };
    let settings = match connection {
        Connection::Lnbits(_) => "LNBITS_URL, LNBITS_API_KEY and TITHE_NETWORK",
        Connection::Nwc(_) => "TITHE_NWC_URL and TITHE_NETWORK",
        Connection::Phoenixd(_) => "TITHE_PHOENIXD_URL, TITHE_PHOENIXD_PASSWORD and TITHE_NETWORK",
    };
    let wallet = match connected(connection, &clock) {
        Ok(wallet) => wallet,
        Err(wrong) => return Probe::failed(SUBJECT, format!("{}; check {settings}", chain(wrong.as_ref()))),
    };
    let balance = match wallet.balance().await {
        Ok(balance) => balance.to_sats_rounding_down(),
        Err(wrong) => return Probe::failed(SUBJECT, format!("{}; check {settings}", chain(&wrong))),
    };
    if let Connection::Lnbits(lnbits) = connection
        && let Err(problem) = check_lnbits(lnbits, &clock).await
    {
        return Probe::failed(SUBJECT, problem);
    }
    Probe::ok(SUBJECT, format!("{} on {network} answers, and holds {balance}", connection.name()))
}

/// LNbits answers with any key, on any network: what the key may do, and where it is, shows otherwise.
async fn check_lnbits(settings: &LnbitsSettings, clock: &Arc<dyn Clock>) -> Result<(), String> {
    let wallet = LnbitsWallet::new(settings, clock.clone()).map_err(|wrong| chain(&wrong))?;
    let failed = |wrong| format!("{}; check LNBITS_URL and LNBITS_API_KEY", chain(&wrong));
    if !wallet.may_pay().await.map_err(failed)? {
        return Err("invalid LNBITS_API_KEY: expected the wallet's admin key, got its invoice key, which cannot pay refunds"
            .to_owned());
    }
    // A wallet that has no invoice yet does not show its network.
    match wallet.network_seen().await.map_err(failed)? {
        Some(found) if found != settings.network => Err(format!(
            "invalid TITHE_NETWORK: expected the network of the wallet's invoices, which is {found}, got {}",
            settings.network
        )),
        _ => Ok(()),
    }
}
