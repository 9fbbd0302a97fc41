//! How long sender certificates are good for.

use std::time::Duration;

use auth::sender_certificate::LIFETIME_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DAY;

/// The server's word on who a sender is, which recipients of sealed messages check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SenderCertificates {
    /// Days a certificate is good for. Certificates cannot be taken back: longer lets a device that was removed
    /// go on as one of the account, shorter makes clients fetch more often. At most 30.
    pub(crate) lifetime_days: u32,
}

impl Default for SenderCertificates {
    fn default() -> Self {
        Self { lifetime_days: 7 }
    }
}

impl SenderCertificates {
    /// How long a certificate is good for.
    pub(crate) fn lifetime(&self) -> Duration {
        DAY.saturating_mul(self.lifetime_days)
    }

    /// What makes no sense.
    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        check(
            self.lifetime_days > 0 && self.lifetime() <= LIFETIME_MAX,
            "sender_certificates.lifetime_days: must be from 1 to 30",
        );
    }
}
