//! Request ids, which every response and every log line of the request carry.

use uuid::Uuid;

tokio::task_local! {
    static CURRENT: Uuid;
}

/// The id of the current request.
pub(crate) fn current() -> String {
    CURRENT.try_with(Uuid::to_string).unwrap_or_default()
}

/// Runs the handling of a request with this id as the current one.
pub(crate) async fn scope<T>(id: Uuid, answering: impl Future<Output = T>) -> T {
    CURRENT.scope(id, answering).await
}
