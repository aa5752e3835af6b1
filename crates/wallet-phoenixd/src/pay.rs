//! Making a payment, and determining its outcome.
//!
//! phoenixd itself pays a payment hash once: it refuses a second payment while one is pending or after one succeeded, and processes
//! requests one after another. It responds when the payment has ended, which may take hours. It writes the outcome to its
//! database before it responds, so a look-up settles every doubt.

use crate::amounts::msats;
use crate::answers::PayAnswer;
use crate::api::{Api, Cause, Reply};
use crate::outgoing::find;
use crate::settings::SendFee;
use crate::unanswered::Unanswered;
use reqwest::StatusCode;
use tithe_clock::Clock;
use tithe_lightning::{Network, Payment, PaymentHash, PaymentOrder, Preimage, WalletError};
use tithe_money::Msats;
use tracing::warn;

/// The reasons for which phoenixd does not pay because of another payment with the same hash.
const REASONS_OF_ANOTHER: [&str; 2] =
    ["this invoice has already been paid", "another payment is in progress for that invoice"];

/// The response to a payment cannot be used.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error("payinvoice: unreadable response")]
    Unreadable(#[source] serde_json::Error),
    #[error("payinvoice: neither a preimage nor a reason")]
    Empty,
    #[error("payinvoice: the preimage does not hash to the payment hash")]
    WrongPreimage,
    #[error("payinvoice: not paid because of another payment ({0}), of which phoenixd has no record")]
    NoRecord(String),
}

/// Makes payments.
pub(crate) struct Payer {
    fee: SendFee,
    unanswered: Unanswered,
}

impl Payer {
    pub fn new(fee: SendFee) -> Self {
        Self { fee, unanswered: Unanswered::default() }
    }

    /// The state of the payment with this hash.
    pub async fn status(
        &self,
        api: &Api,
        clock: &dyn Clock,
        payment_hash: PaymentHash,
    ) -> Result<Option<Payment>, WalletError> {
        // Before the look-up: a request that arrives during it is on its way.
        let may_arrive = self.unanswered.may_arrive(payment_hash, clock.now());
        let found = find(api, payment_hash).await?;
        Ok(found.or_else(|| may_arrive.then_some(Payment::InFlight)))
    }

    /// Makes a payment, unless there is one already.
    pub async fn send(
        &self,
        api: &Api,
        clock: &dyn Clock,
        network: Network,
        order: &PaymentOrder,
    ) -> Result<Payment, WalletError> {
        let form = form(network, order)?;
        let payment_hash = order.request.payment_hash();
        match self.status(api, clock, payment_hash).await? {
            Some(known @ (Payment::InFlight | Payment::Succeeded { .. })) => return Ok(known),
            Some(Payment::Failed { .. }) | None => {}
        }
        self.check_fee(order)?;
        self.unanswered.sent(payment_hash, clock.now());
        let outcome = match api.post("payinvoice", &form).await {
            Ok(reply) => outcome(api, payment_hash, &reply).await,
            Err(failure) => Err(failure),
        };
        if !matches!(outcome, Err(WalletError::OutcomeUnknown(_))) {
            self.unanswered.answered(payment_hash);
        }
        if let Ok(Payment::Succeeded { fee, .. }) = &outcome
            && *fee > order.max_fee
        {
            warn!(%payment_hash, fee_msats = fee.get(), fee_limit_msats = order.max_fee.get(), "phoenixd charged more than its published fee");
        }
        outcome
    }

    /// The API has no fee limit, so the limit is kept before anything is sent.
    fn check_fee(&self, order: &PaymentOrder) -> Result<(), WalletError> {
        let amount = order.request.amount().or(order.amount).unwrap_or(Msats::ZERO);
        let most = self.fee.most(amount).map_err(|error| WalletError::Refused(error.to_string()))?;
        if most > order.max_fee {
            let limit = order.max_fee;
            return Err(WalletError::Refused(format!(
                "fee too high: expected at most {limit}, phoenixd charges {most}"
            )));
        }
        Ok(())
    }
}

/// The form of a payment, if phoenixd can make it.
fn form(network: Network, order: &PaymentOrder) -> Result<Vec<(&'static str, String)>, WalletError> {
    let refused = |why: String| Err(WalletError::Refused(why));
    let request = &order.request;
    if request.network() != network {
        return refused(format!("wrong network: expected {network}, got {}", request.network()));
    }
    let mut form = vec![("invoice", request.as_str().to_owned())];
    match (request.amount(), order.amount) {
        (Some(_), None) => {}
        (None, Some(amount)) => {
            let sats = amount.to_sats_rounding_down();
            if sats.is_zero() || sats.to_msats() != amount {
                return refused(format!("unsupported amount: expected whole sats, got {amount}"));
            }
            form.push(("amountSat", sats.get().to_string()));
        }
        (Some(_), Some(_)) => return refused("unexpected amount: the payment request has one".to_owned()),
        (None, None) => return refused("missing amount: the payment request has none".to_owned()),
    }
    Ok(form)
}

/// The outcome of a payment, from the response to its request.
async fn outcome(api: &Api, payment_hash: PaymentHash, reply: &Reply) -> Result<Payment, WalletError> {
    let unknown = |cause: Cause| Err(WalletError::OutcomeUnknown(Some(cause)));
    match reply.status {
        StatusCode::OK => {}
        StatusCode::TOO_MANY_REQUESTS => {
            return Err(WalletError::Unavailable(Some(reply.unexpected().into())));
        }
        status if refused_unread(status) => return Err(WalletError::Refused(reply.unexpected().to_string())),
        _ => return unknown(reply.unexpected().into()),
    }
    let answer: PayAnswer = match reply.json() {
        Ok(answer) => answer,
        Err(error) => return unknown(AnswerError::Unreadable(error).into()),
    };
    match (answer.payment_preimage, answer.reason) {
        (Some(preimage), _) if preimage.payment_hash() != payment_hash => {
            unknown(AnswerError::WrongPreimage.into())
        }
        (Some(preimage), _) => succeeded(api, payment_hash, preimage, answer.routing_fee_sat).await,
        (None, Some(reason)) => not_sent(api, payment_hash, reason).await,
        (None, None) => unknown(AnswerError::Empty.into()),
    }
}

/// Whether phoenixd, or a proxy before it, refused a request as such. phoenixd answers 400 to what it cannot read and 401 to a
/// wrong or limited password, and makes no payment then. Other codes come from proxies, some after they passed the request on.
fn refused_unread(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 401 | 403 | 404 | 405 | 411 | 413 | 414 | 415)
}

/// A payment that succeeded: the response has its fee in whole sats only.
async fn succeeded(
    api: &Api,
    payment_hash: PaymentHash,
    preimage: Preimage,
    fee_sats: u64,
) -> Result<Payment, WalletError> {
    match find(api, payment_hash).await {
        Ok(Some(payment @ Payment::Succeeded { .. })) => Ok(payment),
        // The caller looks again, and gets the exact fee then.
        Err(WalletError::Unavailable(_)) => Ok(Payment::InFlight),
        // The preimage is proof enough.
        _ => {
            warn!(%payment_hash, "phoenixd has no record of a payment that it made");
            let fee = msats("routingFeeSat", i128::from(fee_sats) * 1_000)?;
            Ok(Payment::Succeeded { preimage, fee })
        }
    }
}

/// A payment that was not sent, if the reason does not lie in another one with the same hash.
async fn not_sent(api: &Api, payment_hash: PaymentHash, reason: String) -> Result<Payment, WalletError> {
    match find(api, payment_hash).await {
        Ok(Some(payment @ (Payment::Succeeded { .. } | Payment::InFlight))) => Ok(payment),
        Ok(None) if REASONS_OF_ANOTHER.contains(&reason.as_str()) => {
            Err(WalletError::OutcomeUnknown(Some(AnswerError::NoRecord(reason).into())))
        }
        // phoenixd keeps no record of what it did not even try.
        Ok(Some(Payment::Failed { .. }) | None) => Ok(Payment::Failed { reason }),
        Err(failure) => Err(WalletError::OutcomeUnknown(Some(failure.into()))),
    }
}
