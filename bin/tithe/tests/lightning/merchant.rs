//! The wallets of the server under test.

use tithe_money::Msats;
use tithe_test_lightning::{LightningNode, LnbitsServer, NostrRelay, NwcService, PhoenixdApi};

/// A setting of a server: its name and its value.
pub(crate) type Setting = (&'static str, String);

/// What the server reaches the merchant's node through.
pub(crate) enum Wallet {
    /// The HTTP API of phoenixd.
    Phoenixd(PhoenixdApi),
    /// Nostr Wallet Connect.
    Nwc { relay: NostrRelay, service: NwcService },
    /// LNbits, on the HTTP API of phoenixd.
    Lnbits { api: PhoenixdApi, lnbits: LnbitsServer },
}

/// The merchant's node, and the wallet over it.
pub(crate) struct Merchant {
    pub(crate) node: LightningNode,
    pub(crate) wallet: Wallet,
}

impl Merchant {
    pub(crate) async fn phoenixd(node: &LightningNode) -> Self {
        let wallet = Wallet::Phoenixd(PhoenixdApi::start(node).await.unwrap());
        Self { node: node.clone(), wallet }
    }

    pub(crate) async fn nwc(node: &LightningNode) -> Self {
        let relay = NostrRelay::start().await.unwrap();
        let service = NwcService::start(node, &[relay.url()]).await.unwrap();
        Self { node: node.clone(), wallet: Wallet::Nwc { relay, service } }
    }

    /// phoenixd's API, if that is what the wallet is, or is on.
    pub(crate) fn api(&self) -> &PhoenixdApi {
        match &self.wallet {
            Wallet::Phoenixd(api) | Wallet::Lnbits { api, .. } => api,
            Wallet::Nwc { .. } => panic!("the wallet is not on phoenixd"),
        }
    }

    /// The settings of a server that has this wallet.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let mut settings = match &self.wallet {
            Wallet::Phoenixd(api) => vec![
                ("TITHE_WALLET", "phoenixd".to_owned()),
                ("TITHE_PHOENIXD_URL", api.url()),
                ("TITHE_PHOENIXD_PASSWORD", api.password().to_owned()),
            ],
            Wallet::Nwc { service, .. } => {
                vec![("TITHE_WALLET", "nwc".to_owned()), ("TITHE_NWC_URL", service.connection().to_owned())]
            }
            Wallet::Lnbits { lnbits, .. } => vec![
                ("TITHE_WALLET", "lnbits".to_owned()),
                ("LNBITS_URL", lnbits.url()),
                ("LNBITS_API_KEY", lnbits.wallet().admin_key.clone()),
            ],
        };
        settings.push(("TITHE_NETWORK", "regtest".to_owned()));
        settings
    }

    /// The settings of a server that pays test invoices from this wallet.
    pub(crate) fn payer_settings(&self) -> Vec<Setting> {
        let (kind, url, key) = match &self.wallet {
            Wallet::Phoenixd(api) => ("phoenixd", api.url(), api.password().to_owned()),
            Wallet::Nwc { service, .. } => ("nwc", String::new(), service.connection().to_owned()),
            Wallet::Lnbits { lnbits, .. } => ("lnbits", lnbits.url(), lnbits.wallet().admin_key.clone()),
        };
        vec![
            ("TITHE_DEV", "1".to_owned()),
            ("TITHE_DEV_PAYER", kind.to_owned()),
            ("TITHE_DEV_PAYER_URL", url),
            ("TITHE_DEV_PAYER_KEY", key),
        ]
    }

    /// What the merchant holds, to the msat, without what the provider has kept.
    pub(crate) fn holds(&self) -> Msats {
        match &self.wallet {
            Wallet::Phoenixd(api) | Wallet::Lnbits { api, .. } => api.balance(),
            Wallet::Nwc { .. } => self.node.balance(),
        }
    }
}
