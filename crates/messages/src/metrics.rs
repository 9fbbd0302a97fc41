//! What the service counts. Nothing counted names a person, an account or a device.

use prometheus_client::{
    metrics::{
        counter::Counter,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// Messages per commit, from 1 to the most a commit takes.
const COMMIT_BUCKETS: u16 = 12;

/// What became of messages. Cheap to clone; a clone counts the same.
#[derive(Clone, Debug)]
pub struct MessageMetrics {
    /// Copies of messages whose senders were told that they are accepted.
    pub accepted: Counter,
    /// Copies that their devices have acknowledged.
    pub acknowledged: Counter,
    /// Of those, how many were acknowledged before they would have been written to disk.
    pub elided: Counter,
    /// Delivery receipts queued.
    pub receipts: Counter,
    /// Copies deleted because nobody fetched them in time.
    pub expired: Counter,
    /// Their bytes.
    pub expired_bytes: Counter,
    /// Copies refused because the queues of their account were full.
    pub refused_full: Counter,
    /// Copies refused because the disk did not keep up.
    pub refused_overload: Counter,
    /// Devices connected to read their queue.
    pub readers: Gauge,
    /// Messages per commit; their number and sum are those of commits and of messages written.
    pub commit_messages: Histogram,
    /// Reports of spam that count.
    pub reports: Counter,
    /// Reports without the token of a message, which do not.
    pub reports_refused: Counter,
    /// What became of wake-ups.
    pub wake_ups: WakeUpMetrics,
}

/// What became of wake-ups. Every one requested, tried again or coming as a reminder is coalesced, cancelled,
/// dropped, sent, or still to be sent.
#[derive(Clone, Debug, Default)]
pub struct WakeUpMetrics {
    /// Times that something was found to be waiting for a device that is not connected.
    pub requested: Counter,
    /// Of those, how many found that the device was to be woken already.
    pub coalesced: Counter,
    /// Called off because the device connected.
    pub cancelled: Counter,
    /// Handed to the waker.
    pub sent: Counter,
    /// Of those, how many failed.
    pub failed: Counter,
    /// Wake-ups that are tried again because they failed.
    pub retried: Counter,
    /// Wake-ups sent because a device that was told has not come.
    pub reminded: Counter,
    /// Given up because too many devices were to be woken.
    pub dropped: Counter,
    /// Devices that may be woken once before their interval is over, because there was no room to remember
    /// that they had been woken.
    pub forgotten: Counter,
}

impl Default for MessageMetrics {
    fn default() -> Self {
        Self {
            accepted: Counter::default(),
            acknowledged: Counter::default(),
            elided: Counter::default(),
            receipts: Counter::default(),
            expired: Counter::default(),
            expired_bytes: Counter::default(),
            refused_full: Counter::default(),
            refused_overload: Counter::default(),
            readers: Gauge::default(),
            commit_messages: Histogram::new(exponential_buckets(1.0, 2.0, COMMIT_BUCKETS)),
            reports: Counter::default(),
            reports_refused: Counter::default(),
            wake_ups: WakeUpMetrics::default(),
        }
    }
}

impl MessageMetrics {
    /// Makes everything counted readable there.
    pub fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            ("accepted", "Copies of messages accepted", &self.accepted),
            ("acknowledged", "Copies acknowledged by their devices", &self.acknowledged),
            ("elided", "Copies acknowledged before they were written to disk", &self.elided),
            ("receipts", "Delivery receipts queued", &self.receipts),
            ("expired", "Copies deleted because nobody fetched them in time", &self.expired),
            ("refused_full", "Copies refused because an account's queues were full", &self.refused_full),
            ("refused_overload", "Copies refused because the disk did not keep up", &self.refused_overload),
            ("reports", "Reports of spam that count", &self.reports),
            ("reports_refused", "Reports of spam without a message's token", &self.reports_refused),
        ] {
            registry.register(name, help, counter.clone());
        }
        let help = "Bytes deleted because nobody fetched them in time";
        registry.register_with_unit("expired", help, Unit::Bytes, self.expired_bytes.clone());
        registry.register("readers", "Devices connected to read their queue", self.readers.clone());
        registry.register("commit_messages", "Messages per commit", self.commit_messages.clone());
        self.wake_ups.register(registry.sub_registry_with_prefix("wake_ups"));
    }

    /// A commit has made that many messages durable.
    pub fn note_commit(&self, messages: usize) {
        if let Some(messages) = u32::try_from(messages).ok().filter(|messages| *messages > 0) {
            self.commit_messages.observe(messages.into());
        }
    }
}

impl WakeUpMetrics {
    fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            ("requested", "Times that something waited for a device that is away", &self.requested),
            ("coalesced", "Requests that found the device was to be woken already", &self.coalesced),
            ("cancelled", "Wake-ups called off because the device connected", &self.cancelled),
            ("sent", "Wake-ups handed to the push service", &self.sent),
            ("failed", "Wake-ups sent that took too long or failed", &self.failed),
            ("retried", "Wake-ups tried again because they failed", &self.retried),
            ("reminded", "Wake-ups sent again because the device did not come", &self.reminded),
            ("dropped", "Wake-ups given up because too many devices were to be woken", &self.dropped),
            ("forgotten", "Devices that may be woken early, for want of memory", &self.forgotten),
        ] {
            registry.register(name, help, counter.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_can_be_read() {
        let metrics = MessageMetrics::default();
        let mut registry = Registry::with_prefix("messages");
        metrics.register(&mut registry);
        metrics.accepted.inc_by(3);
        metrics.expired_bytes.inc_by(1000);
        metrics.readers.inc();
        metrics.note_commit(0);
        metrics.note_commit(5);
        metrics.wake_ups.sent.inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "messages_accepted_total 3",
            "messages_expired_total 0",
            "messages_expired_bytes_total 1000",
            "messages_readers 1",
            "messages_commit_messages_sum 5.0",
            "messages_commit_messages_count 1",
            "messages_wake_ups_sent_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
