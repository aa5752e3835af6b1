//! Paying by Nostr Wallet Connect (NIP-47).

use super::wallet_payer::WalletPayer;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::SystemClock;
use tithe_lightning::Wallet;
use tithe_wallet_nwc::{ConnectionError, FeeLimit, NwcConnection, NwcSettings, NwcWallet};

/// A payer with the wallet of a connection string.
///
/// NIP-47 has no fee limit, so the wallet itself must keep its routing fees within what the budget allows for: 1 % or 10 sats, as Alby
/// Hub does.
pub(super) fn payer(connection: &str, patience: Duration) -> Result<WalletPayer, ConnectionError> {
    let connection: NwcConnection = connection.parse()?;
    let open = move |network| {
        let mut settings = NwcSettings::new(connection.clone(), network);
        settings.fee_limit = FeeLimit::ALBY_HUB;
        let wallet: Box<dyn Wallet> = Box::new(NwcWallet::new(settings, Arc::new(SystemClock)));
        wallet
    };
    Ok(WalletPayer::new("nwc", Box::new(open), patience))
}
