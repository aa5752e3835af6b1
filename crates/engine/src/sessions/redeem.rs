//! Doing the request that was paid for by itself: once, and repeating the proof returns the same answer.

use super::payment::{TRIES_MAX, is_awaited};
use super::proofs::PaidRequest;
use super::quoted_work::{QuotedWork, quote_call};
use super::request::Running;
use super::request_abandon::is_abandoned;
use super::request_begin::{SessionRequestBegin, SessionRequestBegun};
use super::request_finish::RenderRequest;
use super::service::Sessions;
use crate::books::Refusal;
use crate::committer::CommitError;
use crate::error::{EngineError, PaidRequestError};
use crate::idempotency::{KeyedResponse, Seen};
use crate::metered::{Client, MeteredQuotes, Prompt};
use crate::records::{IdempotencyId, IdempotencyRequest, KeyOrigin};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tithe_ledger::LedgerError;
use tithe_lightning::PaymentHash;
use tithe_money::Msats;
use tithe_paywall::{RequestDigest, UsageError};
use tithe_sessions::{
    OneRequest, RequestId, RequestState, Session, SessionError, SessionId, SessionRequest, SessionState,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::info;
use uuid::Uuid;

/// The idempotency key of the one request that a payment buys, in the scope of its session.
const KEY: &str = "paid request";

/// The idempotency key of the request that a session of one request pays for.
pub(super) fn key_of(session: SessionId) -> IdempotencyId {
    IdempotencyId { scope: format!("session:{session}"), key: KEY.to_owned() }
}

/// How long a proof waits before it looks again whether its request has been answered: this, doubled each time, up to the maximum.
const ANSWER_INTERVAL: Duration = Duration::from_millis(100);
const ANSWER_INTERVAL_MAX: Duration = Duration::from_secs(2);

/// How long a proof waits for a payment that the wallet has not reported yet, and how often it looks.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(5);
const ARRIVAL_INTERVAL: Duration = Duration::from_millis(500);

/// The request that comes with a proof.
pub struct PaidWork {
    /// The id of the request; `None` lets the engine choose one.
    pub id: Option<Uuid>,
    /// The digest of the request as it came.
    pub digest: RequestDigest,
    /// What is asked of the model.
    pub prompt: Prompt,
    /// Who waits for the answer. The work goes on when it has gone: it is paid for.
    pub client: Client,
}

/// Why a paid request has not begun.
enum NotBegun {
    /// It runs already: its answer is to be waited for.
    Runs,
    /// For this reason.
    Failed(EngineError),
}

impl<E: Into<EngineError>> From<E> for NotBegun {
    fn from(failure: E) -> Self {
        Self::Failed(failure.into())
    }
}

impl Sessions {
    /// Does the request that was paid for, at the price that was quoted then. It is done once, however often its proof is presented, and on
    /// however many servers: whoever repeats it gets the same answer, or waits for it.
    ///
    /// # Errors
    /// [`EngineError::PaidRequest`], and those of the request itself: nothing was charged, and the payment can still be used or claimed.
    /// [`EngineError::WorkFailed`], [`EngineError::WorkRefused`]: likewise, and the same proof may be tried again.
    pub async fn redeem(
        &self,
        paid: &PaidRequest,
        work: PaidWork,
        render: Arc<dyn RenderRequest>,
    ) -> Result<KeyedResponse, EngineError> {
        if !paid.is_for(work.digest) {
            return Err(PaidRequestError::AnotherRequest.into());
        }
        let settings = &self.core.settings;
        let key = IdempotencyRequest {
            id: key_of(paid.session),
            fingerprint: work.digest.to_bytes(),
            keep: settings.idempotency_keep,
            lease: settings.lease,
            origin: KeyOrigin::Client,
        };
        // What runs ends within this time; its server may die at the end of it.
        let until = Instant::now() + settings.work_timeout + settings.lease * 2;
        let (mut wait, mut waiter) = (ANSWER_INTERVAL, None);
        loop {
            let begun = match self.idempotency.seen(&key).await {
                Ok(Seen::Answered(response)) => return Ok(KeyedResponse::replay(response)),
                Ok(Seen::Never | Seen::Begun) => {
                    let begin = async {
                        // Nobody else waits for a slot while this one waits for its payment.
                        let session = self.arrived(paid).await?;
                        let slot = self.slots.take_for(&work.prompt).await?;
                        Ok::<_, NotBegun>((slot, self.begin_paid(session, paid, &work, &key).await?))
                    };
                    match begin.await {
                        Ok((_slot, BegunPaid::Running(running))) => {
                            return self.run(&running, false, render).await;
                        }
                        Ok((_slot, BegunPaid::Replayed(response))) => return Ok(response),
                        Err(not_begun) => not_begun,
                    }
                }
                Err(EngineError::RequestInProgress) => NotBegun::Runs,
                Err(EngineError::IdempotencyKeyReused) => PaidRequestError::AnotherRequest.into(),
                Err(failure) => NotBegun::Failed(failure),
            };
            match begun {
                NotBegun::Runs => {
                    waiter = waiter.or_else(|| self.waiter(paid.session));
                    if waiter.is_none() || Instant::now() >= until {
                        return Err(PaidRequestError::Running.into());
                    }
                }
                NotBegun::Failed(EngineError::PaidRequest(
                    ended @ (PaidRequestError::Used | PaidRequestError::Returned | PaidRequestError::Lost),
                )) => {
                    // Its answer may have been stored a moment ago.
                    return match self.idempotency.stored(&key).await? {
                        Some(response) => Ok(KeyedResponse::replay(response)),
                        None => Err(ended.into()),
                    };
                }
                NotBegun::Failed(failure) => return Err(failure),
            }
            sleep(wait).await;
            wait = wait.saturating_mul(2).min(ANSWER_INTERVAL_MAX);
        }
    }

    /// Holds the price of a paid request.
    async fn begin_paid(
        &self,
        session: Session,
        paid: &PaidRequest,
        work: &PaidWork,
        key: &IdempotencyRequest,
    ) -> Result<BegunPaid, NotBegun> {
        let Some(one) = session.kind.one_request() else {
            return Err(PaidRequestError::AnotherRequest.into());
        };
        session.check_request(Some(work.digest)).map_err(|_| PaidRequestError::AnotherRequest)?;
        if self.requests(session.id, None, TRIES_MAX).await?.len() >= TRIES_MAX {
            return Err(PaidRequestError::Failing.into());
        }
        let (quoted, covered) = self.quote_paid(&session, one, paid.models.as_ref(), &work.prompt)?;
        let QuotedWork { model, tokenizer, quotes, .. } = quoted;
        let price = session.deposit.to_msats();
        let (id, now) = (RequestId(work.id.unwrap_or_else(|| self.core.new_id())), self.core.now());
        let request = SessionRequest {
            id,
            session: session.id,
            model: model.clone(),
            limit: price,
            keys: Vec::new(),
            state: RequestState::Running,
            created_at: now,
            updated_at: now,
            text_deleted_at: None,
        };
        let begin = SessionRequestBegin {
            request: Box::new(request.clone()),
            keys: paid.keys.clone(),
            lease: self.core.settings.lease,
            idempotency: Some(key.clone()),
            digest: Some(work.digest),
            once: quotes.call.is_some(),
        };
        let session = match self.core.committer.commit(begin).await {
            Ok(SessionRequestBegun::New { session, .. }) => session,
            Ok(SessionRequestBegun::Replayed(response)) => {
                return Ok(BegunPaid::Replayed(KeyedResponse::replay(response)));
            }
            Err(refused) => return Err(refusal(refused, &session)),
        };
        info!(session_id = %session.id, session_request_id = %id, model, held_msats = price.get(), "paid request begun");
        work.client.begun.cancel();
        let cover = quotes.cover(covered, None, tokenizer);
        Ok(BegunPaid::Running(Box::new(Running {
            request: SessionRequest { keys: paid.keys.iter().map(|key| key.id).collect(), ..request },
            keys: paid.keys.clone(),
            session: *session,
            needs_text: work.prompt.as_text().is_some(),
            prompt: work.prompt.clone(),
            quotes,
            cover: Arc::new(cover),
            held: AtomicU64::new(price.get()),
            // The customer has paid for the most that it can cost: it is finished also if nobody waits, and kept for them.
            client: Client { gone: CancellationToken::new(), ..work.client.clone() },
            key: Some(key.id.clone()),
            replenish: None,
        })))
    }

    /// What the one request of a session is done by, at the prices that it was offered at, and how much of its price the work may cost.
    pub(super) fn quote_paid(
        &self,
        session: &Session,
        one: &OneRequest,
        models: Option<&BTreeSet<String>>,
        prompt: &Prompt,
    ) -> Result<(QuotedWork, Msats), EngineError> {
        let terms = &one.terms;
        // The output of embeddings has no limit.
        let output = Some(terms.output_tokens).filter(|tokens| *tokens > 0);
        let quoted = match (terms.call, prompt.as_call()) {
            (Some(price), Some(_)) => quote_call(models, prompt, price, &terms.prices)?,
            (None, None) => {
                self.quotes_of(models, prompt, Some(terms.model.as_str()), output, &terms.prices)?
            }
            _ => return Err(PaidRequestError::AnotherRequest.into()),
        };
        let covered = covered(&quoted.quotes, session.deposit.to_msats())?;
        Ok((quoted, covered))
    }

    /// The session that a proof pays from, if its payment has arrived and can be used.
    async fn arrived(&self, paid: &PaidRequest) -> Result<Session, EngineError> {
        let stored = self.core.ports.store.session(paid.session).await?;
        let session = stored.ok_or_else(|| EngineError::not_found("payment", &paid.payment_hash))?;
        let Some(session) = self.reported(session, paid.payment_hash).await? else {
            return Err(PaidRequestError::NotArrived.into());
        };
        match session.check_active() {
            Ok(()) => Ok(session),
            Err(_ended) => Err(self.ended(&session).await?.into()),
        }
    }

    /// A session, once the payment of its deposit is reported, whose preimage somebody has shown; `None` if it is not for a while.
    pub(super) async fn reported(
        &self,
        mut session: Session,
        deposit: PaymentHash,
    ) -> Result<Option<Session>, EngineError> {
        let until = Instant::now() + ARRIVAL_PATIENCE;
        while is_awaited(&session) {
            // The wallet is asked for a payment that it has not reported, at most once a second; also long after its invoice has
            // expired: the proof shows that somebody has paid.
            self.payments.check_proven(deposit).await?;
            session = self.view(session.id).await?.session;
            if !is_awaited(&session) {
                break;
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            sleep(ARRIVAL_INTERVAL).await;
        }
        Ok(Some(session))
    }

    /// Why a payment that has arrived cannot be used any more.
    async fn ended(&self, session: &Session) -> Result<PaidRequestError, EngineError> {
        if !matches!(session.state, SessionState::Closed(_)) {
            return Ok(PaidRequestError::Expired);
        }
        let request = self.request_of_payment(session.id).await?;
        let is_call = session.kind.one_request().is_some_and(|one| one.terms.call.is_some());
        Ok(match request {
            Some(request) if request.cost().is_some() => PaidRequestError::Used,
            // Its server is gone.
            Some(request) if is_call && is_abandoned(&request) => PaidRequestError::Lost,
            _ => PaidRequestError::Returned,
        })
    }
}

/// How a paid request begins.
enum BegunPaid {
    Running(Box<Running>),
    Replayed(KeyedResponse),
}

/// The most of the price that the work may cost. It is all of it, unless the operator has made the model dearer meanwhile, and then the
/// answer may be cut; but what cannot even begin for it is not done.
fn covered(quotes: &MeteredQuotes, price: Msats) -> Result<Msats, PaidRequestError> {
    let most = quotes.work.tokens.max_output;
    let least = quotes.limit_of(most.min(1)).map_err(|_| PaidRequestError::Outpriced)?;
    if least > price { Err(PaidRequestError::Outpriced) } else { Ok(price) }
}

/// Why a paid request was refused when it was to begin.
fn refusal(refused: CommitError, session: &Session) -> NotBegun {
    let price = session.deposit.to_msats();
    match refused {
        CommitError::Refused(Refusal::RequestInProgress) => NotBegun::Runs,
        // Its hold is swept soon, and then it is known that it has ended.
        CommitError::Refused(Refusal::CallLost) => PaidRequestError::Lost.into(),
        // It has ended a moment ago: that is read anew.
        CommitError::Refused(Refusal::Session(SessionError::NotActive(_))) => NotBegun::Runs,
        CommitError::Refused(
            Refusal::IdempotencyKeyReused
            | Refusal::Session(
                SessionError::AnotherRequest | SessionError::Prepaid | SessionError::OneRequestOnly,
            ),
        ) => PaidRequestError::AnotherRequest.into(),
        CommitError::Refused(Refusal::Ledger(LedgerError::Insufficient { available, .. })) => {
            let missing = price.saturating_sub(available);
            PaidRequestError::Short { price, paid: available, missing }.into()
        }
        CommitError::Refused(Refusal::KeyUsage(UsageError::Limit(reached))) => {
            EngineError::KeyLimit(reached).into()
        }
        failure => EngineError::from(failure).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_clock::Timestamp;
    use tithe_ledger::AccountId;
    use tithe_money::Sats;
    use tithe_sessions::{NewSession, SessionId, SessionKind};

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    fn session() -> Session {
        Session::new(NewSession {
            id: SessionId(Uuid::nil()),
            kind: SessionKind::Prepaid,
            deposit: Sats::new(5).unwrap(),
            identity: None,
            webhook: None,
            return_to: None,
            created_at: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn too_little_says_what_is_missing() {
        let account = AccountId::Session(Uuid::nil());
        let insufficient =
            LedgerError::Insufficient { account, needed: msats(5_000), available: msats(4_001) };
        let refused = refusal(CommitError::Refused(Refusal::Ledger(insufficient)), &session());
        let NotBegun::Failed(failure) = refused else { panic!("it does not run") };
        assert_eq!(
            failure.to_string(),
            "paid too little: expected 5000 msat, got 4001 msat, 999 msat are missing; what was paid can be claimed back"
        );
    }

    #[test]
    fn what_runs_or_has_just_ended_is_looked_at_again() {
        let closed = SessionError::NotActive(tithe_sessions::StateName::Closed);
        for refused in [Refusal::RequestInProgress, Refusal::Session(closed)] {
            assert!(matches!(refusal(CommitError::Refused(refused), &session()), NotBegun::Runs));
        }
    }
}
