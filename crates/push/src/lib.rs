//! Waking devices that are away: Web Push, Google's and Apple's services.
//!
//! [`PushService`] is told which device is to be woken, looks up where a push reaches it ([`targets`]), and has the
//! [`Provider`] of that kind of token deliver it. When a device is woken, how often, and when it is tried again is
//! not decided here but by whoever tells this service; it answers whether it is worth trying again, and when.
//!
//! A push says that something is waiting, how urgent that is, and nothing else: no sender, no content, no number
//! of messages. A challenge carries the secret that only the device is to see.
//!
//! Each provider is one folder: the protocol in pure functions (what to send, what an answer means), and beside
//! them the little that does I/O. Tokens are secrets; nothing here logs or prints them.

pub mod apns;
pub mod fcm;
pub mod lanes;
pub mod metrics;
pub mod provider;
pub mod recovery;
pub mod targets;
pub mod wake_log;
pub mod web_push;

mod jwt;
mod retry_after;
mod service;

pub use metrics::PushMetrics;
pub use provider::{Challenge, Delivery, Provider, Push, Verdict};
pub use recovery::{Recovery, Rewake};
pub use service::{Offer, Outcome, Providers, PushParts, PushService, RegisterError, TestError};
pub use targets::{PushTarget, PushTargets};
pub use wake_log::{Unwoken, WakeLog};

/// What a failure to have any answer means.
pub(crate) fn unreachable(error: &outgoing::SendError) -> Delivery {
    use outgoing::SendError;
    let verdict = match error {
        SendError::Forbidden => Verdict::Refused,
        SendError::Unreachable(_) | SendError::TimedOut | SendError::Broken(_) | SendError::Unusable(_) => {
            Verdict::Unavailable { retry_after: None }
        }
    };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Delivery::new(verdict, format!("{error}{cause}"))
}
