//! Requests that wait until there is something to answer, or until their patience is at its end.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use http::{Method, StatusCode, request::Parts};
use serde::Deserialize;

use crate::reply::Refusal;

/// What all of them begin with.
pub(crate) const PATHS: [&str; 3] =
    ["/v1/devices/wait_for_linked_device/", "/v1/devices/transfer_archive", "/v1/devices/restore_account/"];

/// And those that are all of their path.
pub(crate) const NATIVE_PATHS: [&str; 2] = ["/messages", "/devices/link-code"];

/// The longest a client may ask to wait.
pub(crate) const PATIENCE_MAX: Duration = Duration::from_hours(1);

/// How long those wait that do not say.
const PATIENCE: Duration = Duration::from_secs(30);

/// There is nothing yet; whoever is still interested asks again.
pub(crate) const NOTHING_YET: StatusCode = StatusCode::NO_CONTENT;

/// Whether that request is one of them.
pub(crate) fn is_one(method: &Method, path: &str) -> bool {
    method == Method::GET
        && (NATIVE_PATHS.contains(&path) || PATHS.iter().any(|prefix| path.starts_with(prefix)))
}

/// How long a client wants to wait: `timeout`, 1 to 3600 seconds. Anything else is answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience(pub(crate) Duration);

#[derive(Deserialize)]
struct PatienceQuery {
    timeout: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Patience {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let refused = Refusal::new(StatusCode::BAD_REQUEST, "the timeout is not from 1 to 3600 seconds");
        let Query(query) =
            Query::<PatienceQuery>::from_request_parts(parts, state).await.map_err(|_| refused)?;
        let Some(text) = query.timeout else { return Ok(Self(PATIENCE)) };
        let seconds = text.parse().ok().filter(|seconds| (1..=PATIENCE_MAX.as_secs()).contains(seconds));
        seconds.map(|seconds| Self(Duration::from_secs(seconds))).ok_or(refused)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    async fn patience(query: &str) -> Option<u64> {
        let (mut parts, ()) = Request::builder().uri(format!("/a{query}")).body(()).unwrap().into_parts();
        Patience::from_request_parts(&mut parts, &()).await.ok().map(|patience| patience.0.as_secs())
    }

    #[tokio::test]
    async fn patience_has_bounds() {
        for (query, expected) in [
            ("", Some(30)),
            ("?timeout=1", Some(1)),
            ("?timeout=3600", Some(3600)),
            ("?timeout=0", None),
            ("?timeout=3601", None),
            ("?timeout=-1", None),
            ("?timeout=", None),
            ("?timeout=x", None),
        ] {
            assert_eq!(patience(query).await, expected, "{query}");
        }
    }

    #[test]
    fn only_waiting_requests_may_take_long() {
        assert!(is_one(&Method::GET, "/v1/devices/wait_for_linked_device/AAAA"));
        assert!(is_one(&Method::GET, "/v1/devices/transfer_archive"));
        assert!(is_one(&Method::GET, "/v1/devices/restore_account/AAAA"));
        assert!(!is_one(&Method::PUT, "/v1/devices/wait_for_linked_device/AAAA"));
        assert!(!is_one(&Method::GET, "/v1/devices"));
        assert!(is_one(&Method::GET, "/messages") && !is_one(&Method::GET, "/messages/1"));
        assert!(is_one(&Method::GET, "/devices/link-code") && !is_one(&Method::GET, "/devices/1"));
    }
}
