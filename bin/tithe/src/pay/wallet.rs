//! Who pays: a wallet, or play money.

use super::kept::Begun;
use reqwest::StatusCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tithe_clock::{Clock as _, SystemClock};
use tithe_lightning::{Bolt11, Payment, PaymentId, PaymentOrder, Preimage, Wallet, WalletError};
use tithe_money::Msats;
use tithe_wallet_nwc::{FeeLimit, NwcConnection, NwcSettings, NwcWallet};

/// How long a payment in flight is waited for, and the pause between two questions.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(500);

/// How long a payment of which the wallet has no record is waited for: it may be on its way to the wallet.
const UNRECORDED_PATIENCE: Duration = Duration::from_secs(10);

/// A payment of which the wallet has no record was not made, and will not be, once its invoice has been expired for this long: the
/// request to pay has expired, too, and the wallet's clock may differ.
const EXPIRED_FOR: Duration = Duration::from_mins(5);

/// The routing fee that is allowed: one hundredth of the amount, or this, in msats.
const FEE_FLOOR_MSATS: u64 = 10_000;

/// Why there is no preimage.
#[derive(Debug, thiserror::Error)]
pub(super) enum PayFailure {
    #[error("not paid: {0}")]
    NotPaid(String),
    #[error(
        "it is not known whether the payment was made: {0}. Run the same command again to look it up; nothing is paid twice"
    )]
    Unknown(String),
}

impl PayFailure {
    /// Whether nothing was paid, and nothing will be.
    pub(super) const fn is_final(&self) -> bool {
        matches!(self, Self::NotPaid(_))
    }
}

pub(super) enum Payer {
    Nwc(Box<NwcConnection>),
    /// The development route of the server of this URL.
    Dev(reqwest::Url),
    Nobody,
}

impl Payer {
    /// Names who pays, without a secret.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Nwc(connection) => format!("nwc:{}", connection.public_name()),
            Self::Dev(_) => "dev".to_owned(),
            Self::Nobody => String::new(),
        }
    }

    pub(super) async fn pay(&self, http: &reqwest::Client, begun: &Begun) -> Result<Preimage, PayFailure> {
        let invoice = &begun.offer.invoice;
        let request: Bolt11 = invoice.parse().map_err(|_| PayFailure::NotPaid("no invoice".to_owned()))?;
        match self {
            Self::Nobody => {
                let reason = "no wallet to pay with: set the connection string with --nwc or TITHE_PAY_NWC";
                Err(PayFailure::NotPaid(reason.to_owned()))
            }
            Self::Dev(url) => dev_pay(http, url, &request).await,
            Self::Nwc(connection) => {
                let wallet = open(connection, &request);
                let share = request.amount().map_or(0, Msats::get).div_ceil(100);
                let max_fee = Msats::new(share.max(FEE_FLOOR_MSATS)).unwrap_or(Msats::MAX);
                let order = PaymentOrder { id: begun.id, request: request.clone(), amount: None, max_fee };
                match wallet.payment_send(&order).await {
                    Ok(Payment::Succeeded { preimage, .. }) => proven(preimage, &request),
                    Ok(Payment::Failed { reason }) | Err(WalletError::Refused(reason)) => {
                        Err(PayFailure::NotPaid(reason))
                    }
                    Err(failure @ WalletError::Unavailable(_)) => {
                        Err(PayFailure::NotPaid(failure.to_string()))
                    }
                    Ok(Payment::InFlight) | Err(_) => follow(&wallet, begun.id, &request, true).await,
                }
            }
        }
    }

    /// What became of a payment that was begun: its preimage, or [`PayFailure::NotPaid`] if it was not made and will not be.
    pub(super) async fn look_up(
        &self,
        http: &reqwest::Client,
        begun: &Begun,
    ) -> Result<Preimage, PayFailure> {
        let unknown = |reason: &str| PayFailure::Unknown(reason.to_owned());
        let request = begun.offer.invoice.parse();
        let request: Bolt11 = request.map_err(|_| unknown("the stored invoice is invalid"))?;
        let is_same = begun.payer.as_ref() == Some(&self.name());
        match self {
            Self::Nwc(connection) => follow(&open(connection, &request), begun.id, &request, is_same).await,
            // It pays once. What it refuses may have been paid.
            Self::Dev(url) if is_same => {
                dev_pay(http, url, &request).await.map_err(|failure| match failure {
                    PayFailure::NotPaid(reason) => PayFailure::Unknown(reason),
                    failure @ PayFailure::Unknown(_) => failure,
                })
            }
            Self::Dev(_) | Self::Nobody => Err(unknown(
                "it can be looked up with the wallet that it was begun with: --nwc or TITHE_PAY_NWC",
            )),
        }
    }
}

fn open(connection: &NwcConnection, request: &Bolt11) -> NwcWallet {
    let mut settings = NwcSettings::new(connection.clone(), request.network());
    settings.fee_limit = FeeLimit::ALBY_HUB;
    NwcWallet::new(settings, Arc::new(SystemClock))
}

/// A preimage that is one.
fn proven(preimage: Preimage, request: &Bolt11) -> Result<Preimage, PayFailure> {
    let is_proof = preimage.payment_hash() == request.payment_hash();
    let wrong = || PayFailure::Unknown("the preimage does not hash to the payment hash".to_owned());
    if is_proof { Ok(preimage) } else { Err(wrong()) }
}

/// Waits until a payment has ended. `is_payer`: the wallet is the one that was asked to pay, so that what it has no record of was not
/// paid.
async fn follow(
    wallet: &NwcWallet,
    id: PaymentId,
    request: &Bolt11,
    is_payer: bool,
) -> Result<Preimage, PayFailure> {
    let began = Instant::now();
    loop {
        let (last, patience) = match wallet.payment_status(id, request.payment_hash()).await {
            Ok(Some(Payment::Succeeded { preimage, .. })) => return proven(preimage, request),
            Ok(Some(Payment::Failed { reason })) => return Err(PayFailure::NotPaid(reason)),
            Ok(Some(Payment::InFlight)) => ("the payment is in flight".to_owned(), PATIENCE),
            Ok(None) if is_payer => {
                let certain_at = request.expires_at() + EXPIRED_FOR;
                if SystemClock.now() >= certain_at {
                    let reason = "the wallet has no record of it, and the invoice has expired";
                    return Err(PayFailure::NotPaid(reason.to_owned()));
                }
                let reason =
                    format!("the wallet has no record of it, which makes it certain from {certain_at} on");
                (reason, UNRECORDED_PATIENCE)
            }
            Ok(None) => {
                ("this wallet has no record of it; it was begun with another one".to_owned(), Duration::ZERO)
            }
            Err(failure) => (failure.to_string(), PATIENCE),
        };
        if began.elapsed() >= patience {
            return Err(PayFailure::Unknown(last));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the development route says while a payment is held.
const HELD: &str = "payment held";

async fn dev_pay(
    http: &reqwest::Client,
    url: &reqwest::Url,
    request: &Bolt11,
) -> Result<Preimage, PayFailure> {
    let mut url = url.clone();
    url.set_path(&format!("/dev/stub/pay/{}", request.payment_hash()));
    url.set_query(None);
    let unknown = |failure: reqwest::Error| PayFailure::Unknown(failure.without_url().to_string());
    let mut answer = http.post(url.clone()).send().await.map_err(unknown)?;
    let began = Instant::now();
    // A hold invoice: the payment waits until the server takes it or gives it back.
    while answer.status() == StatusCode::CONFLICT {
        let problem: serde_json::Value = answer.json().await.map_err(unknown)?;
        let detail = problem.get("detail").and_then(serde_json::Value::as_str).unwrap_or_default();
        if !detail.starts_with(HELD) {
            return Err(PayFailure::NotPaid(format!(
                "the development route answered 409 Conflict: {detail}"
            )));
        }
        if began.elapsed() >= PATIENCE {
            return Err(PayFailure::Unknown("the payment is in flight".to_owned()));
        }
        tokio::time::sleep(PAUSE).await;
        answer = http.post(url.clone()).send().await.map_err(unknown)?;
    }
    if answer.status().is_server_error() {
        return Err(PayFailure::Unknown(format!("the development route answered {}", answer.status())));
    }
    if !answer.status().is_success() {
        return Err(PayFailure::NotPaid(format!("the development route answered {}", answer.status())));
    }
    let body: serde_json::Value = answer.json().await.map_err(unknown)?;
    let preimage =
        body.get("preimage").and_then(serde_json::Value::as_str).and_then(|text| text.parse().ok());
    let preimage = preimage.ok_or_else(|| PayFailure::Unknown("no preimage in the response".to_owned()))?;
    proven(preimage, request)
}
