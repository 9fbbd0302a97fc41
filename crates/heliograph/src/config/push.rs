//! How devices that are away are woken.

use std::{path::PathBuf, time::Duration};

use messages::WakeUpConfig;
use outgoing::AddressPolicy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How devices that are away are woken, whoever delivers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Push {
    /// Milliseconds between two urgent pushes to a device. The limit `wake_ups` bounds how many there are in all.
    pub(crate) urgent_interval_ms: u64,
    /// Minutes from any push to a device to one that is not urgent. Platforms stop delivering what comes more often.
    pub(crate) non_urgent_interval_minutes: u64,
    /// Seconds after a connection that left messages unread until its device is woken for them.
    pub(crate) leave_delay_seconds: u64,
    /// How often a device that was woken and does not come is woken once more. A push can be lost on its way.
    pub(crate) reminders: u8,
    /// Minutes until the first of these; each later one takes four times as long.
    pub(crate) reminder_after_minutes: u64,
    /// Devices to be woken, or woken just now, that are remembered at once, some 300 bytes each. Beyond it the least
    /// urgent are left for later.
    pub(crate) devices_max: usize,
    /// Pushes under way at once.
    pub(crate) calls_max: usize,
    /// PEM file of certificate authorities that push servers may have besides the system's. Empty: none.
    pub(crate) ca_file: PathBuf,
}

impl Default for Push {
    fn default() -> Self {
        let config = WakeUpConfig::default();
        Self {
            urgent_interval_ms: super::millis(config.urgent_interval),
            non_urgent_interval_minutes: config.non_urgent_interval.as_secs() / 60,
            leave_delay_seconds: config.leave_delay.as_secs(),
            reminders: 2,
            reminder_after_minutes: config.reminder_after.as_secs() / 60,
            devices_max: config.devices_max,
            calls_max: 512,
            ca_file: PathBuf::new(),
        }
    }
}

impl Push {
    /// As the queue takes it.
    pub(crate) fn to_wake_ups(&self) -> WakeUpConfig {
        let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
        WakeUpConfig {
            urgent_interval: Duration::from_millis(self.urgent_interval_ms),
            non_urgent_interval: minutes(self.non_urgent_interval_minutes),
            leave_delay: Duration::from_secs(self.leave_delay_seconds),
            devices_max: self.devices_max,
            calls_max: self.calls_max,
            reminders_max: self.reminders,
            reminder_after: minutes(self.reminder_after_minutes),
            ..WakeUpConfig::default()
        }
    }
}

/// Apple's push service, for apps of your own. Switched on by a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApnsSection {
    /// The signing key: the `.p8` file from Apple. Empty: not used.
    pub(crate) key_file: PathBuf,
    /// The key's id.
    pub(crate) key_id: String,
    /// The team's id.
    pub(crate) team_id: String,
    /// The app's bundle id.
    pub(crate) topic: String,
    /// The app is in development: its tokens are good at Apple's sandbox alone.
    pub(crate) sandbox: bool,
    /// Another address to push to, for tests. Empty: Apple's.
    pub(crate) url: String,
}

/// Google's push service, for apps of your own. Switched on by a service account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FcmSection {
    /// The service account: the JSON file from Google's console. Empty: not used.
    pub(crate) service_account_file: PathBuf,
    /// Another address to push to, for tests. Empty: Google's.
    pub(crate) url: String,
}

/// Web Push, which `UnifiedPush` speaks too: pushes by any push server that a device subscribes at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebPushSection {
    /// Whether devices may be reached that way.
    pub(crate) enabled: bool,
    /// How the operators of push servers reach you: `mailto:you@example.org` or an https address. Some refuse pushes
    /// without. Empty: the public address of this server, if it is set.
    pub(crate) contact: String,
    /// Hosts that pushes may go to, such as `ntfy.example.org` or `*.push.services.mozilla.com`. Empty: any.
    pub(crate) allowed_hosts: Vec<String>,
    /// Private networks that pushes may go to, such as `192.168.1.0/24`. Whoever has an account here can make this
    /// server send requests into them.
    pub(crate) allowed_networks: Vec<String>,
}

impl Default for WebPushSection {
    fn default() -> Self {
        Self {
            enabled: true,
            contact: String::new(),
            allowed_hosts: Vec::new(),
            allowed_networks: Vec::new(),
        }
    }
}

impl WebPushSection {
    /// Which addresses pushes may go to. Text that is no network was refused when reading.
    pub(crate) fn addresses(&self) -> AddressPolicy {
        AddressPolicy::with_networks(&self.allowed_networks).unwrap_or_default()
    }
}

/// Tells what makes no sense.
pub(super) fn check(
    push: &Push,
    apns: &ApnsSection,
    fcm: &FcmSection,
    web_push: &WebPushSection,
    check: &mut impl FnMut(bool, &str),
) {
    check(push.devices_max > 0, "push.devices_max: must be at least 1");
    check(push.calls_max > 0, "push.calls_max: must be at least 1");
    check(
        push.reminders == 0 || push.reminder_after_minutes > 0,
        "push.reminder_after_minutes: must be at least 1",
    );
    let named = ![&apns.key_id, &apns.team_id, &apns.topic].iter().any(|text| text.is_empty());
    check(
        apns.key_file.as_os_str().is_empty() || named,
        "apns: key_file, key_id, team_id and topic go together",
    );
    for (key, url) in [("apns.url", &apns.url), ("fcm.url", &fcm.url)] {
        check(url.is_empty() || url.starts_with("https://"), &format!("{key}: must begin with https://"));
    }
    let contact = &web_push.contact;
    check(
        contact.is_empty() || contact.starts_with("mailto:") || contact.starts_with("https://"),
        "web_push.contact: must begin with mailto: or https://",
    );
    if let Err(error) = AddressPolicy::with_networks(&web_push.allowed_networks) {
        check(false, &format!("web_push.allowed_networks: {error}"));
    }
}
