//! The routes.

pub(crate) mod dev;
pub(crate) mod estimate;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod identity;
pub(crate) mod invoices;
pub(crate) mod jobs;
pub(crate) mod pool;
pub(crate) mod problems;

use crate::problem::{Code, Problem};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource, Route, guard};
use tithe_engine::EngineError;
use tithe_lightning::PaymentHash;
use tithe_money::MoneyError;
use tracing::error;

/// All routes. The dev routes exist only where `dev` says so.
pub(crate) fn configure(dev: bool) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config
            .service(readable("/api/estimate", read().to(estimate::estimate)))
            .service(resource("/api/jobs", web::post().to(jobs::create), "POST"))
            .service(readable("/api/jobs/{job_id}", read().to(jobs::read)))
            .service(resource("/api/jobs/{job_id}/events", web::get().to(events::events), "GET"))
            .service(resource("/api/identity/challenge", web::post().to(identity::challenge), "POST"))
            .service(resource("/api/identity/verify", web::post().to(identity::verify), "POST"))
            .service(readable("/api/identity/me", read().to(identity::me)))
            .service(readable("/api/pool", read().to(pool::read)))
            .service(readable("/api/invoices/{payment_hash}", read().to(invoices::read)))
            .service(readable("/problems/{name}", read().to(problems::read)))
            .service(readable("/healthz", read().to(health::alive)))
            .service(readable("/readyz", read().to(health::ready)));
        if dev {
            config.service(resource("/dev/stub/pay/{payment_hash}", web::post().to(dev::pay), "POST"));
        }
        config.default_service(web::to(nothing_here));
    }
}

/// What is read with GET can be asked about with HEAD (RFC 9110, section 9.1).
fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

fn readable(path: &str, route: Route) -> Resource {
    resource(path, route, "GET, HEAD")
}

fn resource(path: &str, route: Route, allowed: &'static str) -> Resource {
    let other = move |request: HttpRequest| async move {
        Err::<HttpResponse, _>(Problem::method(request.method().as_str(), allowed))
    };
    web::resource(path).route(route).default_service(web::to(other))
}

async fn nothing_here(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path: String = request.path().chars().take(200).collect();
    Err(Problem::new(Code::NotFound, format!("there is nothing at {path}; /docs lists what there is")))
}

/// The payment hash in a path.
fn payment_hash(text: &str) -> Result<PaymentHash, Problem> {
    text.parse().map_err(|wrong| Problem::field("paymentHash", wrong))
}

/// An amount that cannot be written is a bug, and not the client's business.
fn written<T>(body: Result<T, MoneyError>) -> Result<T, Problem> {
    body.map_err(|failure| {
        error!(%failure, "an answer cannot be written");
        Problem::from(EngineError::Internal)
    })
}
