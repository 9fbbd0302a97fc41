//! What is sent to Google.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use serde_json::{Value, json};

use crate::provider::Push;

/// How long Google keeps a push for a device that is off: the most it takes, as in Signal's service.
pub const LIFETIME: Duration = Duration::from_hours(28 * 24);

/// What apps look for to hear that something is waiting.
const WAKE: &str = "newMessageAlert";

pub(super) fn request(
    url: &Uri,
    bearer: &Bytes,
    token: &str,
    push: &Push,
) -> Result<Request<Bytes>, http::Error> {
    let mut authorization = HeaderValue::from_maybe_shared(bearer.clone())?;
    authorization.set_sensitive(true);
    Request::post(url)
        .header("authorization", authorization)
        .header("content-type", "application/json")
        .body(body(token, push).to_string().into())
}

fn body(token: &str, push: &Push) -> Value {
    let data = match push {
        Push::Wake { .. } => json!({ WAKE: "" }),
        Push::Challenge(challenge, secret) => json!({ challenge.key(): secret.as_str() }),
    };
    json!({
        "message": {
            "token": token,
            "data": data,
            "android": {
                "priority": if push.is_urgent() { "HIGH" } else { "NORMAL" },
                "ttl": format!("{}s", LIFETIME.as_secs()),
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Challenge, ChallengeSecret};

    #[test]
    fn what_is_sent_says_that_something_waits_and_no_more() {
        for (urgent, priority) in [(true, "HIGH"), (false, "NORMAL")] {
            assert_eq!(
                body("t", &Push::Wake { urgent }),
                json!({"message": {
                    "token": "t",
                    "data": {"newMessageAlert": ""},
                    "android": {"priority": priority, "ttl": "2419200s"},
                }})
            );
        }
        let challenge = Push::Challenge(Challenge::RateLimit, ChallengeSecret::new("ab"));
        assert_eq!(body("t", &challenge)["message"]["data"], json!({"rateLimitChallenge": "ab"}));
        let challenge = Push::Challenge(Challenge::Registration, ChallengeSecret::new("ab"));
        assert_eq!(body("t", &challenge)["message"]["data"], json!({"challenge": "ab"}));
    }
}
