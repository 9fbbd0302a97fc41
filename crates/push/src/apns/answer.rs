//! What Apple's answers mean.

use outgoing::Answer;
use protocol::ambient::Timestamp;
use serde::Deserialize;

use crate::{
    provider::{Delivery, Verdict},
    retry_after::retry_after,
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    reason: String,
    /// Milliseconds; with 410 alone.
    timestamp: Option<u64>,
}

fn problem(answer: &Answer) -> Problem {
    serde_json::from_slice(answer.body()).unwrap_or_default()
}

/// Whether it is our token that Apple takes for too old.
pub(super) fn says_expired(answer: &Answer) -> bool {
    answer.status().as_u16() == 403 && problem(answer).reason == "ExpiredProviderToken"
}

/// What the answer means.
pub(super) fn read(answer: &Answer) -> Delivery {
    let status = answer.status().as_u16();
    let Problem { reason, timestamp } = problem(answer);
    let verdict = match (status, reason.as_str()) {
        (200, _) => Verdict::Accepted,
        (410, _) => Verdict::Unregistered { since: timestamp.map(Timestamp::from_millis) },
        (400, "BadDeviceToken" | "DeviceTokenNotForTopic" | "MissingDeviceToken") => {
            Verdict::Unregistered { since: None }
        }
        (400, "IdleTimeout") | (500..=599, _) => Verdict::Unavailable { retry_after: retry_after(answer) },
        // It will be renewed as soon as Apple lets us.
        (403, "ExpiredProviderToken") | (429, "TooManyProviderTokenUpdates") => {
            Verdict::Unavailable { retry_after: retry_after(answer) }
        }
        (403, _) => Verdict::Unauthorized,
        (429, _) => Verdict::Slower { retry_after: retry_after(answer) },
        _ => Verdict::Refused,
    };
    // What Apple calls a reason is a word; anything else does not belong in a log.
    let word = reason.len() <= 64 && reason.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let reason = if word { reason.as_str() } else { "?" };
    Delivery::new(verdict, format!("{status} {reason}").trim_end())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn verdict(status: u16, body: &'static str) -> Verdict {
        let answer = http::Response::builder().status(status).body(Bytes::from_static(body.as_bytes()));
        read(&answer.unwrap()).verdict
    }

    #[test]
    fn every_documented_answer_means_something() {
        let unavailable = Verdict::Unavailable { retry_after: None };
        let gone = Verdict::Unregistered { since: None };
        for (status, reason, meaning) in [
            (400, "BadCollapseId", Verdict::Refused),
            (400, "BadDeviceToken", gone),
            (400, "BadExpirationDate", Verdict::Refused),
            (400, "BadMessageId", Verdict::Refused),
            (400, "BadPriority", Verdict::Refused),
            (400, "BadTopic", Verdict::Refused),
            (400, "DeviceTokenNotForTopic", gone),
            (400, "DuplicateHeaders", Verdict::Refused),
            (400, "IdleTimeout", unavailable),
            (400, "InvalidPushType", Verdict::Refused),
            (400, "MissingDeviceToken", gone),
            (400, "MissingTopic", Verdict::Refused),
            (400, "PayloadEmpty", Verdict::Refused),
            (400, "TopicDisallowed", Verdict::Refused),
            (403, "BadCertificate", Verdict::Unauthorized),
            (403, "BadCertificateEnvironment", Verdict::Unauthorized),
            (403, "ExpiredProviderToken", unavailable),
            (403, "Forbidden", Verdict::Unauthorized),
            (403, "InvalidProviderToken", Verdict::Unauthorized),
            (403, "MissingProviderToken", Verdict::Unauthorized),
            (403, "UnrelatedKeyIdInToken", Verdict::Unauthorized),
            (403, "BadEnvironmentKeyIdInToken", Verdict::Unauthorized),
            (404, "BadPath", Verdict::Refused),
            (405, "MethodNotAllowed", Verdict::Refused),
            (410, "ExpiredToken", gone),
            (410, "Unregistered", gone),
            (413, "PayloadTooLarge", Verdict::Refused),
            (429, "TooManyProviderTokenUpdates", unavailable),
            (429, "TooManyRequests", Verdict::Slower { retry_after: None }),
            (500, "InternalServerError", unavailable),
            (503, "ServiceUnavailable", unavailable),
            (503, "Shutdown", unavailable),
        ] {
            let body: &'static str = format!(r#"{{"reason":"{reason}"}}"#).leak();
            assert_eq!(verdict(status, body), meaning, "{status} {reason}");
        }
        assert_eq!(verdict(200, ""), Verdict::Accepted);
        let since = Some(Timestamp::from_millis(1_700_000_000_123));
        assert_eq!(
            verdict(410, r#"{"reason":"Unregistered","timestamp":1700000000123}"#),
            Verdict::Unregistered { since }
        );
    }

    #[test]
    fn what_cannot_be_read_is_judged_by_its_status() {
        assert_eq!(verdict(502, "<html>"), Verdict::Unavailable { retry_after: None });
        assert_eq!(verdict(302, ""), Verdict::Refused);
        let answer = http::Response::builder().status(503).header("retry-after", "7").body(Bytes::new());
        let retry_after = Some(Duration::from_secs(7));
        assert_eq!(read(&answer.unwrap()).verdict, Verdict::Unavailable { retry_after });
        let answer =
            http::Response::builder().status(400).body(Bytes::from_static(br#"{"reason":"a token: 00aa"}"#));
        assert_eq!(read(&answer.unwrap()).answer, "400 ?");
    }
}
