//! How messages are stored.

use std::time::Duration;

use messages::{QueueConfig, Volume};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::millis;

/// How messages are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Queue {
    /// Milliseconds that a message for a connected device waits for its acknowledgement before it is written to
    /// disk. Longer saves writes, and lets a sender wait longer whose recipient has stopped answering in time; those after it
    /// do not wait.
    pub(crate) grace_ms: u64,
    /// Milliseconds that deletions wait to be written together, or for the next message to be written. What waits when the
    /// server is killed is delivered again.
    pub(crate) delete_linger_ms: u64,
    /// Bytes of messages that may wait for the disk; beyond it senders are asked to try again.
    pub(crate) pending_bytes_max: usize,
    /// Hours that a message waits to be fetched before it is forgotten.
    pub(crate) lifetime_hours: u64,
    /// Messages that may wait for one account, all its devices together; beyond it senders are asked to try again
    /// later. Nothing that was accepted is dropped to make room.
    pub(crate) account_messages_max: u64,
    /// Bytes of messages that may wait for one account, all its devices together.
    pub(crate) account_bytes_max: u64,
}

impl Default for Queue {
    fn default() -> Self {
        let QueueConfig { grace, delete_linger, pending_bytes_max, lifetime, account_max } =
            QueueConfig::default();
        Self {
            grace_ms: millis(grace),
            delete_linger_ms: millis(delete_linger),
            pending_bytes_max,
            lifetime_hours: lifetime.as_secs() / 3600,
            account_messages_max: account_max.envelopes,
            account_bytes_max: account_max.bytes,
        }
    }
}

impl Queue {
    /// As the queue takes it.
    pub(crate) fn to_queue(&self) -> QueueConfig {
        QueueConfig {
            grace: Duration::from_millis(self.grace_ms),
            delete_linger: Duration::from_millis(self.delete_linger_ms),
            pending_bytes_max: self.pending_bytes_max,
            lifetime: Duration::from_secs(self.lifetime_hours.saturating_mul(3600)),
            account_max: Volume { envelopes: self.account_messages_max, bytes: self.account_bytes_max },
        }
    }

    /// What makes no sense.
    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        check(self.grace_ms <= 10_000, "queue.grace_ms: must be at most 10000");
        check(self.delete_linger_ms <= 10_000, "queue.delete_linger_ms: must be at most 10000");
        check(self.pending_bytes_max >= 1 << 20, "queue.pending_bytes_max: must be at least 1048576");
        check(self.lifetime_hours >= 1, "queue.lifetime_hours: must be at least 1");
        check(self.account_messages_max >= 100, "queue.account_messages_max: must be at least 100");
        check(self.account_bytes_max >= 1 << 20, "queue.account_bytes_max: must be at least 1048576");
    }
}
