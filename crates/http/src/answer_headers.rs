//! Headers that say what an answer cost, and who gave it.

use actix_web::http::header::HeaderName;

/// The backend that did the work.
pub(crate) static X_TITHE_BACKEND: HeaderName = HeaderName::from_static("x-tithe-backend");

/// The id of the request.
pub(crate) static X_GENERATION_ID: HeaderName = HeaderName::from_static("x-generation-id");

/// The balance of the session, in millisats.
pub(crate) static X_TITHE_BALANCE_MSATS: HeaderName = HeaderName::from_static("x-tithe-balance-msats");

/// The price of the answer, in millisats, whoever pays for it.
pub(crate) static X_TITHE_COST_MSATS: HeaderName = HeaderName::from_static("x-tithe-cost-msats");
