//! The HTTP server.

use crate::limits::RepeatedRefusals;
use crate::problem::{Code, Problem};
use crate::routes::docs::Documents;
use crate::routes::mcp::AllowedOrigins;
use crate::sent_reader::SentReader;
use crate::state::AppState;
use crate::{access_log, limits, mounted, routes, telemetry};
use actix_cors::{Cors, CorsError};
use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, Version, header};
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, Error, HttpServer, ResponseError};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::mounts::Mount;

/// The settings of the HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// The number of worker threads.
    pub workers: usize,
    /// The origins that browsers may call from, as browsers write them. An empty list allows any origin.
    pub cors_origins: Vec<String>,
    /// The time that a stopping server waits for running requests.
    pub shutdown_timeout: Duration,
    /// How long an idle connection is kept open. It should outlive that of a load balancer in front, or the balancer may send a
    /// request on a connection that is being closed.
    pub keep_alive: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            workers: 2,
            cors_origins: Vec::new(),
            shutdown_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
        }
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
    let (workers, keep_alive) = (settings.workers.max(1), settings.keep_alive);
    let limits = state.limits.clone();
    limits.prepare(&listener)?;
    let connections = limits.connections_of_worker(workers);
    let refusals = Data::new(RepeatedRefusals::default());
    state.engine.sessions.read_sent_with(Arc::new(SentReader::new(&state)));
    let documents = Data::new(Documents::new(&state.mounts));
    let origins = Data::new(AllowedOrigins::new(settings.cors_origins.clone()));
    let server = HttpServer::new(move || {
        let optional = routes::OptionalRoutes {
            dev: state.test_payer.is_some(),
            admin: state.admin_token.is_some(),
            metrics: state.metrics.is_some(),
        };
        App::new()
            .app_data(Data::new(state.clone()))
            .app_data(Data::new(state.limits.clone()))
            .app_data(refusals.clone())
            .app_data(documents.clone())
            .app_data(origins.clone())
            .app_data(web::PathConfig::default().error_handler(|wrong, _| {
                Problem::new(Code::InvalidField, format!("invalid path: {wrong}")).into()
            }))
            .wrap(from_fn(limits::middleware))
            .wrap(cors(&settings.cors_origins, &state.mounts))
            .wrap(from_fn(preflight_problems))
            .wrap(
                DefaultHeaders::new()
                    .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                    .add((header::X_FRAME_OPTIONS, "DENY"))
                    .add((header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"))
                    .add((header::REFERRER_POLICY, "no-referrer")),
            )
            .wrap(from_fn(last_responses))
            .wrap(from_fn(access_log::middleware))
            .wrap(from_fn(telemetry::middleware))
            // Outermost, so that waiting is no part of how long the request took.
            .wrap(from_fn(limits::slow_down))
            .configure(more.clone())
            .configure(mounted::configure(&state.mounts))
            .configure(routes::configure(optional))
    });
    Ok(server
        .workers(workers)
        .max_connections(connections)
        .keep_alive(keep_alive)
        .tcp_nodelay(true)
        // A client that closes its side has left, also while there is nothing to write to it: what waits for it is dropped, and the work
        // of a stream ends. Other servers and proxies do the same (hyper by default, nginx).
        .h1_allow_half_closed(false)
        .on_connect(move |io, extensions| limits.connected(io, extensions))
        .shutdown_timeout(shutdown_seconds)
        .disable_signals()
        .listen(listener)?
        .run())
}

/// Ends the connection after the response where it must: an HTTP/1.0 client knows no chunks, so the end of the connection ends a body
/// whose length is not known; and no connection is kept by a server that is about to stop, so that none is idle when it stops: a
/// request that a proxy sends on an idle connection while it is being closed is lost.
async fn last_responses(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    let is_old = request.version() < Version::HTTP_11;
    let mut response = next.call(request).await?;
    let state = response.request().app_data::<Data<AppState>>();
    let is_last = state.is_some_and(|state| state.leaving.is_cancelled() || state.draining.is_cancelled());
    let head = response.response_mut().head_mut();
    if is_old {
        head.no_chunking(true);
    }
    if is_old || is_last {
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response)
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

/// Which origins may call from a browser, and with which methods: those of the server's own routes, and those of mounted ones.
fn cors(origins: &[String], mounts: &[Arc<Mount>]) -> Cors {
    let own = ["GET", "HEAD", "POST", "DELETE", "OPTIONS"];
    let mounted = mounts.iter().flat_map(|mount| &mount.methods).map(|method| method.as_str());
    let cors = Cors::default()
        .allowed_methods(own.into_iter().chain(mounted))
        // Every SDK adds headers of its own.
        .allow_any_header()
        .expose_headers([
            "Idempotency-Replayed",
            "Link",
            "Location",
            "Payment-Receipt",
            "Preference-Applied",
            "Retry-After",
            "Request-Id",
            "WWW-Authenticate",
            "X-Generation-Id",
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
