//! `org.signal.chat.challenge.Challenge`, and the answer of a send that asks for one.

use std::sync::Arc;

use auth::challenge::{AnswerError, ChallengeService, Verdict};
use limits::RetryAfter;
use messages::{ChallengeOption, ChallengeRequired};
use tonic::{Request, Response, Status};

use crate::{
    grpc::{
        access,
        chat::{
            challenge::{
                HandleChallengeResponseRequest, HandleChallengeResponseResponse, challenge_server,
                handle_challenge_response_request::Response as Answer,
            },
            messages::{self as wire, challenge_required::ChallengeType},
        },
        error,
    },
    services::Services,
};

/// The service for devices that say who they are.
pub(crate) struct Challenge {
    challenges: Arc<ChallengeService>,
}

impl Challenge {
    /// The service as part of those.
    pub(crate) fn new(services: &Services) -> Self {
        Self { challenges: Arc::clone(&services.parts().challenges) }
    }
}

#[tonic::async_trait]
impl challenge_server::Challenge for Challenge {
    async fn handle_challenge_response(
        &self,
        request: Request<HandleChallengeResponseRequest>,
    ) -> Result<Response<HandleChallengeResponseResponse>, Status> {
        let device = access::device(&request)?;
        let HandleChallengeResponseRequest { token, response } = request.into_inner();
        let verdict = match response {
            Some(Answer::Push(answer)) => {
                let challenge = present("push.challenge", &answer.challenge)?;
                self.challenges.answer_push(device.aci, challenge)
            }
            Some(Answer::Captcha(answer)) => {
                let (token, captcha) =
                    (present("token", &token)?, present("captcha.captcha", &answer.captcha)?);
                self.challenges.answer_captcha(device.aci, token, captcha).await
            }
            None => return Err(error::constraint_violated("response", "must be present")),
        };
        let success = verdict.map_err(status)? == Verdict::Accepted;
        Ok(Response::new(HandleChallengeResponseResponse { success }))
    }
}

/// A message is not taken before the sender has answered.
pub(in crate::signal) fn required(required: ChallengeRequired) -> wire::ChallengeRequired {
    let option = |option: &ChallengeOption| match option {
        ChallengeOption::Captcha => ChallengeType::Captcha.into(),
        ChallengeOption::PushChallenge => ChallengeType::PushChallenge.into(),
    };
    wire::ChallengeRequired {
        challenge_options: required.options.iter().map(option).collect(),
        token: required.token,
        retry_after_seconds: required.retry_after.map(|wait| RetryAfter(wait).seconds()),
    }
}

fn present<'a>(field: &'static str, text: &'a str) -> Result<&'a str, Status> {
    let blank = text.trim().is_empty();
    if blank { Err(error::constraint_violated(field, "must not be blank")) } else { Ok(text) }
}

fn status(failure: AnswerError) -> Status {
    match failure {
        AnswerError::Malformed => error::constraint_violated("captcha.captcha", "not an answer to a captcha"),
        AnswerError::RateLimited(RetryAfter(wait)) => error::rate_limited(wait),
        AnswerError::CaptchaUnavailable(cause) => {
            tracing::error!(error = &*cause as &dyn std::error::Error, "captchas cannot be judged");
            error::unavailable()
        }
    }
}
