//! `POST /register`.

use auth::{
    admission::{AdmissionError, invite::InviteCode},
    native::{NativeService, RegisterRequest, error::RegisterError, password::PasswordRefused},
};
use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    device_fields::DeviceFields,
    extract::{Body, Secret},
    keys::FirstKeys,
    problem::{Code, Problem, ProblemBody},
    tokens::{self, LoggedInBody},
};
use crate::caller::{Anybody, Peer};

/// An account to be made.
#[derive(Deserialize, ToSchema)]
#[schema(as = Register)]
pub(super) struct RegisterBody {
    /// The name to log in by. Upper and lower case are the same.
    #[schema(example = "alice")]
    username: String,
    /// At least 8 characters, and none of those that are guessed first.
    #[schema(example = "a sentence is fine", value_type = String)]
    password: Secret,
    #[serde(flatten)]
    device: DeviceFields,
    /// Keys of Signal's protocol, now or later (`PUT /keys`).
    keys: Option<FirstKeys>,
    /// The code of an invitation, where the server asks for one.
    #[schema(example = "1234 5678 9012")]
    invite: Option<String>,
}

/// Creates an account with its first device, and logs that in.
#[utoipa::path(
    post, path = "/register", tag = "accounts",
    request_body = RegisterBody,
    responses(
        (status = 201, description = "The account exists, and this device is logged in.", body = LoggedInBody),
        (status = "4XX", description = "`username_taken`, `invite_required`, `password_too_short` and others",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn register(
    _: Anybody,
    State(service): State<NativeService>,
    peer: Peer,
    Body(body): Body<RegisterBody>,
) -> Result<Response, Problem> {
    let request = RegisterRequest {
        username: body.username,
        password: body.password.0,
        device: body.device.try_into()?,
        keys: body.keys.map(TryInto::try_into).transpose()?,
        invite: body.invite.as_deref().map(invite).transpose()?,
    };
    let logged_in = service.register(request, peer.origin()).await.map_err(refuse)?;
    Ok(tokens::answer(StatusCode::CREATED, LoggedInBody::from(&logged_in)))
}

pub(super) fn password(refused: PasswordRefused) -> Problem {
    Problem::of(match refused {
        PasswordRefused::TooShort => Code::PasswordTooShort,
        PasswordRefused::TooLong => Code::PasswordTooLong,
        PasswordRefused::TooCommon => Code::PasswordTooCommon,
        PasswordRefused::IsUsername => Code::PasswordIsUsername,
        PasswordRefused::NotAPassword => Code::InvalidPassword,
    })
}

fn invite(text: &str) -> Result<InviteCode, Problem> {
    InviteCode::parse(text).ok_or(Problem::of(Code::InviteRequired))
}

fn refuse(error: RegisterError) -> Problem {
    match error {
        RegisterError::InvalidUsername => Problem::of(Code::InvalidUsername),
        RegisterError::Password(refused) => password(refused),
        RegisterError::UsernameTaken => Problem::of(Code::UsernameTaken),
        RegisterError::NotAdmitted(AdmissionError::NoInvite) => Problem::of(Code::InviteRequired),
        RegisterError::NotAdmitted(AdmissionError::Pending) => Problem::of(Code::RegistrationPending),
        RegisterError::NotAdmitted(AdmissionError::Refused) => Problem::of(Code::RegistrationClosed),
        RegisterError::WrongSignature => Problem::of(Code::WrongSignature),
        RegisterError::RateLimited(wait) => Problem::rate_limited(wait),
        RegisterError::Busy => Problem::busy(),
        RegisterError::NotAdmitted(AdmissionError::Storage(error)) | RegisterError::Storage(error) => {
            error.into()
        }
    }
}
