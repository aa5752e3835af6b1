//! Offering to do one request for one payment.

use super::kept::OfferedSession;
use super::quoted_work::{QuotedWork, quote_call};
use super::request_offers::{Offer, OfferedRequest, Slot};
use super::service::Sessions;
use crate::admission::{Origin, Share};
use crate::error::{EngineError, PaidRequestError};
use crate::error_chain::chain;
use crate::identities::RequestSignature;
use crate::metered::Prompt;
use crate::mounts::UpstreamError;
use crate::purchases::{Buyer, Purchased};
use crate::quotes::Quotes;
use crate::records::StoredResponse;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tithe_lightning::Invoice;
use tithe_money::Sats;
use tithe_paywall::RequestDigest;
use tithe_sessions::{
    KeptState, NewKeptRequest, NewSession, OneRequest, RequestTerms, SentRequest, Session, SessionId,
    SessionKind, SessionState,
};
use tithe_trust::NostrPubkey;
use tracing::{error, info};

/// How long a request that nobody pays for waits for the invoice that it is offered.
const OFFER_PATIENCE: Duration = Duration::from_secs(2);

/// A request that nobody pays for yet.
#[derive(Debug, Clone)]
pub struct NewPaidRequest {
    /// What is asked of the model.
    pub prompt: Prompt,
    /// The model; `None` means the operator's choice.
    pub model: Option<String>,
    /// The most output wanted, in tokens. Without it, the request is priced for
    /// [`Settings::paid_request_output_tokens`](crate::Settings::paid_request_output_tokens).
    pub max_output_tokens: Option<u64>,
    /// The digest of the request: the payment buys this one.
    pub digest: RequestDigest,
    /// The customer's identity; `None` means anonymous.
    pub identity: Option<NostrPubkey>,
    /// Where the request comes from; `None` means that the limits of one origin do not apply.
    pub origin: Option<Origin>,
    /// The request as it was sent, so that it can be done before its payment is taken; `None` if it must not be kept.
    pub sent: Option<Arc<SentRequest>>,
}

impl Sessions {
    /// Offers to do one request for one payment: prices it, and makes an invoice for the most that it can cost. Whoever asks for the same
    /// again gets the same invoice, as long as it is unpaid and at least half of its life is left.
    ///
    /// # Errors
    /// Those of the request itself, as when it is done: what cannot be done is not offered. [`EngineError::NoWallet`] when the wallet makes
    /// no invoice, or takes too long; [`PaidRequestError::BeingPaid`] while a payment for it is held; [`EngineError::TooManyUnpaid`], [`EngineError::TooManyUnpaidOfYours`]: there is no offer now.
    pub async fn offer_request(self: &Arc<Self>, new: NewPaidRequest) -> Result<OfferedRequest, EngineError> {
        let (terms, price) = self.price_request(&new).await?;
        let (sessions, digest, origin) = (Arc::clone(self), new.digest, new.origin.clone());
        let sent = new.sent.clone();
        let make = async move { sessions.make_offer(new, terms, price).await };
        // Those whose origin is not known are not taken for one: each gets an invoice of its own.
        let slot = origin
            .map(|origin| self.request_offers.slot(origin, digest, sent.as_deref()))
            .unwrap_or_default();
        self.offered_once(slot, make).await
    }

    /// The offer in a slot: the one that was made before, if it can still be paid in peace, or else a new one.
    pub(super) async fn offered_once<O: Offer>(
        &self,
        slot: Slot<O>,
        make: impl Future<Output = Result<O, EngineError>> + Send + 'static,
    ) -> Result<O, EngineError> {
        let offering = async {
            let mut slot = slot.lock_owned().await;
            if let Some(offered) = slot.as_ref()
                && self.is_unpaid(offered).await?
            {
                return Ok(offered.clone());
            }
            // It is made also if nobody waits so long: the next one who asks finds it.
            let making = tokio::spawn(async move {
                let offered = make.await?;
                *slot = Some(offered.clone());
                Ok(offered)
            });
            making.await.unwrap_or_else(|failure| {
                error!(error = chain(&failure), "the making of an offer has failed");
                Err(EngineError::Internal)
            })
        };
        match tokio::time::timeout(OFFER_PATIENCE, offering).await {
            Ok(offered) => offered,
            Err(_elapsed) => {
                info!("nothing is offered: the wallet is slow");
                Err(EngineError::NoWallet)
            }
        }
    }

    /// What a request is done at, and the most that it can cost, rounded up to whole sats.
    async fn price_request(&self, new: &NewPaidRequest) -> Result<(RequestTerms, Sats), EngineError> {
        let NewPaidRequest { prompt, model, max_output_tokens, .. } = new;
        if let Some(call) = prompt.as_call() {
            if !call.mount.upstream.is_reachable().await {
                return Err(EngineError::UpstreamFailed(UpstreamError::Unreachable(None).to_string()));
            }
            let (prices, call) = (self.quotes.terms().await?, call.mount.price);
            let QuotedWork { model, quotes, .. } = quote_call(None, prompt, call, &prices)?;
            let price = quotes.limit()?.to_sats_rounding_up()?;
            return Ok((RequestTerms { model, output_tokens: 0, prices, call: Some(call) }, price));
        }
        let most = Quotes::output_limit(self.quotes.work_model(model.as_deref())?);
        let wanted = max_output_tokens.unwrap_or(self.core.settings.paid_request_output_tokens.min(most));
        let prices = self.quotes.terms().await?;
        let QuotedWork { model, quotes, .. } =
            self.quotes_of(None, prompt, model.as_deref(), Some(wanted), &prices)?;
        let output_tokens = quotes.work.tokens.max_output;
        let price = quotes.limit_of(output_tokens)?.to_sats_rounding_up()?;
        Ok((RequestTerms { model, output_tokens, prices, call: None }, price))
    }

    /// Whether an offer can still be paid in peace, and nobody has paid it.
    ///
    /// # Errors
    /// [`PaidRequestError::BeingPaid`] while its payment is held.
    async fn is_unpaid(&self, offered: &impl Offer) -> Result<bool, EngineError> {
        let (store, session) = (&self.core.ports.store, offered.session());
        if offered.is_held() {
            match store.kept_request(session).await?.map(|kept| kept.state) {
                Some(KeptState::Offered) => {}
                // A second invoice would be a second payment for the same.
                Some(KeptState::Held { .. } | KeptState::Settling { .. }) => {
                    return Err(PaidRequestError::BeingPaid.into());
                }
                // A payment for it would come back, or would have to wait until it does.
                Some(KeptState::Cancelling | KeptState::Ended) | None => return Ok(false),
            }
        }
        if !offered.is_fresh(self.core.now()) {
            return Ok(false);
        }
        let stored = store.session(session).await?;
        Ok(stored.is_some_and(|session| session.state == SessionState::AwaitingPayment))
    }

    async fn make_offer(
        &self,
        new: NewPaidRequest,
        terms: RequestTerms,
        price: Sats,
    ) -> Result<OfferedRequest, EngineError> {
        let NewPaidRequest { digest, identity, origin, sent, .. } = new;
        let (id, model) = (SessionId(self.core.new_id()), terms.model.clone());
        let session = Session::new(NewSession {
            id,
            kind: SessionKind::OneRequest(Box::new(OneRequest { digest, terms })),
            deposit: price,
            identity,
            webhook: None,
            return_to: None,
            created_at: self.core.now(),
        });
        let (keep, _making) = self.to_keep(&session, sent, &model, origin.clone()).await?.unzip();
        let offered = self.offer_session(session, identity, origin, keep).await;
        let is_held = offered.as_ref().is_ok_and(|invoice| self.payments.is_hold_invoice(invoice));
        if !is_held {
            self.admission.release_held(id.0);
        }
        Ok(OfferedRequest { session: id, price, invoice: offered?, digest, is_held })
    }

    /// Records a session that is offered to this identity, or to nobody who is known, and makes the invoice of its deposit: a hold invoice if
    /// its request can be kept, and the wallet makes one.
    pub(super) async fn offer_session(
        &self,
        session: Session,
        identity: Option<NostrPubkey>,
        origin: Option<Origin>,
        keep_request: Option<Arc<NewKeptRequest>>,
    ) -> Result<Invoice, EngineError> {
        let (id, deposit) = (session.id, session.deposit);
        let kind = session.kind.name().as_str();
        let made = OnceLock::new();
        let keep = |purchased: Purchased<OfferedSession>| {
            made.get_or_init(|| purchased.invoice);
            // Nothing is stored without an idempotency key.
            Ok(StoredResponse { status: 402, body: String::new() })
        };
        let share = if session.kind.one_request().is_some() { Share::Offers } else { Share::Deposits };
        let signature = RequestSignature(None);
        let buyer = Buyer { identity, signature, origin, idempotency: None, share };
        let offered = OfferedSession { session, keep: keep_request };
        self.purchases.create(id.0, buyer, async { Ok(offered) }, &keep).await?;
        let invoice = made.into_inner().ok_or(EngineError::Internal)?;
        info!(session_id = %id, kind, amount_msats = deposit.to_msats().get(), "offered");
        Ok(invoice)
    }
}
