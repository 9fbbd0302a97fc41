//! `PUT /v1/challenge`, `POST /v1/challenge/push`, and the body of a 428.

use std::sync::Arc;

use auth::challenge::{AnswerError, ChallengeService, RequestPushError, Verdict};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use limits::RetryAfter;
use messages::{ChallengeOption, ChallengeRequired};
use serde::{Deserialize, Serialize};

use crate::{
    body::JsonBody,
    caller::AuthenticatedDevice,
    reply::{Refusal, TOO_MANY_REQUESTS},
};

/// An answer of either kind, as it comes in.
#[derive(Deserialize)]
pub(super) struct AnswerBody {
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    captcha: Option<String>,
    #[serde(default)]
    challenge: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Push { challenge: String },
    Captcha { token: String, captcha: String },
}

#[derive(Serialize)]
struct RequiredBody {
    token: String,
    options: Vec<&'static str>,
}

pub(super) async fn answer(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(challenges): State<Arc<ChallengeService>>,
    JsonBody(body): JsonBody<AnswerBody>,
) -> Result<StatusCode, Refusal> {
    match Answer::try_from(body)? {
        Answer::Push { challenge } => {
            // Whether it is right shows in whether sending goes on; clients expect no other answer.
            challenges.answer_push(device.aci, &challenge).map_err(refuse)?;
            Ok(StatusCode::OK)
        }
        Answer::Captcha { token, captcha } => {
            match challenges.answer_captcha(device.aci, &token, &captcha).await.map_err(refuse)? {
                Verdict::Accepted => Ok(StatusCode::OK),
                Verdict::Rejected => Err(Refusal::bare(StatusCode::PRECONDITION_REQUIRED)),
            }
        }
    }
}

pub(super) async fn request_push(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(challenges): State<Arc<ChallengeService>>,
) -> Result<StatusCode, Refusal> {
    match challenges.request_push(device.aci).await {
        Ok(()) => Ok(StatusCode::OK),
        Err(RequestPushError::NoPushToken) => Err(Refusal::bare(StatusCode::NOT_FOUND)),
        Err(RequestPushError::NotPermitted) => Err(Refusal::bare(TOO_MANY_REQUESTS)),
        Err(RequestPushError::Undelivered(cause)) => {
            tracing::error!(error = &cause as &dyn std::error::Error, "a push challenge was not sent");
            Err(Refusal::bare(StatusCode::SERVICE_UNAVAILABLE))
        }
        Err(RequestPushError::Storage(error)) => Err(error.into()),
    }
}

/// A message is not taken before the sender has answered.
pub(in crate::signal) fn required(required: ChallengeRequired) -> Response {
    let name = |option: &ChallengeOption| match option {
        ChallengeOption::Captcha => "captcha",
        ChallengeOption::PushChallenge => "pushChallenge",
    };
    let options = required.options.iter().map(name).collect();
    let body = Json(RequiredBody { token: required.token, options });
    let mut response = (StatusCode::PRECONDITION_REQUIRED, body).into_response();
    if let Some(wait) = required.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RetryAfter(wait).seconds()));
    }
    response
}

impl TryFrom<AnswerBody> for Answer {
    type Error = Refusal;

    fn try_from(body: AnswerBody) -> Result<Self, Refusal> {
        let field = |text: Option<String>| {
            text.filter(|text| !text.trim().is_empty()).ok_or(Refusal::invalid("a field is missing or blank"))
        };
        match body.r#type.as_deref() {
            Some("rateLimitPushChallenge") => Ok(Self::Push { challenge: field(body.challenge)? }),
            Some("captcha") => Ok(Self::Captcha { token: field(body.token)?, captcha: field(body.captcha)? }),
            _ => Err(Refusal::new(StatusCode::BAD_REQUEST, "an unknown type of answer")),
        }
    }
}

fn refuse(error: AnswerError) -> Refusal {
    match error {
        AnswerError::Malformed => Refusal::new(StatusCode::BAD_REQUEST, "not an answer to a captcha"),
        AnswerError::RateLimited(RetryAfter(wait)) => Refusal::rate_limited(wait),
        AnswerError::CaptchaUnavailable(cause) => {
            tracing::error!(error = &*cause as &dyn std::error::Error, "captchas cannot be judged");
            Refusal::bare(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    fn read(body: Value) -> Result<Answer, u16> {
        let body: AnswerBody = serde_json::from_value(body).unwrap();
        Answer::try_from(body).map_err(|refusal| refusal.into_response().status().as_u16())
    }

    #[test]
    fn answers_are_told_by_their_type_and_must_be_whole() {
        let push = json!({"type": "rateLimitPushChallenge", "challenge": "00"});
        assert_eq!(read(push), Ok(Answer::Push { challenge: "00".to_owned() }));
        let captcha = json!({"type": "captcha", "token": "t", "captcha": "c"});
        assert_eq!(read(captcha), Ok(Answer::Captcha { token: "t".to_owned(), captcha: "c".to_owned() }));
        for (body, status) in [
            (json!({}), 400),
            (json!({"type": null}), 400),
            (json!({"type": "recaptcha", "token": "t", "captcha": "c"}), 400),
            (json!({"type": "rateLimitPushChallenge"}), 422),
            (json!({"type": "rateLimitPushChallenge", "challenge": " "}), 422),
            (json!({"type": "captcha", "token": "t"}), 422),
            (json!({"type": "captcha", "token": "", "captcha": "c"}), 422),
        ] {
            assert_eq!(read(body.clone()), Err(status), "{body}");
        }
    }

    #[tokio::test]
    async fn a_question_has_token_options_and_a_time() {
        let question = |options, retry_after| {
            required(ChallengeRequired { token: "t".to_owned(), options, retry_after })
        };
        let both = vec![ChallengeOption::Captcha, ChallengeOption::PushChallenge];
        let response = question(both, Some(Duration::from_millis(1500)));
        assert_eq!(
            (response.status().as_u16(), &response.headers()[RETRY_AFTER]),
            (428, &"2".parse().unwrap())
        );
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        assert_eq!(body, r#"{"token":"t","options":["captcha","pushChallenge"]}"#);
        assert!(question(Vec::new(), None).headers().get(RETRY_AFTER).is_none());
    }
}
