//! What the gateway counts.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// What is open, and what was turned away. Cheap to clone; a clone counts the same.
#[derive(Clone, Debug, Default)]
pub struct GatewayMetrics {
    /// Connections that are open, websockets included.
    pub connections: Gauge,
    /// Connections closed at once because too many were open.
    pub connections_refused: Counter,
    /// Websockets that are open.
    pub sockets: Gauge,
}

/// Counts something as open until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl GatewayMetrics {
    /// Makes everything counted readable there.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Connections that are open", self.connections.clone());
        registry.register(
            "connections_refused",
            "Connections closed at once because too many were open",
            self.connections_refused.clone(),
        );
        registry.register("sockets", "Websockets that are open", self.sockets.clone());
    }
}

impl Open {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
