//! What the audit log keeps.

use std::time::Duration;

use audit::address::AddressPolicy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DAY;

/// What is written down of who came in and what changed: `heliograph audit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audit {
    /// Days that records are kept.
    pub(crate) keep_days: u32,
    /// Bits of IPv4 addresses that are kept: 24 is the network of 256 addresses, 32 all of it, 0 nothing.
    pub(crate) ipv4_bits: u8,
    /// Bits of IPv6 addresses that are kept: 48 is what a provider gives to a site, 128 all of it, 0 nothing.
    pub(crate) ipv6_bits: u8,
}

impl Default for Audit {
    fn default() -> Self {
        let AddressPolicy { v4_bits, v6_bits } = AddressPolicy::default();
        Self { keep_days: 365, ipv4_bits: v4_bits, ipv6_bits: v6_bits }
    }
}

impl Audit {
    /// How long records are kept.
    pub(crate) fn life(&self) -> Duration {
        DAY.saturating_mul(self.keep_days)
    }

    /// How much of an address is kept.
    pub(crate) fn addresses(&self) -> AddressPolicy {
        AddressPolicy { v4_bits: self.ipv4_bits, v6_bits: self.ipv6_bits }
    }

    /// What makes no sense.
    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        check(self.keep_days >= 1, "audit.keep_days: must be at least 1");
        check(self.ipv4_bits <= 32, "audit.ipv4_bits: must be at most 32");
        check(self.ipv6_bits <= 128, "audit.ipv6_bits: must be at most 128");
    }
}
