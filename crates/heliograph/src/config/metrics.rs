//! What is counted.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is counted, for monitoring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Metrics {
    /// Address and port, such as "127.0.0.1:9464", where GET /metrics answers in OpenMetrics text and GET /health
    /// whether requests are taken. Plain HTTP without a password: not for the public. Empty: nowhere.
    pub(crate) listen: String,
}

impl Metrics {
    /// Where to listen, if anywhere. Text that is no address was refused when reading.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }

    /// What makes no sense.
    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        check(
            self.listen.is_empty() || self.address().is_some(),
            "metrics.listen: must be an address and a port, such as 127.0.0.1:9464",
        );
    }
}
