//! The page that Prometheus reads, on a listener of its own.

use crate::problem::{Code, Problem};
use actix_web::dev::Server;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, guard};
use std::net::TcpListener;
use std::sync::Arc;

/// The type of the text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// How many connections the listener serves at once.
const CONNECTIONS_MAX: usize = 64;

/// Makes the page that Prometheus reads: all metrics as they are now, in its text format.
#[derive(Clone)]
pub struct MetricsPage(Arc<dyn Fn() -> String + Send + Sync>);

impl MetricsPage {
    /// A page that `render` makes.
    pub fn new(render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(render))
    }

    /// The page as a response. It is made on a thread that may take its time.
    pub(crate) async fn response(&self) -> Result<HttpResponse, Problem> {
        let render = Arc::clone(&self.0);
        let page = web::block(move || render()).await;
        let page = page.map_err(|_| Problem::new(Code::Busy, "the metrics could not be read"))?;
        let mut response = HttpResponse::Ok();
        Ok(response.content_type(TEXT_FORMAT).insert_header((CACHE_CONTROL, "no-store")).body(page))
    }
}

/// Serves the page, and nothing else, on a listener of its own. Must be called within an actix system.
///
/// # Errors
/// Returns the operating system's error if the listener cannot be used.
pub fn serve_metrics(listener: TcpListener, page: MetricsPage) -> std::io::Result<Server> {
    let server = HttpServer::new(move || {
        let get = guard::Any(guard::Get()).or(guard::Head());
        App::new()
            .app_data(Data::new(page.clone()))
            .route("/metrics", web::route().guard(get).to(metrics))
            .default_service(web::to(nothing_here))
    });
    let server = server.workers(1).max_connections(CONNECTIONS_MAX).disable_signals();
    Ok(server.listen(listener)?.run())
}

async fn metrics(page: Data<MetricsPage>) -> Result<HttpResponse, Problem> {
    page.response().await
}

async fn nothing_here(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path: String = request.path().chars().take(200).collect();
    Err(Problem::new(Code::NotFound, format!("unknown path: expected /metrics, got {path}")))
}
