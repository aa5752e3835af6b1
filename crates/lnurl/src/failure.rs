//! The reasons why there is no invoice, as the port has them.

use crate::excerpt::excerpt;
use tithe_payouts::AddressError;
use tithe_public_http::{RefusedUrl, RequestError, StatusCode};

pub(crate) fn refused(reason: impl Into<String>) -> AddressError {
    AddressError::Refused { reason: reason.into() }
}

pub(crate) fn unavailable(reason: impl Into<String>) -> AddressError {
    AddressError::Unavailable { reason: reason.into() }
}

/// What the service says it refuses, in an excerpt of its own words.
pub(crate) fn service_reason(reason: &str) -> String {
    match excerpt(reason).as_str() {
        "" => "the service refused without a reason".to_owned(),
        words => format!("the service refused: {words:?}"),
    }
}

pub(crate) fn host_refused(refused_url: RefusedUrl) -> AddressError {
    refused(format!("the host is not allowed: {refused_url}"))
}

pub(crate) fn callback_refused(refused_url: RefusedUrl) -> AddressError {
    refused(format!("the callback of the service is not allowed: {refused_url}"))
}

/// A URL that is refused in the course of a request is that of a redirect, or its name resolves to private addresses.
pub(crate) fn request_failed(failure: RequestError) -> AddressError {
    match failure {
        RequestError::Refused(url) => host_refused(url),
        // The source is about the connection and means nothing to a customer.
        other => unavailable(format!("no usable response from the service: {other}")),
    }
}

pub(crate) fn unexpected_status(status: StatusCode) -> AddressError {
    unavailable(format!("no usable response from the service: unexpected status {}", status.as_u16()))
}
