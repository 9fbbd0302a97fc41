//! How answers look on the wire: refusals, and what storage failing means to a caller.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use protocol::ambient::StorageError;
use serde::Serialize;

/// A request that was not granted: a status, a sentence for people, and sometimes when to come back.
///
/// Clients act on the status alone. The sentence never contains what the caller sent, nor the text of an
/// internal error: its cause goes to the log, once, where the refusal is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: Option<&'static str>,
    retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct RefusalBody {
    code: u16,
    message: &'static str,
}

/// The content type of JSON.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Too many requests sent by this caller to that thing; what rate limits answer with.
pub(crate) const TOO_MANY_REQUESTS: StatusCode = StatusCode::TOO_MANY_REQUESTS;

/// How long a caller is asked to wait when the server is out of breath.
const OVERLOAD_WAIT: Duration = Duration::from_secs(1);

impl Refusal {
    /// A refusal without a body.
    pub(crate) const fn bare(status: StatusCode) -> Self {
        Self { status, message: None, retry_after: None }
    }

    /// A refusal that says why.
    pub(crate) const fn new(status: StatusCode, message: &'static str) -> Self {
        Self { status, message: Some(message), retry_after: None }
    }

    /// The request is valid in form but not in meaning.
    pub(crate) const fn invalid(message: &'static str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// A rate limit has been reached.
    pub(crate) const fn rate_limited(retry_after: Duration) -> Self {
        Self { status: TOO_MANY_REQUESTS, message: None, retry_after: Some(retry_after) }
    }

    /// The server cannot keep up just now.
    pub(crate) const fn overloaded() -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, message: None, retry_after: Some(OVERLOAD_WAIT) }
    }
}

/// What the storage failing means to a caller: come back later, unless the data itself is broken.
impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        log_storage(&error);
        match error {
            StorageError::Unavailable(_) | StorageError::Full => Self::bare(StatusCode::SERVICE_UNAVAILABLE),
            StorageError::Corrupt { .. } => Self::bare(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// Tells the log why the storage failed; no caller ever learns it.
pub(crate) fn log_storage(error: &StorageError) {
    let cause = error as &dyn std::error::Error;
    tracing::error!(error = cause, source = cause.source(), "the store failed");
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = match self.message {
            Some(message) => {
                (self.status, Json(RefusalBody { code: self.status.as_u16(), message })).into_response()
            }
            None => self.status.into_response(),
        };
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(limits::RetryAfter(wait).seconds()));
        }
        response
    }
}
