//! The worker: pays what is due, and looks up what is in flight.

use super::payout_begin::PayoutBegin;
use super::payout_credit::PayoutCredit;
use super::payout_defer::PayoutDefer;
use super::payout_finish::{PayoutFinish, PayoutOutcome};
use super::service::Payouts;
use crate::books::Refusal;
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::log::{self, millis};
use crate::telemetry;
use metrics::counter;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::AccountId;
use tithe_lightning::{Bolt11, Payment, PaymentHash, PaymentId, PaymentOrder, Preimage, WalletError};
use tithe_money::Msats;
use tithe_payouts::{
    AddressError, Attempt, Deferral, Destination, Obligation, Payout, PayoutError, PayoutState,
};
use tracing::{Instrument, debug, error, info, info_span, warn};
use uuid::Uuid;

/// How many obligations, and how many payouts in flight, one round takes; and how many this server works on at once.
const ROUND_MAX: usize = 16;
const TASKS_MAX: usize = 64;

/// How long an address may take to give an invoice.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// How many earlier payouts are looked at before another invoice is paid.
const EARLIER_MAX: usize = 8;

/// How long an invoice that has failed must be payable to be tried once more.
const REUSE_LIFE_MIN: Duration = Duration::from_secs(30);

/// How often the outcome of a payout is committed anew while the database is unavailable, and how many times. Later look-ups find it
/// again.
const COMMIT_RETRY_INTERVAL: Duration = Duration::from_millis(200);
const COMMIT_TRIES: u32 = 25;

const WALLET_AWAY: &str = "The server's wallet is not available. The payment is tried again.";
const EARLIER: &str = "An earlier payment is looked up once more before another one is made.";
const FAILED: &str = "The payment failed. It is tried again later.";
const EXPIRED: &str = "The invoice expired before it could be paid. Name another one.";
const PAID_BEFORE: &str = "The invoice was paid before. Name another one.";

/// Something to do for one obligation.
pub(crate) enum PayoutTask {
    /// To pay what is due.
    Pay(Box<Obligation>),
    /// To look up a payout in flight.
    LookUp(Box<Payout>),
}

impl PayoutTask {
    const fn account(&self) -> AccountId {
        match self {
            Self::Pay(owed) => owed.account,
            Self::LookUp(payout) => payout.account,
        }
    }
}

/// Whether the wallet is called for the first time since the intent of a payout was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// No call of this payout is open.
    First,
    /// The wallet knows nothing of an earlier call, which may still arrive.
    Again,
}

/// An obligation that this server works on.
struct Working<'a> {
    busy: &'a Mutex<HashSet<AccountId>>,
    account: AccountId,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        locked(self.busy).remove(&self.account);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Payouts {
    /// Waits until there may be something to pay.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// What is to be done now and that this server does not do already.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub(crate) async fn tasks_due(&self) -> Result<Vec<PayoutTask>, EngineError> {
        let (store, now) = (&self.core.ports.store, self.core.now());
        // What is being worked on is still due in the database.
        let limit = ROUND_MAX + locked(&self.busy).len();
        let looks = store.payouts_in_flight(now, limit).await?;
        let pays = store.obligations_payable(now, limit).await?;
        let looks = looks.into_iter().map(|payout| PayoutTask::LookUp(Box::new(payout)));
        let pays = pays.into_iter().map(|owed| PayoutTask::Pay(Box::new(owed)));
        let busy = locked(&self.busy);
        let room = TASKS_MAX.saturating_sub(busy.len());
        Ok(looks.chain(pays).filter(|task| !busy.contains(&task.account())).take(room).collect())
    }

    /// Does one task. Dropping the future is safe: what was begun is looked up.
    pub(crate) async fn work(&self, task: PayoutTask) {
        let account = task.account();
        if !locked(&self.busy).insert(account) {
            return;
        }
        let _working = Working { busy: &self.busy, account };
        let about = log::Owner::of_account(account);
        let span = info_span!(
            "payout",
            job_id = about.job(),
            session_id = about.session(),
            bootstrap_id = about.bootstrap(),
        );
        async {
            match task {
                PayoutTask::Pay(owed) => self.pay(&owed).await,
                PayoutTask::LookUp(payout) => self.look_up(&payout).await,
            }
        }
        .instrument(span)
        .await;
    }

    /// Pays what is due, or puts it off.
    async fn pay(&self, owed: &Obligation) {
        let earlier = match self.check_earlier(owed).await {
            Ok(earlier) => earlier,
            Err((why, problem)) => return self.defer(owed, why, problem).await,
        };
        let Some(destination) = &owed.destination else { return };
        let request = match (self.once_more(owed, &earlier), destination) {
            (_, Destination::Session(session)) => return self.credit(owed, *session).await,
            (Some(request), _) => request,
            (None, Destination::Invoice(request)) if request.expires_at() <= self.core.now() => {
                return self.defer(owed, Deferral::Refused, EXPIRED).await;
            }
            (None, Destination::Invoice(request)) => (**request).clone(),
            (None, Destination::Address(_)) => match self.resolve(owed).await {
                Ok(request) => request,
                Err((why, problem)) => return self.defer(owed, why, &problem).await,
            },
        };
        let id = PaymentId(self.core.new_id());
        if let Err((why, problem)) = self.check_unpaid(&request, id).await {
            return self.defer(owed, why, problem).await;
        }
        let asked_at = self.core.now();
        let (fees, network) = (self.fees(), self.core.ports.wallet.network());
        let begin = PayoutBegin { account: owed.account, request: request.clone(), id, fees, network };
        match self.core.committer.commit(begin).await {
            Ok(payout) => self.send(&payout, &request, asked_at, Sending::First).await,
            Err(CommitError::Refused(Refusal::Payout(
                refused @ (PayoutError::Invoice(_) | PayoutError::Used(_) | PayoutError::Dust { .. }),
            ))) => {
                warn!(refusal = %refused, "the destination cannot be paid");
                let is_address = matches!(destination, Destination::Address(_));
                let why = if is_address { Deferral::Unavailable } else { Deferral::Refused };
                self.defer(owed, why, &format!("It could not be paid: {refused}.")).await;
            }
            // Another server was first, or the customer has named another destination.
            Err(CommitError::Refused(refusal)) => debug!(%refusal, "nothing to pay"),
            // It may have been committed: then it is looked up, and sent again.
            Err(failure) => warn!(error = chain(&failure), "the payout was not begun"),
        }
    }

    /// Looks once more at the payouts of this obligation that have failed, before another invoice is paid: a wallet that called a
    /// payment failed may have made it all the same. Then it is booked. Returns those payouts, oldest first.
    async fn check_earlier(&self, owed: &Obligation) -> Result<Vec<Payout>, (Deferral, &'static str)> {
        let read = self.core.ports.store.payouts_of(owed.account).await;
        let mut payouts = read.map_err(|failure| {
            warn!(error = chain(&failure), "the earlier payouts could not be read");
            (Deferral::Ours, WALLET_AWAY)
        })?;
        payouts.retain(|payout| matches!(payout.state, PayoutState::Failed { .. }));
        for payout in payouts.iter().rev().take(EARLIER_MAX) {
            let hash = payout.payment_hash;
            match self.status(payout.id, hash).await {
                Ok(Some(Payment::Succeeded { preimage, fee })) if preimage.payment_hash() == hash => {
                    error!(payment_hash = %hash, "the wallet has made a payment that it had called failed");
                    let _booked = self.finish(payout, PayoutOutcome::Paid { preimage, fee }).await;
                    return Err((Deferral::Ours, EARLIER));
                }
                Ok(Some(Payment::Succeeded { .. } | Payment::InFlight)) => {
                    error!(payment_hash = %hash, "the wallet says that a payment which it had called failed may have been made");
                    return Err((Deferral::Ours, EARLIER));
                }
                Ok(Some(Payment::Failed { .. }) | None) => {}
                Err(failure) => {
                    warn!(error = chain(&failure), "the wallet does not answer");
                    return Err((Deferral::Ours, WALLET_AWAY));
                }
            }
        }
        Ok(payouts)
    }

    /// The invoice of this destination that has failed before, if it is to be tried once more before another one is: a wallet that was
    /// wrong about the first attempt then says so. What failed before the customer named another destination is never tried again.
    fn once_more(&self, owed: &Obligation, earlier: &[Payout]) -> Option<Bolt11> {
        // Every failure leaves a problem, and naming a destination clears it.
        owed.problem.as_ref()?;
        let payable = self.fees().quote(owed.due).ok()?.payable;
        let last = earlier.last().filter(|last| last.attempts == 1 && last.amount == payable)?;
        let request: Bolt11 = last.payment_request.parse().ok()?;
        (request.expires_at() > self.core.now() + REUSE_LIFE_MIN).then_some(request)
    }

    /// An invoice of the customer's address.
    async fn resolve(&self, owed: &Obligation) -> Result<Bolt11, (Deferral, String)> {
        let Some(Destination::Address(address)) = &owed.destination else {
            return Err((Deferral::Ours, WALLET_AWAY.to_owned()));
        };
        let quote = self.fees().quote(owed.due).map_err(PayoutError::from);
        let quote = quote.and_then(tithe_payouts::PayoutQuote::payable);
        let quote =
            quote.map_err(|refused| (Deferral::Unavailable, format!("It could not be paid: {refused}.")))?;
        // A stranger's host is not asked for what could not be paid anyhow.
        let balance = self.core.ports.wallet.balance();
        let answered = tokio::time::timeout(self.core.settings.wallet_timeout, balance).await;
        if let Err(failure) = answered.unwrap_or(Err(WalletError::Unavailable(None))) {
            warn!(error = chain(&failure), "the wallet does not answer");
            return Err((Deferral::Ours, WALLET_AWAY.to_owned()));
        }
        let asked = self.core.ports.addresses.invoice(address, quote.payable);
        match tokio::time::timeout(ADDRESS_TIMEOUT, asked).await {
            Ok(Ok(request)) => Ok(request),
            Ok(Err(failure)) => {
                warn!(host = address.host(), error = chain(&failure), "the address gave no invoice");
                let why = match failure {
                    AddressError::Refused { .. } => Deferral::Refused,
                    _ => Deferral::Unavailable,
                };
                Err((why, format!("{failure}")))
            }
            Err(_elapsed) => {
                warn!(host = address.host(), "the address does not answer");
                Err((
                    Deferral::Unavailable,
                    "The Lightning address does not answer. It is tried again.".to_owned(),
                ))
            }
        }
    }

    /// Whether the wallet has paid this invoice before, outside of what the database knows.
    async fn check_unpaid(&self, request: &Bolt11, id: PaymentId) -> Result<(), (Deferral, &'static str)> {
        let hash = request.payment_hash();
        let known = match self.core.ports.store.payout(hash).await {
            Ok(known) => known,
            Err(failure) => {
                warn!(error = chain(&failure), "the payout could not be read");
                return Err((Deferral::Ours, WALLET_AWAY));
            }
        };
        match self.status(id, hash).await {
            Ok(Some(Payment::Succeeded { .. } | Payment::InFlight)) if known.is_none() => {
                warn!(payment_hash = %hash, "the wallet has paid this invoice before");
                Err((Deferral::Refused, PAID_BEFORE))
            }
            Ok(_) => Ok(()),
            Err(failure) => {
                warn!(error = chain(&failure), "the wallet does not answer");
                Err((Deferral::Ours, WALLET_AWAY))
            }
        }
    }

    pub(super) async fn status(
        &self,
        id: PaymentId,
        hash: PaymentHash,
    ) -> Result<Option<Payment>, WalletError> {
        let status = self.core.ports.wallet.payment_status(id, hash);
        let answered = tokio::time::timeout(self.core.settings.wallet_timeout, status).await;
        answered.unwrap_or(Err(WalletError::Unavailable(None)))
    }

    /// Calls the wallet for a payout whose intent this server has just committed; `began` is the time before that commit.
    async fn send(&self, payout: &Payout, request: &Bolt11, began: Timestamp, sending: Sending) {
        let settings = &self.core.settings;
        if self.core.now().since(began) >= settings.payout_send_within() {
            warn!("the intent took too long to commit; the payment is looked up instead of sent");
            return;
        }
        let hash = payout.payment_hash;
        let amount = payout.amount.to_msats();
        let order = PaymentOrder {
            id: payout.id,
            request: request.clone(),
            amount: request.amount().is_none().then_some(amount),
            max_fee: payout.fee_limit.to_msats(),
        };
        info!(payment_hash = %hash, amount_msats = amount.get(), attempt = payout.attempts, "paying");
        let sent = self.core.ports.wallet.payment_send(&order);
        let outcome = match tokio::time::timeout(settings.payout_timeout, sent).await {
            Ok(Ok(Payment::Succeeded { preimage, fee })) => succeeded(payout, preimage, fee),
            Ok(Ok(Payment::InFlight)) => PayoutOutcome::Unknown,
            // This call did nothing, but an earlier one may still arrive.
            Ok(Ok(Payment::Failed { .. }) | Err(WalletError::Refused(_) | WalletError::Unavailable(_)))
                if sending == Sending::Again =>
            {
                PayoutOutcome::Unknown
            }
            Ok(Ok(Payment::Failed { reason }) | Err(WalletError::Refused(reason))) => failed(reason),
            // Nothing has happened, and no attempt is used up.
            Ok(Err(WalletError::Unavailable(cause))) => {
                let reason = cause.map_or_else(|| "wallet unavailable".to_owned(), |cause| cause.to_string());
                PayoutOutcome::Failed { reason, why: Deferral::Ours, problem: WALLET_AWAY.to_owned() }
            }
            Ok(Err(failure)) => {
                warn!(payment_hash = %hash, error = chain(&failure), "the outcome of the payment is unknown; it is looked up");
                PayoutOutcome::Unknown
            }
            Err(_elapsed) => {
                warn!(payment_hash = %hash, "the wallet does not answer; the payment is looked up");
                PayoutOutcome::Unknown
            }
        };
        let _committed = self.finish(payout, outcome).await;
    }

    /// Looks up a payout that is in flight.
    async fn look_up(&self, payout: &Payout) {
        let PayoutState::Paying { since } = payout.state else { return };
        let (hash, age) = (payout.payment_hash, self.core.now().since(since));
        if age >= self.core.settings.payout_alarm {
            self.alarm(payout, age);
        }
        // By then the attempt was sent, or never will be.
        let is_sent = age >= self.core.settings.payout_doubt;
        let Ok(request) = payout.payment_request.parse::<Bolt11>() else {
            error!(payment_hash = %hash, "the invoice of a payout is unreadable");
            let _looked_up = self.finish(payout, PayoutOutcome::Unknown).await;
            return;
        };
        let outcome = match self.status(payout.id, hash).await {
            Ok(Some(Payment::Succeeded { preimage, fee })) => succeeded(payout, preimage, fee),
            // Until then the wallet may speak of an earlier attempt at the same invoice.
            Ok(Some(Payment::Failed { reason })) if is_sent => failed(reason),
            Ok(None)
                if is_sent && self.core.now() >= request.expires_at() + self.core.settings.payout_doubt =>
            {
                warn!(payment_hash = %hash, "the wallet knows nothing of the payment, and the invoice has expired");
                let reason = "the wallet has no record of it, and the invoice has expired".to_owned();
                failed(reason)
            }
            Ok(None) if is_sent && self.core.now() < request.expires_at() => PayoutOutcome::SendAgain,
            Ok(Some(Payment::InFlight | Payment::Failed { .. }) | None) => PayoutOutcome::Unknown,
            Err(failure) => {
                warn!(payment_hash = %hash, error = chain(&failure), "the payment could not be looked up");
                PayoutOutcome::Unknown
            }
        };
        let (sends, began) = (outcome == PayoutOutcome::SendAgain, self.core.now());
        if let Some(payout) = self.finish(payout, outcome).await
            && sends
        {
            let attempt = payout.attempts;
            error!(payment_hash = %hash, attempt, "the wallet knows nothing of the payment; the same invoice is sent again");
            self.send(&payout, &request, began, Sending::Again).await;
        }
    }

    /// Reports a payout whose outcome has been unknown for long.
    fn alarm(&self, payout: &Payout, age: Duration) {
        let first = locked(&self.reported).insert(payout.payment_hash);
        error!(
            payment_hash = %payout.payment_hash,
            amount_msats = payout.amount.to_msats().get(),
            age_ms = millis(age),
            first,
            "the outcome of a payout is unknown; check the wallet"
        );
    }

    /// Commits what the wallet says; returns the payout as it is then.
    async fn finish(&self, payout: &Payout, outcome: PayoutOutcome) -> Option<Payout> {
        let (account, payment_hash) = (payout.account, payout.payment_hash);
        let attempt = Attempt { number: payout.attempts };
        let finish = PayoutFinish { account, payment_hash, attempt, outcome };
        for _ in 0..COMMIT_TRIES {
            match self.core.committer.commit(finish.clone()).await {
                Ok(payout) => {
                    match &payout.state {
                        PayoutState::Paid { fee, .. } => {
                            let amount_msats = payout.amount.to_msats().get();
                            info!(%payment_hash, amount_msats, fee_msats = fee.get(), "paid");
                        }
                        PayoutState::Failed { reason } => {
                            warn!(%payment_hash, error = reason, "the payment has failed");
                        }
                        PayoutState::Paying { .. } => {}
                    }
                    if !matches!(payout.state, PayoutState::Paying { .. }) {
                        locked(&self.reported).remove(&payment_hash);
                        counter!(telemetry::PAYOUTS_FINISHED, "outcome" => payout.state.as_str())
                            .increment(1);
                    }
                    return Some(*payout);
                }
                Err(CommitError::Refused(refusal))
                    if !matches!(refusal, Refusal::Payout(PayoutError::NotInFlight(_))) =>
                {
                    error!(%payment_hash, error = chain(&refusal), "the outcome of a payout cannot be booked");
                    return None;
                }
                // Another server has committed it, or this one has and did not learn of it.
                Err(CommitError::Refused(refusal)) => {
                    debug!(%payment_hash, %refusal, "the outcome was committed before");
                    return None;
                }
                Err(CommitError::Failed) => {
                    error!(%payment_hash, "the outcome of a payout cannot be committed");
                    return None;
                }
                Err(failure) => {
                    warn!(%payment_hash, error = chain(&failure), "the outcome is not committed yet");
                    tokio::time::sleep(COMMIT_RETRY_INTERVAL).await;
                }
            }
        }
        None
    }

    /// Credits what is due to a session.
    async fn credit(&self, owed: &Obligation, session: Uuid) {
        match self.core.committer.commit(PayoutCredit { account: owed.account, session }).await {
            Ok(credited) => info!(amount_msats = credited.to_msats().get(), "refund credited to a session"),
            Err(CommitError::Refused(refusal @ Refusal::Payout(PayoutError::Session(_)))) => {
                warn!(%refusal, "the refund cannot be credited");
                self.defer(owed, Deferral::Refused, &format!("It could not be credited: {refusal}.")).await;
            }
            // Another server was first, or the customer has named another destination.
            Err(CommitError::Refused(refusal)) => debug!(%refusal, "nothing to credit"),
            Err(failure) => warn!(error = chain(&failure), "the refund was not credited"),
        }
    }

    async fn defer(&self, owed: &Obligation, why: Deferral, problem: &str) {
        let Some(destination) = owed.destination.clone() else { return };
        let defer = PayoutDefer { account: owed.account, destination, why, problem: problem.to_owned() };
        match self.core.committer.commit(defer).await {
            Ok(()) => info!(problem, "payout put off"),
            Err(CommitError::Refused(refusal)) => debug!(%refusal, "the payout was not put off"),
            Err(failure) => warn!(error = chain(&failure), "the payout was not put off"),
        }
    }
}

/// A payment that succeeded, if the preimage proves it.
fn succeeded(payout: &Payout, preimage: Preimage, fee: Msats) -> PayoutOutcome {
    if preimage.payment_hash() != payout.payment_hash {
        error!(payment_hash = %payout.payment_hash, "the wallet says that a payment succeeded, with a wrong preimage");
        return PayoutOutcome::Unknown;
    }
    if fee > payout.fee_limit.to_msats() {
        let (fee_msats, fee_limit_msats) = (fee.get(), payout.fee_limit.to_msats().get());
        error!(payment_hash = %payout.payment_hash, fee_msats, fee_limit_msats, "the wallet has paid a higher routing fee than it was allowed to");
    }
    PayoutOutcome::Paid { preimage, fee }
}

/// A payment that has certainly failed.
fn failed(reason: String) -> PayoutOutcome {
    PayoutOutcome::Failed { reason, why: Deferral::Unavailable, problem: FAILED.to_owned() }
}
