//! What the service counts. Nothing counted names a person, a device or a push server.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use protocol::PushService as Service;

use crate::provider::Verdict;

/// From a millisecond to some eight seconds.
const DURATION_BUCKETS: u16 = 14;

/// What became of pushes. Cheap to clone; a clone counts the same.
#[derive(Clone, Debug)]
pub struct PushMetrics {
    delivered: Family<DeliveryLabels, Counter>,
    duration: Family<ServiceLabel, Histogram, fn() -> Histogram>,
    /// Tokens removed because their provider says that they reach nobody.
    pub removed: Counter,
    /// Wake-ups of devices that no configured provider reaches.
    pub unreachable: Counter,
    /// Wake-ups put off because a provider failed, or was busy.
    pub postponed: Counter,
    /// Wake-ups put off because the device had too many.
    pub limited: Counter,
    /// Devices woken after a start, or after wake-ups were dropped.
    pub recovered: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabel {
    provider: ProviderName,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    provider: ProviderName,
    outcome: OutcomeName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ProviderName(Service);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct OutcomeName(&'static str);

impl EncodeLabelValue for ProviderName {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> std::fmt::Result {
        let name = match self.0 {
            Service::Apns => "apns",
            Service::Fcm => "fcm",
            Service::WebPush => "web_push",
        };
        name.encode(encoder)
    }
}

impl EncodeLabelValue for OutcomeName {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> std::fmt::Result {
        self.0.encode(encoder)
    }
}

impl Default for PushMetrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram =
            || Histogram::new(exponential_buckets(0.001, 2.0, DURATION_BUCKETS));
        Self {
            delivered: Family::default(),
            duration: Family::new_with_constructor(histogram),
            removed: Counter::default(),
            unreachable: Counter::default(),
            postponed: Counter::default(),
            limited: Counter::default(),
            recovered: Counter::default(),
        }
    }
}

impl PushMetrics {
    /// Makes everything counted readable there.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "delivered",
            "Pushes handed to providers, by what they said",
            self.delivered.clone(),
        );
        let help = "Time until a provider answered";
        registry.register_with_unit("delivery", help, Unit::Seconds, self.duration.clone());
        for (name, help, counter) in [
            ("tokens_removed", "Tokens removed because they reach nobody any more", &self.removed),
            ("unreachable", "Wake-ups of devices that no configured provider reaches", &self.unreachable),
            ("postponed", "Wake-ups put off because a provider failed or was busy", &self.postponed),
            ("limited", "Wake-ups put off because the device had too many", &self.limited),
            ("recovered", "Devices woken for what a crash or a full queue had dropped", &self.recovered),
        ] {
            registry.register(name, help, counter.clone());
        }
    }

    pub(crate) fn note(&self, provider: Service, verdict: Verdict, took: Duration) {
        let outcome = match verdict {
            Verdict::Accepted => "accepted",
            Verdict::Unregistered { .. } => "unregistered",
            Verdict::Slower { .. } => "slower",
            Verdict::Refused => "refused",
            Verdict::Unauthorized => "unauthorized",
            Verdict::Unavailable { .. } => "unavailable",
        };
        let provider = ProviderName(provider);
        self.delivered.get_or_create(&DeliveryLabels { provider, outcome: OutcomeName(outcome) }).inc();
        self.duration.get_or_create(&ServiceLabel { provider }).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_can_be_read() {
        let metrics = PushMetrics::default();
        let mut registry = Registry::with_prefix("push");
        metrics.register(&mut registry);
        metrics.note(Service::WebPush, Verdict::Accepted, Duration::from_millis(3));
        metrics.removed.inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"push_delivered_total{provider="web_push",outcome="accepted"} 1"#,
            r#"push_delivery_seconds_count{provider="web_push"} 1"#,
            "push_tokens_removed_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
