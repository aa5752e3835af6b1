//! A run of the checks: the server, the payer, the budget, and what earlier checks have learned.

use super::answer::Answer;
use super::api::Api;
use super::bill::Bill;
use super::known::Known;
use super::outcome::{Checked, Stop};
use super::payer::{Paid, PayError, Payer};
use super::purse::{Purse, PurseError};
use serde_json::Value;
use std::time::Duration;
use tithe_lightning::Bolt11;
use tithe_money::Sats;

/// The pauses between two readings of something that changes by itself.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What the checks share.
pub(super) struct Run {
    pub(super) api: Api,
    pub(super) payer: Box<dyn Payer>,
    pub(super) purse: Purse,
    pub(super) known: Known,
    /// The check that runs.
    pub(super) check: &'static str,
    /// The paths of the server's OpenAPI document; `None` until it was looked at, and empty if it has none.
    offered: Option<Vec<String>>,
}

impl Run {
    pub(super) fn new(api: Api, payer: Box<dyn Payer>, budget: Sats) -> Self {
        let (purse, known) = (Purse::new(budget), Known::default());
        Self { api, payer, purse, known, check: "", offered: None }
    }

    /// Pays an invoice, unless it could cost more than is left of the budget.
    pub(super) async fn pay(&mut self, what: &str, bill: &Bill) -> Checked<Paid> {
        match self.try_to_pay(what, bill).await? {
            Ok(paid) => Ok(paid),
            Err(reason) => Err(bill.fault(format!("an invoice for {what} that can be paid"), reason)),
        }
    }

    /// As [`Run::pay`], for a hold invoice whose payment must come back.
    pub(super) async fn pay_in_vain(&mut self, what: &str, bill: &Bill) -> Checked {
        match self.try_to_pay(what, bill).await? {
            Ok(_taken) => Err(bill.fault(format!("the payment for {what} to come back"), "it was taken")),
            Err(_returned) => Ok(()),
        }
    }

    /// Pays an invoice; why not, if the payment has failed.
    async fn try_to_pay(&mut self, what: &str, bill: &Bill) -> Checked<Result<Paid, String>> {
        let max_fee = self.payer.max_fee(bill.amount);
        match self.purse.begin(self.check, bill.hash, bill.amount, max_fee) {
            Ok(()) => {}
            Err(over @ PurseError::OverBudget { .. }) => {
                let reason = format!("paying for {what} would exceed the budget: {over} (--budget-sats)");
                return Err(Stop::OverBudget(reason));
            }
            Err(again @ PurseError::AlreadyBegun) => {
                return Err(bill.fault("an invoice with a payment hash of its own", again));
            }
        }
        match self.payer.pay(&self.api, bill).await {
            Ok(paid) => {
                self.purse.paid(bill.hash, paid.fee);
                Ok(Ok(paid))
            }
            Err(PayError::CannotPay(reason)) => {
                self.purse.failed(bill.hash);
                Err(Stop::Skip(reason))
            }
            Err(PayError::Failed(reason)) => {
                self.purse.failed(bill.hash);
                Ok(Err(reason))
            }
            Err(PayError::Unknown(reason)) => Err(bill.fault(
                format!("an invoice for {what} that can be paid"),
                format!("unknown outcome: {reason}"),
            )),
            Err(PayError::Fault(fault)) => Err(fault),
        }
    }

    /// An invoice of the payer for a refund.
    pub(super) async fn refund_invoice(&self, amount: Sats) -> Checked<Bolt11> {
        match self.payer.invoice(&self.api, amount).await {
            Ok(Some(invoice)) => Ok(invoice),
            Ok(None) => {
                let payer = self.payer.name();
                Err(Stop::skip(format!("the payer `{payer}` cannot be paid at this server (--pay nwc can)")))
            }
            Err(failure) => Err(Stop::skip(format!("the payer's wallet makes no invoice: {failure}"))),
        }
    }

    /// Reads a path until its `state` is one of `wanted`; a state of `wrong` ends the wait.
    pub(super) async fn until_state(
        &self,
        path: &str,
        bearer: Option<&str>,
        wanted: &[&str],
        wrong: &[&str],
    ) -> Checked<Answer> {
        let mut pause = FIRST_PAUSE;
        loop {
            let call = self.api.get(path);
            let call = match bearer {
                Some(secret) => call.bearer(secret),
                None => call,
            };
            let answer = call.send().await?.status(200)?;
            let state = answer.text_at("/state")?;
            if wanted.contains(&state) {
                return Ok(answer);
            }
            if wrong.contains(&state) {
                let why = ["/reason", "/errorMessage", "/message"]
                    .iter()
                    .find_map(|field| answer.text_at(field).ok());
                let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
                let got = super::excerpt::short(&format!("{state}{why}"));
                return Err(answer.fault(format!("`state` to become {}", wanted.join(" or ")), got));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whether the server's OpenAPI document has a path; without a document, every path is taken to be offered.
    pub(super) async fn offers(&mut self, path: &str) -> Checked<bool> {
        let wanted = without_names(path);
        let offers = |paths: &[String]| paths.is_empty() || paths.contains(&wanted);
        if let Some(paths) = &self.offered {
            return Ok(offers(paths));
        }
        let answer = self.api.get("/openapi.json").send().await?;
        let paths = answer.value("/paths").and_then(Value::as_object);
        let paths: Vec<String> = paths.into_iter().flatten().map(|(path, _)| without_names(path)).collect();
        let offers = offers(&paths);
        self.offered = Some(paths);
        Ok(offers)
    }

    /// Skips the check if the server's OpenAPI document does not have a path.
    pub(super) async fn needs_path(&mut self, path: &str) -> Checked {
        if self.offers(path).await? {
            return Ok(());
        }
        Err(Stop::skip(format!("the server's OpenAPI document does not offer {path}")))
    }

    /// Skips the check unless the server's AI backend is the simulation, which can be told to reject and to fail.
    pub(super) async fn needs_simulated_backend(&self) -> Checked {
        let answer = self.api.get("/api/models").send().await?;
        let models = answer.value("/models").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let names = || models.iter().filter_map(|model| model.get("name").and_then(Value::as_str));
        if names().next().is_some() && names().all(|name| name.starts_with("sim-")) {
            return Ok(());
        }
        Err(Stop::skip(
            "only a simulated AI backend can be told to do that, and this server's models are real ones",
        ))
    }
}

/// A path of an OpenAPI document without the names of its parameters.
fn without_names(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}
