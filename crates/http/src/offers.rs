//! Offers: how a request that nobody pays for can be paid for by itself.

use crate::PublicUrl;
use crate::paid_request::PaidFor;
use crate::problem::Problem;
use crate::state::AppState;
use crate::wanted::Wanted;
use crate::wire::{NoOfferBody, OfferBody};
use actix_web::HttpRequest;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use tithe_engine::EngineError;
use tithe_engine::jobs::Origin;
use tithe_engine::metered::Prompt;
use tithe_engine::sessions::{NewPaidRequest, OfferedRequest, Sessions};
use tithe_paywall::l402;
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
        wanted: &Wanted<F>,
        identity: Option<NostrPubkey>,
    ) -> Self {
        Self {
            prompt: wanted.prompt.clone(),
            model: wanted.model.clone(),
            max_output_tokens: wanted.max_output_tokens,
            identity,
            origin: origin(state, request),
        }
    }

    /// Adds an offer to a 402: challenges as headers, and the invoice in the body; or why there is none.
    pub(crate) async fn add_to(self, problem: Problem, paid_for: &PaidFor<'_>, state: &AppState) -> Problem {
        if !problem.is_offerable() {
            return problem;
        }
        let Self { prompt, model, max_output_tokens, identity, origin } = self;
        let digest = paid_for.digest();
        let new = NewPaidRequest { prompt, model, max_output_tokens, digest, identity, origin };
        let sessions = state.engine.sessions.clone();
        // It is made although the client may leave: the next request of the same finds it.
        let making = state.runtime.spawn(async move { sessions.offer_request(new).await }.in_current_span());
        let made = making.await.unwrap_or(Err(EngineError::Internal));
        let realm = state.public_urls.first().map_or(REALM, PublicUrl::host);
        let challenged = made.and_then(|offered| challenges(&state.engine.sessions, &offered, realm));
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

/// The values of the `WWW-Authenticate` headers, in the order that clients depend on, and the body of the offer.
fn challenges(
    sessions: &Sessions,
    offered: &OfferedRequest,
    realm: &str,
) -> Result<(Vec<HeaderValue>, OfferBody), EngineError> {
    let token = sessions.l402_token(offered)?;
    let l402 = l402::challenges(&token, &offered.invoice.payment_request);
    let l402 = l402.map_err(|_| EngineError::Internal)?;
    let payment = sessions.payment_challenge(offered, realm)?;
    let values = l402.into_iter().chain([payment]).map(HeaderValue::try_from);
    let values = values.collect::<Result<_, _>>().map_err(|_| EngineError::Internal)?;
    Ok((values, OfferBody::new(&offered.invoice, &token)?))
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
        | EngineError::Busy => failure.to_string(),
        // Agents would read what is wrong with the request as a reason to shorten it.
        _ => "no invoice can be made for this request now; open a session instead".to_owned(),
    };
    problem.with_extension(OFFER, serde_json::to_value(NoOfferBody { unavailable }).unwrap_or_default())
}
