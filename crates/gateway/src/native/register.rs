//! `POST /register`.

use auth::{
    admission::{AdmissionError, invite::InviteCode},
    native::{
        NativeService, RegisterRequest, email::Newcomer, error::RegisterError, password::PasswordRefused,
    },
};
use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    device_fields::DeviceFields,
    email,
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
    /// An e-mail address, by which a forgotten password can be reset.
    #[schema(example = "alice@example.org")]
    email: Option<String>,
    /// The code that `POST /register/email` sent there. With it the address counts at once; without it, a code is sent
    /// for `POST /email/confirm`. Some servers ask for it.
    #[schema(value_type = Option<String>)]
    email_code: Option<Secret>,
}

/// Creates an account with its first device, and logs that in.
#[utoipa::path(
    post, path = "/register", tag = "accounts",
    request_body = RegisterBody,
    responses(
        (status = 201, description = "The account exists, and this device is logged in.", body = LoggedInBody),
        (status = "4XX", description = "`username_taken`, `invite_required`, `email_required`, `password_too_short` and others",
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
        email: newcomer(body.email.as_deref(), body.email_code)?,
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

fn newcomer(text: Option<&str>, code: Option<Secret>) -> Result<Option<Newcomer>, Problem> {
    match (text, code) {
        (Some(text), code) => {
            Ok(Some(Newcomer { address: email::address(text)?, code: code.map(|Secret(code)| code) }))
        }
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Problem::of(Code::InvalidEmail)),
    }
}

fn invite(text: &str) -> Result<InviteCode, Problem> {
    InviteCode::parse(text).ok_or(Problem::of(Code::InviteRequired))
}

/// Why somebody may not register.
pub(super) fn not_admitted(error: AdmissionError) -> Problem {
    match error {
        AdmissionError::NoInvite => Problem::of(Code::InviteRequired),
        AdmissionError::Pending => Problem::of(Code::RegistrationPending),
        AdmissionError::Refused => Problem::of(Code::RegistrationClosed),
        AdmissionError::NoEmail => Problem::of(Code::EmailRequired),
        AdmissionError::OtherDomain => Problem::of(Code::EmailNotAllowed),
        AdmissionError::Storage(error) => error.into(),
    }
}

fn refuse(error: RegisterError) -> Problem {
    match error {
        RegisterError::InvalidUsername => Problem::of(Code::InvalidUsername),
        RegisterError::Password(refused) => password(refused),
        RegisterError::UsernameTaken => Problem::of(Code::UsernameTaken),
        RegisterError::NotAdmitted(error) => not_admitted(error),
        RegisterError::WrongCode => Problem::of(Code::MailCodeRefused),
        RegisterError::NoMail => Problem::of(Code::NoMail),
        RegisterError::WrongSignature => Problem::of(Code::WrongSignature),
        RegisterError::RateLimited(wait) => Problem::rate_limited(wait),
        RegisterError::Busy => Problem::busy(),
        RegisterError::Storage(error) => error.into(),
    }
}
