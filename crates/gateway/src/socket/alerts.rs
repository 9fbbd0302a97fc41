//! What a device is told when it connects, in the header `X-Signal-Alert`.

use auth::Authenticated;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::door::Door;

const ALERT: HeaderName = HeaderName::from_static("x-signal-alert");

/// The primary device has not been seen for long; linked devices go with it one day.
const IDLE_PRIMARY: HeaderValue = HeaderValue::from_static("idle-primary-device");

/// That day is near.
const CRITICAL_IDLE_PRIMARY: HeaderValue = HeaderValue::from_static("critical-idle-primary-device");

/// The alerts for a caller, as headers of the answer to its upgrade. Callers that do not say who they are get
/// none: clients take one for an error there.
pub(super) async fn of(door: &Door, identity: Option<Authenticated>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(device) = identity.filter(|device| !device.device_id.is_primary())
        && let Some(alert) = idle_primary(door, device).await
    {
        headers.insert(ALERT, alert);
    }
    headers
}

async fn idle_primary(door: &Door, device: Authenticated) -> Option<HeaderValue> {
    let (parts, config) = (door.services().parts(), door.config());
    match parts.accounts.primary_last_seen(device.aci).await {
        Ok(seen) => {
            let unseen = parts.clock.now().saturating_since(seen?);
            if unseen > config.primary_critical {
                Some(CRITICAL_IDLE_PRIMARY)
            } else {
                (unseen > config.primary_idle).then_some(IDLE_PRIMARY)
            }
        }
        Err(error) => {
            // A reminder can wait for the next connection.
            tracing::warn!(error = &error as &dyn std::error::Error, "a device was not told its alerts");
            None
        }
    }
}
