//! What is sent to Apple.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use protocol::ambient::Timestamp;
use serde_json::{Value, json};

use crate::provider::Push;

/// How long Apple keeps a push for a device that is off, as in Signal's service.
pub const LIFETIME: Duration = Duration::from_hours(30 * 24);

/// A later alert takes the place of an earlier one that the device has not seen.
pub const COLLAPSE_ID: &str = "incoming-message";

/// Delivered at once.
const PRIORITY_HIGH: &str = "10";
/// When it suits the battery; the only one that a background push may have.
const PRIORITY_LOW: &str = "5";

/// The request; an error if the token cannot be part of a path.
pub(super) fn request(
    url: &Uri,
    topic: &str,
    bearer: &Bytes,
    token: &str,
    push: &Push,
    now: Timestamp,
) -> Result<Request<Bytes>, http::Error> {
    let kind = Kind::of(push);
    let path =
        format!("{}3/device/{}", url.to_string().trim_end_matches('/').to_owned() + "/", escaped(token));
    let mut authorization = HeaderValue::from_maybe_shared(bearer.clone())?;
    authorization.set_sensitive(true);
    let mut request = Request::post(path)
        .header("authorization", authorization)
        .header("apns-topic", topic)
        .header("apns-push-type", kind.push_type())
        .header("apns-priority", kind.priority())
        .header("apns-expiration", now.saturating_add(LIFETIME).as_secs());
    if let Kind::Alert = kind {
        request = request.header("apns-collapse-id", COLLAPSE_ID);
    }
    request.body(payload(push).to_string().into())
}

/// Apple tells pushes that a person is shown from those that only the app hears of.
#[derive(Clone, Copy)]
enum Kind {
    Alert,
    Background,
}

impl Kind {
    fn of(push: &Push) -> Self {
        match push {
            Push::Wake { urgent: true } => Self::Alert,
            Push::Wake { urgent: false } | Push::Challenge(..) => Self::Background,
        }
    }

    fn push_type(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Background => "background",
        }
    }

    fn priority(self) -> &'static str {
        match self {
            Self::Alert => PRIORITY_HIGH,
            Self::Background => PRIORITY_LOW,
        }
    }
}

fn payload(push: &Push) -> Value {
    match push {
        // Mutable: the app's extension fetches what is waiting and writes the notification itself.
        Push::Wake { urgent: true } => json!({
            "aps": { "sound": "default", "mutable-content": 1, "alert": { "loc-key": "APN_Message" } },
        }),
        Push::Wake { urgent: false } => json!({ "aps": { "content-available": 1 } }),
        Push::Challenge(challenge, secret) => {
            json!({ "aps": { "content-available": 1 }, challenge.key(): secret.as_str() })
        }
    }
}

/// Tokens are hexadecimal; whatever else a client has sent must not become another path.
fn escaped(token: &str) -> String {
    let mut out = String::with_capacity(token.len());
    for byte in token.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            out.push(byte.into());
        } else {
            // Writing to a text does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Challenge, ChallengeSecret};

    fn sent(push: &Push, token: &str) -> Request<Bytes> {
        let url = "https://api.push.apple.com".parse().unwrap();
        let bearer = Bytes::from_static(b"bearer x");
        request(&url, "org.example.app", &bearer, token, push, Timestamp::from_millis(1_000)).unwrap()
    }

    fn headers(request: &Request<Bytes>) -> Vec<(&str, &str)> {
        let headers = request.headers().iter().filter(|(name, _)| *name != "authorization");
        headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    #[test]
    fn an_urgent_wake_up_is_an_alert_without_content() {
        let request = sent(&Push::Wake { urgent: true }, "00aa");
        assert_eq!(request.uri(), "https://api.push.apple.com/3/device/00aa");
        assert_eq!(
            headers(&request),
            [
                ("apns-topic", "org.example.app"),
                ("apns-push-type", "alert"),
                ("apns-priority", "10"),
                ("apns-expiration", "2592001"),
                ("apns-collapse-id", "incoming-message"),
            ]
        );
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let aps = json!({"alert": {"loc-key": "APN_Message"}, "mutable-content": 1, "sound": "default"});
        assert_eq!(body, json!({ "aps": aps }));
    }

    #[test]
    fn others_are_silent() {
        let request = sent(&Push::Wake { urgent: false }, "00aa");
        assert_eq!(headers(&request)[1..3], [("apns-push-type", "background"), ("apns-priority", "5")]);
        assert_eq!(request.body(), r#"{"aps":{"content-available":1}}"#);
        let secret = ChallengeSecret::new("ab12");
        let request = sent(&Push::Challenge(Challenge::RateLimit, secret.clone()), "00aa");
        assert_eq!(headers(&request)[1], ("apns-push-type", "background"));
        assert_eq!(request.body(), r#"{"aps":{"content-available":1},"rateLimitChallenge":"ab12"}"#);
        let request = sent(&Push::Challenge(Challenge::Registration, secret), "00aa");
        assert_eq!(request.body(), r#"{"aps":{"content-available":1},"challenge":"ab12"}"#);
    }

    #[test]
    fn a_token_cannot_become_another_path() {
        let request = sent(&Push::Wake { urgent: true }, "../x?y#\u{e4}");
        assert_eq!(request.uri(), "https://api.push.apple.com/3/device/%2E%2E%2Fx%3Fy%23%C3%A4");
    }
}
