//! The Lightning wallet, and what is paid with it.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;
use std::time::Duration;
use tithe_lightning::Network;
use tithe_lnurl::Destinations;
use tithe_money::{BasisPoints, Sats};
use tithe_payouts::FeePolicy;
use tithe_wallet_lnbits::{FundingFee, LnbitsSettings};
use tithe_wallet_nwc::{FeeLimit, NwcSettings};
use tithe_wallet_phoenixd::{PhoenixdSettings, SendFee};
use tithe_wallet_sim::FaultRates;

/// How long phoenixd may take to answer.
const PHOENIXD_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "TITHE_WALLET",
        "wallet",
        "sim",
        "The Lightning wallet: sim, lnbits, nwc (Nostr Wallet Connect), or phoenixd",
    )
    .essential(),
    Setting::new(
        "TITHE_NETWORK",
        "network",
        "mainnet",
        "The network that the wallet is on: mainnet, testnet, signet, or regtest; the simulated wallet is on regtest",
    )
    .essential(),
    Setting::new(
        "LNBITS_URL",
        "lnbits_url",
        "",
        "The base URL of LNbits, such as https://lnbits.example.com",
    ),
    Setting::secret(
        "LNBITS_API_KEY",
        "lnbits_api_key",
        "The admin key of the wallet at LNbits: the invoice key cannot pay refunds",
    )
    .essential(),
    Setting::new(
        "TITHE_LNBITS_FUNDING_FEE",
        "lnbits_funding_fee",
        "",
        "What the wallet behind LNbits charges for a payment if it ignores LNbits' own limit, in sats and per cent: 4,0.4 for phoenixd",
    )
    .same(),
    Setting::secret(
        "TITHE_NWC_URL",
        "nwc_url",
        "The connection string of the wallet (nostr+walletconnect://…), which is as secret as a password",
    )
    .essential(),
    Setting::new(
        "TITHE_NWC_FEE_LIMIT",
        "nwc_fee_limit",
        "alby-hub",
        "How the wallet limits routing fees: alby-hub (1 %, at least 10 sats), max-fee (it honours `max_fee`), or none (it pays nothing)",
    )
    .same(),
    Setting::new("TITHE_PHOENIXD_URL", "phoenixd_url", "http://127.0.0.1:9740", "The base URL of phoenixd"),
    Setting::secret("TITHE_PHOENIXD_PASSWORD", "phoenixd_password", "The HTTP password of phoenixd")
    .essential(),
    Setting::new(
        "TITHE_WALLET_SIM_FAULTS",
        "wallet_sim_faults",
        "",
        "How often the simulated wallet fails, in operations per thousand, such as lose=20,fail=10,delay_ms=50",
    ),
    Setting::new(
        "TITHE_DEV_PAYER",
        "dev_payer",
        "",
        "The wallet that POST /dev/stub/pay pays from when TITHE_WALLET is not sim: lnbits, nwc, or phoenixd",
    ),
    Setting::new(
        "TITHE_DEV_PAYER_URL",
        "dev_payer_url",
        "",
        "The base URL of that wallet, if it is lnbits or phoenixd",
    ),
    Setting::secret(
        "TITHE_DEV_PAYER_KEY",
        "dev_payer_key",
        "The admin key, the connection string or the password of that wallet",
    ),
    Setting::new(
        "TITHE_PAYOUT_FEE_BASE_SATS",
        "payout_fee_base_sats",
        "",
        "The fixed part of what the routing fee of a refund may be, in sats; default: 2 (sim), 5 (lnbits, phoenixd), 10 (nwc)",
    )
    .same(),
    Setting::new(
        "TITHE_PAYOUT_FEE_PCT",
        "payout_fee_pct",
        "1",
        "The proportional part of the fee limit, in per cent of the refund. The customer bears the whole limit",
    )
    .same(),
    Setting::new(
        "TITHE_LIGHTNING_ADDRESSES",
        "lightning_addresses",
        "public",
        "Which Lightning addresses refunds are paid to: none, public (https, on the public internet), or any (also your own network)",
    )
    .same(),
    Setting::new(
        "TITHE_RECONCILE_SECONDS",
        "reconcile_seconds",
        "300",
        "How often the ledger is compared with the wallet's balance, in seconds",
    ),
];

/// A wallet by its connection.
pub(crate) enum Connection {
    /// LNbits.
    Lnbits(LnbitsSettings),
    /// Nostr Wallet Connect.
    Nwc(NwcSettings),
    /// phoenixd.
    Phoenixd(PhoenixdSettings),
}

impl Connection {
    /// The name of the setting.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Lnbits(_) => "lnbits",
            Self::Nwc(_) => "nwc",
            Self::Phoenixd(_) => "phoenixd",
        }
    }
}

/// The Lightning wallet, and what is paid with it.
pub(crate) struct Wallet {
    /// `None` is the simulated wallet.
    pub(crate) connection: Option<Connection>,
    pub(crate) network: Network,
    pub(crate) sim_faults: FaultRates,
    pub(crate) dev_payer: Option<Connection>,
    pub(crate) payout_fees: FeePolicy,
    /// `None` means that refunds are paid to invoices only.
    pub(crate) addresses: Option<Destinations>,
    pub(super) reconcile: Duration,
}

impl Wallet {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        let network = values.parse("TITHE_NETWORK", str::parse::<Network>)?;
        let connection = match values.one_of("TITHE_WALLET", &["sim", "lnbits", "nwc", "phoenixd"])? {
            "lnbits" => {
                values.required("LNBITS_URL", "TITHE_WALLET=lnbits")?;
                values.required("LNBITS_API_KEY", "TITHE_WALLET=lnbits")?;
                Some(Connection::Lnbits(lnbits(values, network, "LNBITS_URL", "LNBITS_API_KEY")?))
            }
            "nwc" => {
                values.required("TITHE_NWC_URL", "TITHE_WALLET=nwc")?;
                Some(Connection::Nwc(nwc(values, network, "TITHE_NWC_URL")?))
            }
            "phoenixd" => {
                values.required("TITHE_PHOENIXD_PASSWORD", "TITHE_WALLET=phoenixd")?;
                let (url, password) = ("TITHE_PHOENIXD_URL", "TITHE_PHOENIXD_PASSWORD");
                Some(Connection::Phoenixd(phoenixd(values, network, url, password)?))
            }
            _ => None,
        };
        let network = if connection.is_some() { network } else { Network::Regtest };
        Ok(Self {
            payout_fees: payout_fees(values, connection.as_ref())?,
            connection,
            network,
            sim_faults: match values.text("TITHE_WALLET_SIM_FAULTS") {
                "" => FaultRates::default(),
                _ => values.parse("TITHE_WALLET_SIM_FAULTS", str::parse)?,
            },
            dev_payer: dev_payer(values, network)?,
            addresses: match values.one_of("TITHE_LIGHTNING_ADDRESSES", &["none", "public", "any"])? {
                "none" => None,
                "any" => Some(Destinations::Any),
                _ => Some(Destinations::Public),
            },
            reconcile: values.number("TITHE_RECONCILE_SECONDS", 1, 86_400).map(Duration::from_secs)?,
        })
    }
}

fn payout_fees(values: &Values, connection: Option<&Connection>) -> Result<FeePolicy, ConfigError> {
    let base = match (values.text("TITHE_PAYOUT_FEE_BASE_SATS"), connection) {
        ("", None) => 2,
        ("", Some(Connection::Lnbits(_) | Connection::Phoenixd(_))) => 5,
        ("", Some(Connection::Nwc(_))) => 10,
        _ => values.number("TITHE_PAYOUT_FEE_BASE_SATS", 0, 1_000_000)?,
    };
    let base = values.parse("TITHE_PAYOUT_FEE_BASE_SATS", |_| Sats::new(base))?;
    Ok(FeePolicy { base, share: values.parse("TITHE_PAYOUT_FEE_PCT", BasisPoints::parse_percent)? })
}

fn dev_payer(values: &Values, network: Network) -> Result<Option<Connection>, ConfigError> {
    let (url, key) = ("TITHE_DEV_PAYER_URL", "TITHE_DEV_PAYER_KEY");
    let kind = values.one_of("TITHE_DEV_PAYER", &["", "lnbits", "nwc", "phoenixd"])?;
    if kind.is_empty() {
        return Ok(None);
    }
    values.required(key, "TITHE_DEV_PAYER")?;
    if kind != "nwc" {
        values.required(url, "TITHE_DEV_PAYER")?;
    }
    Ok(Some(match kind {
        "lnbits" => Connection::Lnbits(lnbits(values, network, url, key)?),
        "nwc" => Connection::Nwc(nwc(values, network, key)?),
        _ => Connection::Phoenixd(phoenixd(values, network, url, key)?),
    }))
}

fn lnbits(
    values: &Values,
    network: Network,
    url: &'static str,
    key: &'static str,
) -> Result<LnbitsSettings, ConfigError> {
    let mut settings =
        LnbitsSettings::new(values.parse(url, str::parse)?, values.parse_secret(key, str::parse)?, network);
    settings.funding_fee = match values.text("TITHE_LNBITS_FUNDING_FEE") {
        "" => None,
        _ => Some(values.parse("TITHE_LNBITS_FUNDING_FEE", funding_fee)?),
    };
    Ok(settings)
}

fn funding_fee(text: &str) -> Result<FundingFee, String> {
    let wrong = || "expected sats and per cent, such as 4,0.4".to_owned();
    let (base, share) = text.split_once(',').ok_or_else(wrong)?;
    let base = base.trim().parse().ok().and_then(|base| Sats::new(base).ok()).ok_or_else(wrong)?;
    let share = BasisPoints::parse_percent(share.trim()).map_err(|_| wrong())?;
    Ok(FundingFee { base: base.to_msats(), share })
}

fn nwc(values: &Values, network: Network, connection: &'static str) -> Result<NwcSettings, ConfigError> {
    let mut settings = NwcSettings::new(values.parse_secret(connection, str::parse)?, network);
    settings.fee_limit = match values.one_of("TITHE_NWC_FEE_LIMIT", &["alby-hub", "max-fee", "none"])? {
        "max-fee" => FeeLimit::MaxFee,
        "none" => FeeLimit::Unknown,
        _ => FeeLimit::ALBY_HUB,
    };
    Ok(settings)
}

fn phoenixd(
    values: &Values,
    network: Network,
    url: &'static str,
    password: &'static str,
) -> Result<PhoenixdSettings, ConfigError> {
    let (url, password) = (values.parse(url, str::parse)?, values.parse_secret(password, str::parse)?);
    let send_fee = SendFee::default();
    Ok(PhoenixdSettings { url, password, network, timeout: PHOENIXD_TIMEOUT, send_fee })
}
