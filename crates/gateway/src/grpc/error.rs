//! gRPC errors as official clients read them: a status with a `google.rpc.ErrorInfo` whose reason decides.

use std::{collections::HashMap, time::Duration};

use protocol::ambient::StorageError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::reply::log_storage;

/// Only reasons of this domain are read.
const DOMAIN: &str = "grpc.chat.signal.org";

/// The credentials are wrong, or were revoked.
pub(crate) fn invalid_credentials() -> Status {
    with_reason(Code::Unauthenticated, "INVALID_CREDENTIALS", ErrorDetails::new())
}

/// Credentials where there must be none, or none where there must be.
pub(crate) fn bad_authentication() -> Status {
    with_reason(Code::InvalidArgument, "BAD_AUTHENTICATION", ErrorDetails::new())
}

/// A field breaks a rule.
pub(crate) fn constraint_violated(field: &'static str, rule: &'static str) -> Status {
    let details = ErrorDetails::with_bad_request_violation(field, rule);
    with_reason(Code::InvalidArgument, "CONSTRAINT_VIOLATED", details)
}

/// A rate limit has been reached.
pub(crate) fn rate_limited(retry_after: Duration) -> Status {
    with_reason(
        Code::ResourceExhausted,
        "RESOURCE_EXHAUSTED",
        ErrorDetails::with_retry_info(Some(retry_after)),
    )
}

/// The server cannot do it now.
pub(crate) fn unavailable() -> Status {
    with_reason(Code::Unavailable, "UNAVAILABLE", ErrorDetails::new())
}

/// What the storage failing means to a caller.
pub(crate) fn storage(error: &StorageError) -> Status {
    log_storage(error);
    match error {
        StorageError::Unavailable(_) | StorageError::Full => unavailable(),
        StorageError::Corrupt { .. } => Status::internal(""),
    }
}

fn with_reason(code: Code, reason: &'static str, mut details: ErrorDetails) -> Status {
    details.set_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, "", details)
}
