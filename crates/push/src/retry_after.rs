//! How long a provider wants to be left alone.

use std::time::Duration;

use http::header::RETRY_AFTER;
use outgoing::Answer;

/// The longest wait that is taken from anybody: a wrong answer must not silence a provider for good.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(6);

/// What `Retry-After` says in seconds. Its other form, a date, no provider uses.
pub(crate) fn retry_after(answer: &Answer) -> Option<Duration> {
    let value = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
