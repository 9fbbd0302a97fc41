//! What becomes of devices that are not used.

use std::time::Duration;

use auth::idle::IdlePolicy;
use gateway::GatewayConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Fewest days after which something of somebody's goes: a holiday must not be enough.
const IDLE_DAYS_MIN: u64 = 14;

const DAY_SECS: u64 = 24 * 60 * 60;

/// What becomes of devices that are not used.
#[expect(clippy::struct_field_names, reason = "the unit stands last in every key")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Devices {
    /// Days for which a primary device has not been seen until its linked devices are told to remind their owner
    /// of it. 0: they are never told.
    pub(crate) primary_idle_days: u64,
    /// The same, until they are told that it is urgent; best some days before they are unlinked. 0: they are never
    /// told.
    pub(crate) primary_critical_days: u64,
    /// Days for which a linked device has not been seen until it is unlinked. 0: it never is.
    pub(crate) unlink_days: u64,
    /// Days for which a primary device has not been seen until its linked devices are unlinked. 0: they never are.
    pub(crate) unlink_with_primary_days: u64,
    /// Days for which a primary device has not been seen until its account is deleted, with what waits for it. Only
    /// accounts with a phone number, which can be registered again. 0: it never is.
    pub(crate) delete_account_days: u64,
}

impl Default for Devices {
    fn default() -> Self {
        let GatewayConfig { primary_idle, primary_critical, .. } = GatewayConfig::default();
        Self {
            primary_idle_days: primary_idle.as_secs() / DAY_SECS,
            primary_critical_days: primary_critical.as_secs() / DAY_SECS,
            unlink_days: 45,
            unlink_with_primary_days: 90,
            delete_account_days: 180,
        }
    }
}

impl Devices {
    /// When linked devices are told of an idle primary, as the gateway takes it.
    pub(super) fn alerts(&self) -> [Duration; 2] {
        [self.primary_idle_days, self.primary_critical_days]
            .map(|days| days_of(days).unwrap_or(Duration::MAX))
    }

    /// What becomes of devices and accounts.
    pub(crate) fn to_policy(&self) -> IdlePolicy {
        IdlePolicy {
            linked: days_of(self.unlink_days),
            linked_of_primary: days_of(self.unlink_with_primary_days),
            account: days_of(self.delete_account_days),
        }
    }

    /// What makes no sense.
    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        for (name, days) in [
            ("unlink_days", self.unlink_days),
            ("unlink_with_primary_days", self.unlink_with_primary_days),
            ("delete_account_days", self.delete_account_days),
        ] {
            check(
                days == 0 || days >= IDLE_DAYS_MIN,
                &format!("devices.{name}: must be 0 or at least {IDLE_DAYS_MIN}"),
            );
        }
    }
}

/// So many days; nothing for never.
fn days_of(days: u64) -> Option<Duration> {
    (days > 0).then(|| Duration::from_secs(days.saturating_mul(DAY_SECS)))
}
