//! Offers: how a request that nobody pays for can be paid for by itself.

use crate::PublicUrl;
use crate::credentials::Incoming;
use crate::paid_request::PaidFor;
use crate::problem::Problem;
use crate::sent_request;
use crate::state::AppState;
use crate::wanted::Wanted;
use crate::wire::{NoOfferBody, OfferBody};
use actix_web::HttpRequest;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use std::sync::Arc;
use tithe_engine::jobs::Origin;
use tithe_engine::metered::Prompt;
use tithe_engine::sessions::{
    NewDeposit, NewPaidRequest, OfferedDeposit, OfferedRequest, PaymentSessionError, Sessions,
};
use tithe_engine::{EngineError, PaidRequestError};
use tithe_paywall::l402;
use tithe_paywall::payment::{AcceptPayment, Intent};
use tithe_sessions::SentRequest;
use tithe_trust::NostrPubkey;
use tracing::Instrument;

/// The name of the field of a problem that has the offer.
const OFFER: &str = "offer";

/// The realm of challenges of a server without a public URL.
const REALM: &str = "tithe";

/// A request that can be paid for by itself.
pub(crate) struct Offering {
    prompt: Prompt,
    model: Option<String>,
    max_output_tokens: Option<u64>,
    identity: Option<NostrPubkey>,
    origin: Option<Origin>,
    sent: Option<Arc<SentRequest>>,
    /// What the client accepts of the scheme `Payment`, in its order.
    intents: Vec<Intent>,
}

/// Where a request comes from, for the limits of one customer.
pub(crate) fn origin(state: &AppState, request: &HttpRequest) -> Option<Origin> {
    state.limits.client(request).map(|client| Origin::new(client.to_string()))
}

impl Offering {
    /// What can be offered to whoever sends this request.
    pub(crate) fn new<F>(
        state: &AppState,
        request: &HttpRequest,
        incoming: &Incoming<'_>,
        wanted: &Wanted<F>,
        identity: Option<NostrPubkey>,
    ) -> Self {
        Self {
            prompt: wanted.prompt.clone(),
            model: wanted.model.clone(),
            max_output_tokens: wanted.max_output_tokens,
            identity,
            origin: origin(state, request),
            sent: sent_request::sent(state, request, incoming),
            intents: accepted(request),
        }
    }

    /// Adds an offer to a 402: challenges as headers, and the invoice in the body; or why there is none.
    pub(crate) async fn add_to(self, problem: Problem, paid_for: &PaidFor<'_>, state: &AppState) -> Problem {
        if !problem.is_offerable() {
            return problem;
        }
        let Self { prompt, model, max_output_tokens, identity, origin, sent, intents } = self;
        let digest = paid_for.digest();
        let of = origin.clone();
        let new = NewPaidRequest { prompt, model, max_output_tokens, digest, identity, origin: of, sent };
        let sessions = state.engine.sessions.clone();
        // It is made although the client may leave: the next request of the same finds it.
        let making = state.runtime.spawn(async move { sessions.offer_request(new).await }.in_current_span());
        let made = making.await.unwrap_or(Err(EngineError::Internal));
        // A deposit that nobody would pay is not made.
        let deposit = match &made {
            Ok(offered) if intents.contains(&Intent::Session) => {
                let new = NewDeposit { unit: offered.price, identity, origin };
                deposit(state, new).await.ok().map(|(challenge, _)| challenge)
            }
            _ => None,
        };
        let challenged = made.and_then(|offered| {
            challenges(&state.engine.sessions, &offered, realm(state), (&intents, deposit))
        });
        match challenged {
            Ok((values, body)) => {
                let challenged = values
                    .into_iter()
                    .fold(problem, |problem, value| problem.with_header(WWW_AUTHENTICATE, value));
                challenged.with_extension(OFFER, serde_json::to_value(body).unwrap_or_default())
            }
            Err(failure) => unavailable(problem, &failure),
        }
    }
}

/// What the client accepts of the scheme `Payment` (`draft-httpauth-payment-00`, "Client Payment Preferences"). L402 has no such header.
fn accepted(request: &HttpRequest) -> Vec<Intent> {
    let lines = request.headers().get_all("Accept-Payment").filter_map(|line| line.to_str().ok());
    let lines: Vec<&str> = lines.collect();
    let accepted = AcceptPayment::parse(&lines.join(","));
    accepted.map_or_else(|_| Intent::ALL.to_vec(), |accepted| accepted.select(&Intent::ALL))
}

fn realm(state: &AppState) -> &str {
    state.public_urls.first().map_or(REALM, PublicUrl::host)
}

/// A deposit for a session of the scheme `Payment`, or why there is none now; and its challenge, which is good for using and closing open sessions
/// also without a deposit.
type Deposit = (HeaderValue, Result<OfferedDeposit, EngineError>);

/// A deposit for a session of the scheme `Payment`, and its challenge.
///
/// # Errors
/// [`EngineError::PaymentSession`] if the server has no such sessions.
pub(crate) async fn deposit(state: &AppState, new: NewDeposit) -> Result<Deposit, EngineError> {
    let (sessions, unit) = (state.engine.sessions.clone(), new.unit);
    let making = async move { sessions.offer_deposit(new).await };
    let made = state.runtime.spawn(making.in_current_span()).await.unwrap_or(Err(EngineError::Internal));
    let sessions = &state.engine.sessions;
    let challenge = match &made {
        Ok(offered) => sessions.session_challenge(offered, realm(state))?,
        Err(EngineError::PaymentSession(_)) => return Err(PaymentSessionError::NotOffered.into()),
        Err(_) => sessions.session_challenge_without_deposit(unit, realm(state))?,
    };
    Ok((HeaderValue::try_from(challenge).map_err(|_| EngineError::Internal)?, made))
}

/// Adds the challenge of a session alone to a 402, and its invoice; or says why there is none.
pub(crate) async fn add_deposit(problem: Problem, new: NewDeposit, state: &AppState) -> Problem {
    with_deposit(problem, deposit(state, new).await)
}

/// As [`add_deposit`], with a deposit that was made, or not.
pub(crate) fn with_deposit(problem: Problem, made: Result<Deposit, EngineError>) -> Problem {
    match made {
        Ok((challenge, made)) => {
            let problem = problem.with_header(WWW_AUTHENTICATE, challenge);
            match made {
                Ok(made) => problem.offering(&made.invoice),
                Err(failure) => unavailable(problem, &failure),
            }
        }
        Err(failure) => unavailable(problem, &failure),
    }
}

/// The values of the `WWW-Authenticate` headers, in the order that clients depend on, and the body of the offer. Of the scheme `Payment`, the
/// challenges of the accepted intents.
fn challenges(
    sessions: &Sessions,
    offered: &OfferedRequest,
    realm: &str,
    (intents, deposit): (&[Intent], Option<HeaderValue>),
) -> Result<(Vec<HeaderValue>, OfferBody), EngineError> {
    let token = sessions.l402_token(offered)?;
    let l402 = l402::challenges(&token, &offered.invoice.payment_request);
    let l402 = l402.map_err(|_| EngineError::Internal)?;
    let charge = HeaderValue::try_from(sessions.payment_challenge(offered, realm)?);
    let charge = charge.map_err(|_| EngineError::Internal)?;
    let values = l402.into_iter().map(HeaderValue::try_from);
    let mut values: Vec<_> = values.collect::<Result<_, _>>().map_err(|_| EngineError::Internal)?;
    for intent in intents {
        match intent {
            Intent::Charge => values.push(charge.clone()),
            // A 402 has at least one challenge of the scheme (`draft-httpauth-payment-00`, "Status Codes").
            Intent::Session if intents.len() == 1 => values.push(deposit.clone().unwrap_or(charge.clone())),
            Intent::Session => values.extend(deposit.clone()),
        }
    }
    Ok((values, OfferBody::new(offered, &token)?))
}

/// A 402 without an offer is a 402 all the same.
fn unavailable(problem: Problem, failure: &EngineError) -> Problem {
    let unavailable = match failure {
        EngineError::TooManyUnpaid
        | EngineError::TooManyUnpaidOfYours { .. }
        | EngineError::NoWallet
        | EngineError::NoPrice(_)
        | EngineError::NoBackend
        | EngineError::UpstreamFailed(_)
        | EngineError::PaidRequest(PaidRequestError::BeingPaid)
        | EngineError::Busy => failure.to_string(),
        // Agents would read what is wrong with the request as a reason to shorten it.
        _ => "no invoice can be made for this request now; open a session instead".to_owned(),
    };
    problem.with_extension(OFFER, serde_json::to_value(NoOfferBody { unavailable }).unwrap_or_default())
}
