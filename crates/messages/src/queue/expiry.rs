//! Forgetting what nobody fetched in time.
//!
//! A little at a time, with rests that are longer than the work: what is to be forgotten can be millions of
//! envelopes, and nobody waits for it, while senders wait for the writer that does it.

use std::time::Duration;

use protocol::ambient::{StorageError, Timestamp};
use tokio::time::{Instant, sleep};

use super::MessageQueue;
use crate::store::{Position, Volume};

/// Envelopes forgotten at once: some milliseconds of the writer's time.
const BATCH: usize = 256;

/// How long to rest between looks when there was nothing more to forget.
const INTERVAL: Duration = Duration::from_secs(30);

/// Rest for each time that the work took.
const REST_FACTOR: u32 = 4;

/// The shortest rest between two batches.
const REST_MIN: Duration = Duration::from_millis(5);

impl MessageQueue {
    /// Forgets envelopes as their lifetime ends; run it as a task.
    pub async fn run_expiry(&self) {
        loop {
            let began = Instant::now();
            let rest = match self.expire().await {
                Ok(expired) if expired.envelopes >= BATCH as u64 => {
                    (began.elapsed() * REST_FACTOR).max(REST_MIN)
                }
                Ok(_) => INTERVAL,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "messages past their time were not removed"
                    );
                    INTERVAL
                }
            };
            sleep(rest).await;
        }
    }

    /// Forgets one batch of what is past its lifetime.
    pub async fn expire(&self) -> Result<Volume, StorageError> {
        let lifetime = u64::try_from(self.shared.config.lifetime.as_millis()).unwrap_or(u64::MAX);
        let cutoff = self.shared.clock.now().as_millis().saturating_sub(lifetime);
        let up_to = Position::before(Timestamp::from_millis(cutoff));
        let expired = self.shared.store.expire(up_to, BATCH).await?;
        self.shared.metrics.expired.inc_by(expired.envelopes);
        self.shared.metrics.expired_bytes.inc_by(expired.bytes);
        Ok(expired)
    }
}
