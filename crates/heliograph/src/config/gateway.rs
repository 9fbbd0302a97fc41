//! What a client can make the server hold.

use std::time::Duration;

use gateway::GatewayConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{devices::Devices, millis};

/// What a client can make the server hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Gateway {
    /// Connections at once; more are closed at once. Each needs a file descriptor (`ulimit -n`).
    pub(crate) connections_max: usize,
    /// Milliseconds for a TLS handshake. Too short locks out slow phones.
    pub(crate) handshake_timeout_ms: u64,
    /// Milliseconds for the head of a request, also for the next one on an idle HTTP/1.1 connection.
    pub(crate) head_timeout_ms: u64,
    /// Milliseconds for a request as a whole.
    pub(crate) request_timeout_ms: u64,
    /// Milliseconds of silence after which a websocket is closed. Clients ping every 31 seconds.
    pub(crate) socket_idle_timeout_ms: u64,
}

impl Default for Gateway {
    fn default() -> Self {
        let GatewayConfig {
            connections_max,
            handshake_timeout,
            head_timeout,
            request_timeout,
            socket_idle_timeout,
            ..
        } = GatewayConfig::default();
        Self {
            connections_max,
            handshake_timeout_ms: millis(handshake_timeout),
            head_timeout_ms: millis(head_timeout),
            request_timeout_ms: millis(request_timeout),
            socket_idle_timeout_ms: millis(socket_idle_timeout),
        }
    }
}

impl Gateway {
    /// What the gateway is told, what it must know of devices with it.
    pub(super) fn to_gateway(&self, devices: &Devices) -> GatewayConfig {
        let Self {
            connections_max,
            handshake_timeout_ms,
            head_timeout_ms,
            request_timeout_ms,
            socket_idle_timeout_ms,
        } = *self;
        let [primary_idle, primary_critical] = devices.alerts();
        GatewayConfig {
            connections_max,
            handshake_timeout: Duration::from_millis(handshake_timeout_ms),
            head_timeout: Duration::from_millis(head_timeout_ms),
            request_timeout: Duration::from_millis(request_timeout_ms),
            socket_idle_timeout: Duration::from_millis(socket_idle_timeout_ms),
            primary_idle,
            primary_critical,
            ..GatewayConfig::default()
        }
    }

    /// What makes no sense.
    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        check(self.connections_max > 0, "gateway.connections_max: must be at least 1");
        check(self.handshake_timeout_ms >= 100, "gateway.handshake_timeout_ms: must be at least 100");
        check(self.head_timeout_ms >= 100, "gateway.head_timeout_ms: must be at least 100");
        check(self.request_timeout_ms >= 1000, "gateway.request_timeout_ms: must be at least 1000");
        check(
            self.socket_idle_timeout_ms >= 45_000,
            "gateway.socket_idle_timeout_ms: must be at least 45000, for clients ping every 31 seconds",
        );
    }
}
