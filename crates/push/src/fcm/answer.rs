//! What Google's answers mean.

use outgoing::Answer;
use serde::Deserialize;

use crate::{
    provider::{Delivery, Verdict},
    retry_after::retry_after,
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    error: Problem,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    status: String,
    details: Vec<Detail>,
}

/// Details are of several types; each has one of these.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail {
    error_code: String,
    field_violations: Vec<FieldViolation>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FieldViolation {
    field: String,
}

/// What the answer means.
pub(super) fn read(answer: &Answer) -> Delivery {
    let status = answer.status().as_u16();
    let Body { error } = serde_json::from_slice(answer.body()).unwrap_or_default();
    let code = error.details.iter().map(|detail| detail.error_code.as_str()).find(|code| !code.is_empty());
    let code = code.unwrap_or(&error.status);
    let about_token = || {
        let mut violations = error.details.iter().flat_map(|detail| &detail.field_violations);
        violations.any(|violation| violation.field == "message.token")
    };
    let verdict = match (status, code) {
        (200, _) => Verdict::Accepted,
        (404, "UNREGISTERED") | (403, "SENDER_ID_MISMATCH") => Verdict::Unregistered { since: None },
        // What else is in the request is always the same, and has been taken before.
        (400, "INVALID_ARGUMENT") if about_token() => Verdict::Unregistered { since: None },
        // "QUOTA_EXCEEDED" may be of the project or of the device; a device is slowed down in either case.
        (429, _) => Verdict::Slower { retry_after: retry_after(answer) },
        (401 | 403, _) => Verdict::Unauthorized,
        (500..=599, _) => Verdict::Unavailable { retry_after: retry_after(answer) },
        _ => Verdict::Refused,
    };
    let word = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let code = if word { code } else { "?" };
    Delivery::new(verdict, format!("{status} {code}").trim_end())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn said(status: u16, body: &str) -> Delivery {
        let body = Bytes::from(body.to_owned());
        read(&http::Response::builder().status(status).header("retry-after", "60").body(body).unwrap())
    }

    fn error(status: u16, name: &str, code: &str) -> Delivery {
        let detail = r#""@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError""#;
        said(
            status,
            &format!(
                r#"{{"error":{{"code":{status},"message":"m","status":"{name}","details":[{{{detail},"errorCode":"{code}"}}]}}}}"#
            ),
        )
    }

    #[test]
    fn every_documented_answer_means_something() {
        let wait = Some(Duration::from_mins(1));
        for (status, name, code, meaning) in [
            (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", Verdict::Refused),
            (401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", Verdict::Unauthorized),
            (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", Verdict::Unregistered { since: None }),
            (404, "NOT_FOUND", "UNREGISTERED", Verdict::Unregistered { since: None }),
            (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", Verdict::Slower { retry_after: wait }),
            (500, "INTERNAL", "INTERNAL", Verdict::Unavailable { retry_after: wait }),
            (503, "UNAVAILABLE", "UNAVAILABLE", Verdict::Unavailable { retry_after: wait }),
        ] {
            let delivery = error(status, name, code);
            assert_eq!((delivery.verdict, delivery.answer), (meaning, format!("{status} {code}")));
        }
        assert_eq!(said(200, r#"{"name":"projects/p/messages/1"}"#).verdict, Verdict::Accepted);
        assert_eq!(said(404, "{}").verdict, Verdict::Refused, "a project that is not there is no token");
        assert_eq!(said(403, r#"{"error":{"status":"PERMISSION_DENIED"}}"#).verdict, Verdict::Unauthorized);
        assert_eq!(said(502, "<html>").answer, "502");
    }

    #[test]
    fn a_token_that_is_none_is_told_from_a_request_that_is_none() {
        let violation = |field: &str| {
            said(
                400,
                &format!(
                    r#"{{"error":{{"status":"INVALID_ARGUMENT","details":[{{"errorCode":"INVALID_ARGUMENT"}},
                        {{"fieldViolations":[{{"field":"{field}","description":"d"}}]}}]}}}}"#
                ),
            )
        };
        assert_eq!(violation("message.token").verdict, Verdict::Unregistered { since: None });
        assert_eq!(violation("message.android.ttl").verdict, Verdict::Refused);
    }
}
