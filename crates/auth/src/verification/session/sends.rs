//! How often codes were sent, and when the next may be.

use std::time::Duration;

use protocol::ambient::Timestamp;
use serde::{Deserialize, Serialize};

use super::VerificationPolicy;

/// How often and when a transport was used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sends {
    pub(super) count: u8,
    pub(super) last: Option<Timestamp>,
}

impl Sends {
    /// Time until the next one; none when there were as many as there may be.
    pub(super) fn wait(&self, policy: &VerificationPolicy, now: Timestamp) -> Option<Duration> {
        let Some(sent_before) = usize::from(self.count).checked_sub(1) else { return Some(Duration::ZERO) };
        let interval = policy.resend_after.get(sent_before)?;
        Some(self.last.map_or(Duration::ZERO, |last| last.saturating_add(*interval).saturating_since(now)))
    }
}
