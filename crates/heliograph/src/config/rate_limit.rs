//! A rate limit that differs from its default.

use std::time::Duration;

use limits::{Limit, LimitId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimit {
    /// Permits in a full bucket.
    pub(crate) size: u64,
    /// Milliseconds in which one permit comes back; 0 switches the limit off.
    pub(crate) interval_ms: f64,
}

impl RateLimit {
    /// As limits take it.
    pub(super) fn to_limit(self) -> Limit {
        Limit {
            size: self.size,
            interval: Duration::try_from_secs_f64(self.interval_ms / 1000.0).unwrap_or_default(),
        }
    }

    /// What makes no sense in the limit of that name.
    pub(super) fn check(&self, name: &str, check: &mut impl FnMut(bool, &str)) {
        check(name.parse::<LimitId>().is_ok(), &format!("limits.{name}: there is no such limit"));
        check(self.size > 0, &format!("limits.{name}.size: must be at least 1"));
        let interval = self.interval_ms.is_finite() && self.interval_ms >= 0.0;
        check(interval, &format!("limits.{name}.interval_ms: must not be negative"));
    }
}
