//! The HTTP server.

use crate::openapi;
use crate::problem::{Code, Problem};
use crate::state::AppState;
use crate::{access_log, routes};
use actix_cors::{Cors, CorsError};
use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, Error, HttpServer, ResponseError};
use std::net::TcpListener;
use std::time::Duration;
use utoipa_swagger_ui::SwaggerUi;

/// The settings of the HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// The number of worker threads.
    pub workers: usize,
    /// The origins that browsers may call from. An empty list allows any origin.
    pub cors_origins: Vec<String>,
    /// The time that a stopping server waits for running requests.
    pub shutdown_timeout: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { workers: 2, cors_origins: Vec::new(), shutdown_timeout: Duration::from_secs(10) }
    }
}

/// Serves on `listener` until it is stopped. Must be called within an actix system.
///
/// # Errors
/// Returns the operating system's error if the listener cannot be used.
pub fn serve(listener: TcpListener, state: AppState, settings: HttpSettings) -> std::io::Result<Server> {
    serve_with(listener, state, settings, |_| {})
}

/// Like [`serve`], with additional routes behind the same middleware, for services that embed Tithe and for benchmarks.
///
/// # Errors
/// Returns the operating system's error if the listener cannot be used.
pub fn serve_with(
    listener: TcpListener,
    state: AppState,
    settings: HttpSettings,
    more: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> std::io::Result<Server> {
    let shutdown_seconds = settings.shutdown_timeout.as_secs();
    let workers = settings.workers;
    let server = HttpServer::new(move || {
        let dev = state.test_payer.is_some();
        App::new()
            .app_data(Data::new(state.clone()))
            .app_data(web::PathConfig::default().error_handler(|wrong, _| {
                Problem::new(Code::InvalidField, format!("invalid path: {wrong}")).into()
            }))
            .wrap(cors(&settings.cors_origins))
            .wrap(from_fn(preflight_problems))
            .wrap(
                DefaultHeaders::new()
                    .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                    .add((header::REFERRER_POLICY, "no-referrer")),
            )
            .wrap(from_fn(access_log::middleware))
            .service(SwaggerUi::new("/docs/{_:.*}").url("/openapi.json", openapi::document()))
            .service(web::redirect("/docs", "/docs/"))
            .configure(more.clone())
            .configure(routes::configure(dev))
    });
    Ok(server
        .workers(workers)
        .tcp_nodelay(true)
        .shutdown_timeout(shutdown_seconds)
        .disable_signals()
        .listen(listener)?
        .run())
}

/// Turns CORS rejections, which are plain text, into problem responses.
async fn preflight_problems(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    let response = next.call(request).await?;
    let refused = response.response().error().and_then(|failure| failure.as_error::<CorsError>());
    Ok(match refused.map(|refused| Problem::field("preflight", refused)) {
        Some(problem) => response.into_response(problem.error_response()).map_into_right_body(),
        None => response.map_into_left_body(),
    })
}

fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
        .allowed_headers([
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "Last-Event-ID",
            "X-Nostr-Token",
            "X-Install-Id",
            "X-License",
        ])
        .expose_headers([
            "Idempotency-Replayed",
            "Payment-Receipt",
            "Retry-After",
            "WWW-Authenticate",
            "X-Nostr-Token",
            "X-Request-Id",
            "X-Tithe-Backend",
            "X-Tithe-Balance-Msats",
            "X-Tithe-Cost-Msats",
        ])
        .max_age(3_600);
    if origins.is_empty() {
        return cors.allow_any_origin().send_wildcard();
    }
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}
