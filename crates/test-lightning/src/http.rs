//! A small HTTP server, which can also fail.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::LightningError;
use crate::fault::Fault;
use crate::loopback::Loopback;

/// A request.
pub type HttpRequest = Request<Incoming>;

/// A response.
pub type HttpResponse = hyper::Response<Full<Bytes>>;

/// The connection is closed without a response.
#[derive(Debug, thiserror::Error)]
#[error("injected fault: the response was lost")]
struct Lost;

/// Starts a server on a free loopback port. `fault` decides which requests fail.
pub async fn serve<F>(
    fault: impl Fn(&HttpRequest) -> Option<Fault> + Send + Sync + 'static,
    answer: impl Fn(HttpRequest) -> F + Send + Sync + 'static,
) -> Result<Loopback, LightningError>
where
    F: Future<Output = HttpResponse> + Send + 'static,
{
    let (fault, answer) = (Arc::new(fault), Arc::new(answer));
    Loopback::serve(move |stream| connection(stream, Arc::clone(&fault), Arc::clone(&answer))).await
}

async fn connection<F>(
    stream: TcpStream,
    fault: Arc<impl Fn(&HttpRequest) -> Option<Fault> + Send + Sync + 'static>,
    answer: Arc<impl Fn(HttpRequest) -> F + Send + Sync + 'static>,
) where
    F: Future<Output = HttpResponse> + Send + 'static,
{
    let service = service_fn(move |request| {
        let (fault, answer) = (fault(&request), Arc::clone(&answer));
        async move {
            match fault {
                None => Ok(answer(request).await),
                Some(fault) => fail(fault, answer(request)).await,
            }
        }
    });
    // An error is a client that has left, or a response that we have lost.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

/// Does what the fault says. The answer is only worked out if the fault comes after it.
async fn fail(fault: Fault, answer: impl Future<Output = HttpResponse>) -> Result<HttpResponse, Lost> {
    if fault.carries_out() {
        answer.await;
    }
    match fault {
        Fault::RequestLost | Fault::ResponseLost => Err(Lost),
        Fault::RequestIgnored | Fault::ResponseWithheld => std::future::pending().await,
        Fault::Refused(status) | Fault::FailedAfterwards(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(text(status, "injected fault"))
        }
        Fault::Garbled => Ok(text(StatusCode::OK, "<html>gateway</html>")),
    }
}

/// A response of plain text.
pub fn text(status: StatusCode, body: &str) -> HttpResponse {
    respond(status, HeaderValue::from_static("text/plain; charset=UTF-8"), body.to_owned())
}

/// A response of JSON.
pub fn json(body: &impl serde::Serialize) -> HttpResponse {
    match serde_json::to_string_pretty(body) {
        Ok(body) => respond(StatusCode::OK, HeaderValue::from_static("application/json"), body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn respond(status: StatusCode, kind: HeaderValue, body: String) -> HttpResponse {
    let mut response = HttpResponse::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The text of a header.
pub fn header(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

/// The fields of a form, or of a query.
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The fields of the request's query.
    pub fn of_query(request: &HttpRequest) -> Self {
        Self::parse(request.uri().query().unwrap_or_default().as_bytes())
    }

    /// The fields of the request's body, which is read.
    pub async fn of_form(request: HttpRequest) -> Self {
        let body = request.into_body().collect().await;
        Self::parse(&body.map(http_body_util::Collected::to_bytes).unwrap_or_default())
    }

    fn parse(bytes: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}
