//! Paying the server's invoices.

use super::api::Api;
use super::bill::Bill;
use super::excerpt;
use super::outcome::Stop;
use async_trait::async_trait;
use serde_json::json;
use std::time::Duration;
use tithe_lightning::{Bolt11, PaymentHash, Preimage};
use tithe_money::{Msats, Sats};

/// Why an invoice was not paid.
#[derive(Debug)]
pub(super) enum PayError {
    /// It was not paid, and no invoice of this server can be.
    CannotPay(String),
    /// It was not paid.
    Failed(String),
    /// It may have been paid, or may still be.
    Unknown(String),
    /// The server's dev route did not answer as the contract says; nothing is known about the payment.
    Fault(Stop),
}

/// A payment that was made.
#[derive(Debug)]
pub(super) struct Paid {
    /// The proof, which hashes to the payment hash.
    pub(super) preimage: Preimage,
    /// The routing fee.
    pub(super) fee: Msats,
}

/// Whoever pays for the checks.
#[async_trait(?Send)]
pub(super) trait Payer {
    /// The name in reports.
    fn name(&self) -> &'static str;

    /// The most that paying an amount may cost besides it.
    fn max_fee(&self, amount: Sats) -> Msats;

    /// Pays an invoice, at most once.
    async fn pay(&self, api: &Api, bill: &Bill) -> Result<Paid, PayError>;

    /// An invoice to be refunded with; `None` if this payer cannot receive.
    async fn invoice(&self, api: &Api, amount: Sats) -> Result<Option<Bolt11>, String>;

    /// Whether a payment to such an invoice has arrived; `None` if this payer cannot tell.
    async fn has_received(&self, hash: PaymentHash) -> Result<Option<bool>, String>;
}

/// What the server's dev route says while a payment is held.
const HELD: &str = "payment held";

/// What it says when a payment was held, and has come back.
const RETURNED: &str = "payment returned";

/// The pause until it is asked again.
const HELD_PAUSE: Duration = Duration::from_millis(200);

/// Pays with play money, on a server that runs with `TITHE_DEV=1`.
pub(super) struct DevPayer;

#[async_trait(?Send)]
impl Payer for DevPayer {
    fn name(&self) -> &'static str {
        "dev"
    }

    fn max_fee(&self, _amount: Sats) -> Msats {
        Msats::ZERO
    }

    async fn pay(&self, api: &Api, bill: &Bill) -> Result<Paid, PayError> {
        let paying = || async {
            api.post(format!("/dev/stub/pay/{}", bill.hash)).send().await.map_err(PayError::Fault)
        };
        let mut answer = paying().await?;
        // A hold invoice: the payment waits until the server takes it or gives it back.
        while answer.status == 409 && answer.detail().starts_with(HELD) {
            tokio::time::sleep(HELD_PAUSE).await;
            answer = paying().await?;
        }
        if answer.status == 409 && answer.detail().starts_with(RETURNED) {
            return Err(PayError::Failed(RETURNED.to_owned()));
        }
        if answer.status == 404 {
            let reason = "the server takes no play money: start it with TITHE_DEV=1, or pay with --pay nwc";
            return Err(PayError::CannotPay(reason.to_owned()));
        }
        let answer = answer.status(200).map_err(PayError::Fault)?;
        answer.is("/ok", true).map_err(PayError::Fault)?;
        answer.is("/paymentHash", bill.hash.to_string()).map_err(PayError::Fault)?;
        let text = answer.text_at("/preimage").map_err(PayError::Fault)?;
        let preimage = text.parse().ok().filter(|preimage: &Preimage| preimage.payment_hash() == bill.hash);
        let preimage = preimage.ok_or_else(|| {
            let expected = "`preimage` to hash to the payment hash";
            PayError::Fault(answer.fault(expected, excerpt::of_body(&answer.text)))
        })?;
        Ok(Paid { preimage, fee: Msats::ZERO })
    }

    async fn invoice(&self, api: &Api, amount: Sats) -> Result<Option<Bolt11>, String> {
        let call = api.post("/dev/stub/invoice").json(&json!({ "amountSats": amount.get() }));
        let answer = call.send().await.map_err(|_| "the server did not answer".to_owned())?;
        if answer.status == 404 {
            return Ok(None);
        }
        let text = answer.text_at("/paymentRequest").ok().and_then(|text| text.parse().ok());
        text.map(Some).ok_or_else(|| answer.summary())
    }

    async fn has_received(&self, _hash: PaymentHash) -> Result<Option<bool>, String> {
        Ok(None)
    }
}
