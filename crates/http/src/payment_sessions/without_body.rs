//! `GET` and `HEAD` on the metered routes, and on mounted ones without such a method. Clients of sessions ask for a challenge this way, top up
//! and close: they have no request to be done.

use super::manage::{managed, new_deposit};
use crate::credentials::Incoming;
use crate::offers;
use crate::problem::{Code, Problem};
use crate::state::AppState;
use actix_web::http::Method;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse};
use tithe_engine::EngineError;
use tithe_engine::sessions::PaymentSessionError;

/// Answers a request whose method is not that of the route, which has the `allowed` ones.
pub(crate) async fn without_body(
    state: &AppState,
    request: &HttpRequest,
    allowed: &str,
) -> Result<HttpResponse, Problem> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Problem::method(request.method().as_str(), allowed));
    }
    let wrong_method = || Problem::method_without_request(request.method().as_str(), allowed);
    if let Some(response) = managed(state, request).await? {
        return Ok(response);
    }
    // Whoever pays has a request to be done.
    if request.headers().contains_key(AUTHORIZATION) {
        return Err(wrong_method());
    }
    Incoming::without_body(request)?.identify(state)?;
    state.refuse_while_draining()?;
    let detail = "payment required: expected a request by another method, or a credential that tops a session up or \
        closes it";
    let problem = Problem::new(Code::PaymentRequired, detail).about_payment_session(request.uri().path());
    let offered = match offers::deposit(state, new_deposit(state, request)).await {
        Err(EngineError::PaymentSession(PaymentSessionError::NotOffered)) => return Err(wrong_method()),
        made => offers::with_deposit(problem, made),
    };
    // Clients of open sessions come for a challenge each time: they are not slowed down as those who never pay.
    Err(offered.private())
}
