//! Finding out who pays for a request, and having it done.

use crate::answering::{AnswerFormat, Answering};
use crate::credentials::{Caller, Incoming};
use crate::idempotency::{self, Begun};
use crate::limits::{Payer, UnpaidRequest};
use crate::problem::{self, Problem};
use crate::state::AppState;
use crate::wire::CreditsBody;
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;
use tithe_engine::asks::{NewAsk, RenderAsk};
use tithe_engine::credits::PresentedInstall;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::jobs::Origin;
use tithe_engine::metered::Prompt;
use tithe_engine::sessions::{NewWork, RenderRequest, SessionAccess};
use tithe_engine::{Engine, EngineError, PaymentNeeded};
use tithe_ledger::credits::InstallId;
use uuid::Uuid;

/// A request that is to be done for whoever pays for it.
pub(crate) struct Wanted<F> {
    /// The id of the request; `None` lets the engine choose one.
    pub(crate) id: Option<Uuid>,
    /// What is asked of the model.
    pub(crate) prompt: Prompt,
    /// The model; `None` means the operator's choice.
    pub(crate) model: Option<String>,
    /// The most output wanted, in tokens.
    pub(crate) max_output_tokens: Option<u64>,
    /// Whether the answer is sent as it is generated.
    pub(crate) is_stream: bool,
    /// Renders what is stored of an answer that a session pays for.
    pub(crate) of_session: Arc<dyn RenderRequest>,
    /// Renders what is stored of an answer that an install's plan includes, or that the pool pays for.
    pub(crate) of_others: Arc<dyn RenderAsk>,
    /// What the responses look like.
    pub(crate) format: F,
    /// The problem for a failure of the engine.
    pub(crate) problem: fn(EngineError) -> Problem,
}

/// Has a request done for the first of these who pays: a session, the plan of an install, the pool. Whatever credentials the request
/// carries must all be valid.
pub(crate) async fn have_done<F: AnswerFormat>(
    state: &AppState,
    request: &HttpRequest,
    incoming: &Incoming<'_>,
    key: Option<idempotency::Key>,
    wanted: Wanted<F>,
) -> Result<HttpResponse, Problem> {
    let session = incoming.session(state)?;
    let install = incoming.install(state)?;
    if let Some(access) = session {
        // Other credentials beside the macaroon must be valid.
        incoming.identify(state)?;
        check_licence(state, install).await?;
        return for_session(state, request, access, key, wanted).await;
    }
    let hash = wanted.prompt.hash();
    state.refuse_while_draining()?;
    let id = install.as_ref().map(|install| install.id);
    let (caller, key) = match idempotency::begin_of_payer(incoming, key, id, state).await? {
        Begun::New(caller, key) => (caller, key),
        Begun::Answered(keyed) => return Ok(replayed(wanted, keyed)),
    };
    let Caller { identity, signature } = caller;
    let payer = id.map(InstallId::uuid).or_else(|| {
        // Half of a public key is as distinct as an id.
        identity.and_then(|identity| Uuid::from_slice(identity.to_bytes().get(..16)?).ok())
    });
    let Wanted { id, prompt, model, max_output_tokens, is_stream, of_others, format, problem, .. } = wanted;
    let (answering, client) = Answering::new(state, request, payer, is_stream, F::is_sent)?;
    let origin = state.limits.client(request).map(|client| Origin::new(client.to_string()));
    let presented = install.clone();
    let new = NewAsk { id, install, identity, signature, origin, prompt, model, max_output_tokens, client };
    let engine = Arc::clone(&state.engine);
    let work = async move {
        match engine.asks.ask(new, key.map(|key| *key), of_others).await {
            Err(EngineError::PaymentNeeded(needed)) => Err(unpaid(&engine, needed, presented).await),
            done => done.map_err(problem),
        }
    };
    let payer = payer.map_or_else(|| Payer::Unknown(state.limits.client(request)), Payer::Known);
    let answered = answering.with(state, format, work).await;
    answered.map_err(|problem| problem.if_unpaid(UnpaidRequest { payer, hash }))
}

/// Has a request done and charges it to a session.
pub(crate) async fn for_session<F: AnswerFormat>(
    state: &AppState,
    request: &HttpRequest,
    access: SessionAccess,
    key: Option<idempotency::Key>,
    wanted: Wanted<F>,
) -> Result<HttpResponse, Problem> {
    let key = key.map(|key| key.in_scope(access.scope()));
    state.refuse_while_draining()?;
    let Wanted { id, prompt, model, max_output_tokens, is_stream, of_session, format, problem, .. } = wanted;
    let (answering, client) = Answering::new(state, request, Some(access.session.0), is_stream, F::is_sent)?;
    let session = access.session;
    let unpaid = UnpaidRequest { payer: Payer::Known(session.0), hash: prompt.hash() };
    let least = state.engine.settings().session_payment_min;
    let new = NewWork { id, access, prompt, model, max_output_tokens, client };
    let sessions = state.engine.sessions.clone();
    let work = async move {
        let failure = match sessions.request(new, key, of_session).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let EngineError::InsufficientBalance { required, available } = failure else {
            return Err(problem(failure).about_session(session, least));
        };
        let offered = sessions.offer_top_up(session, required.saturating_sub(available)).await;
        let problem = problem(failure).about_session(session, least);
        Err(offered.iter().fold(problem, Problem::offering))
    };
    answering.with(state, format, work).await.map_err(|problem| problem.if_unpaid(unpaid))
}

fn replayed<F: AnswerFormat>(wanted: Wanted<F>, keyed: KeyedResponse) -> HttpResponse {
    let mut format = wanted.format;
    if wanted.is_stream { format.at_once(keyed) } else { format.whole(keyed) }
}

/// Refuses a licence that was revoked, for a request that somebody else pays for.
async fn check_licence(state: &AppState, install: Option<PresentedInstall>) -> Result<(), Problem> {
    let Some(install) = install.filter(|install| install.licence.is_some()) else { return Ok(()) };
    let credits = state.engine.credits.clone();
    state.run(async move { credits.balance(&install).await }).await.map(|_valid| ())
}

/// The problem that nobody pays for a request, with what the install has left, if its plan is why.
async fn unpaid(engine: &Engine, needed: PaymentNeeded, install: Option<PresentedInstall>) -> Problem {
    let least = engine.settings().session_payment_min.get();
    let required = needed.required.to_sats_rounding_up().map_or(u64::MAX, tithe_money::Sats::get);
    let unpaid = Problem::from(EngineError::PaymentNeeded(needed))
        .with_extension(problem::TOP_UP, problem::deposit(required.max(least)));
    let Some(install) = install.filter(|_| needed.credits.is_some()) else { return unpaid };
    let Ok(left) = engine.credits.balance(&install).await else { return unpaid };
    let credits = serde_json::to_value(CreditsBody::from(&left.balance));
    unpaid.with_extension("credits", credits.unwrap_or_default())
}
