//! The shape of the errors of the current request.

use actix_web::http::header::HeaderMap;

tokio::task_local! {
    static CURRENT: Shape;
}

/// The shape of an error's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Problem details (RFC 9457).
    ProblemDetails,
    /// The error object of OpenAI's APIs.
    OpenAi,
    /// The error object of Anthropic's API.
    Anthropic,
}

impl Shape {
    /// The shape that the client of a request reads.
    pub(crate) fn of(path: &str, headers: &HeaderMap) -> Self {
        let Some(route) = path.strip_prefix("/v1/") else { return Self::ProblemDetails };
        let is_messages = route == "messages" || route.starts_with("messages/");
        // Anthropic's clients name the version of the API in every request, also for the list of models.
        if is_messages || headers.contains_key("anthropic-version") { Self::Anthropic } else { Self::OpenAi }
    }

    /// The shape for the current request.
    pub(super) fn current() -> Self {
        CURRENT.try_with(|shape| *shape).unwrap_or(Self::ProblemDetails)
    }

    /// Runs the handling of a request whose errors have this shape.
    pub(crate) async fn scope<T>(self, answering: impl Future<Output = T>) -> T {
        CURRENT.scope(self, answering).await
    }
}
