//! `GET /email`, `PUT /email`, `DELETE /email`, `POST /email/confirm`, `POST /register/email`.

use auth::{
    mail::MailAddress,
    native::{
        NativeService,
        email::{EmailError, EmailState},
    },
};
use axum::{Json, extract::State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    extract::{Body, Secret},
    problem::{Code, Problem, ProblemBody},
    register,
};
use crate::caller::{Anybody, BearerDevice, Peer};

/// The e-mail address of an account.
#[derive(Serialize, ToSchema)]
#[schema(as = Email)]
pub(super) struct EmailBody {
    /// The one that counts: by it the password is reset.
    #[schema(example = "alice@example.org")]
    email: Option<String>,
    /// The one that is to take its place, once the code that was sent there is handed in.
    pending: Option<PendingBody>,
}

/// An address that is not confirmed yet.
#[derive(Serialize, ToSchema)]
#[schema(as = PendingEmail)]
struct PendingBody {
    email: String,
    /// Until when its code is good, in milliseconds since the epoch.
    expires: u64,
}

/// An address that an account is to have.
#[derive(Deserialize, ToSchema)]
#[schema(as = SetEmail)]
pub(super) struct SetEmailBody {
    #[schema(example = "alice@example.org")]
    email: String,
    /// The present password.
    #[schema(value_type = String)]
    password: Secret,
}

/// What removing an address takes.
#[derive(Deserialize, ToSchema)]
#[schema(as = RemoveEmail)]
pub(super) struct RemoveEmailBody {
    /// The present password.
    #[schema(value_type = String)]
    password: Secret,
}

/// A code that was mailed.
#[derive(Deserialize, ToSchema)]
#[schema(as = ConfirmEmail)]
pub(super) struct ConfirmEmailBody {
    /// As the mail has it; case, spaces and hyphens do not matter.
    #[schema(value_type = String)]
    code: Secret,
}

/// An address to be proved by somebody who has no account yet.
#[derive(Deserialize, ToSchema)]
#[schema(as = ProveEmail)]
pub(super) struct ProveEmailBody {
    #[schema(example = "alice@example.org")]
    email: String,
}

/// Shows the account's e-mail address.
#[utoipa::path(
    get, path = "/email", tag = "accounts", security(("bearer" = [])),
    responses(
        (status = 200, body = EmailBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
) -> Result<Json<EmailBody>, Problem> {
    Ok(Json(service.email(&bearer).await?.into()))
}

/// Sends a code to an address that the account is to have. Until it is handed in, the former address stays. Whether the
/// address is another account's is not said; its owner is told by mail.
#[utoipa::path(
    put, path = "/email", tag = "accounts", security(("bearer" = [])),
    request_body = SetEmailBody,
    responses(
        (status = 202, description = "A mail is on its way.", body = EmailBody),
        (status = "4XX", description = "`wrong_password`, `invalid_email`, `rate_limited`",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 501, description = "`no_mail`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn set(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
    Body(body): Body<SetEmailBody>,
) -> Result<(StatusCode, Json<EmailBody>), Problem> {
    let address = address(&body.email)?;
    let state = service.set_email(&bearer, &body.password.0, address).await.map_err(refuse)?;
    Ok((StatusCode::ACCEPTED, Json(state.into())))
}

/// Makes the pending address the account's. It takes the code that was mailed and a session of the account, so that a
/// mail in the wrong mailbox does nothing. The former address is told.
#[utoipa::path(
    post, path = "/email/confirm", tag = "accounts", security(("bearer" = [])),
    request_body = ConfirmEmailBody,
    responses(
        (status = 200, description = "The address counts.", body = EmailBody),
        (status = "4XX", description = "`mail_code_refused`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn confirm(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
    Body(body): Body<ConfirmEmailBody>,
) -> Result<Json<EmailBody>, Problem> {
    let state = service.confirm_email(&bearer, &body.code.0).await.map_err(refuse)?;
    Ok(Json(state.into()))
}

/// Removes the account's address and the pending one. Without an address a forgotten password cannot be reset.
#[utoipa::path(
    delete, path = "/email", tag = "accounts", security(("bearer" = [])),
    request_body = RemoveEmailBody,
    responses(
        (status = 204, description = "The account has none."),
        (status = "4XX", description = "`wrong_password`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
    Body(body): Body<RemoveEmailBody>,
) -> Result<StatusCode, Problem> {
    service.remove_email(&bearer, &body.password.0).await.map_err(refuse)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a code to the address of somebody who is about to register (`email` and `email_code` of `POST /register`). It is
/// the same answer whether or not the address is an account's; if it is, its owner is told instead.
#[utoipa::path(
    post, path = "/register/email", tag = "accounts",
    request_body = ProveEmailBody,
    responses(
        (status = 202, description = "A mail is on its way."),
        (status = "4XX", description = "`invalid_email`, `email_not_allowed`, `registration_closed`, `rate_limited`",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 501, description = "`no_mail`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn prove(
    _: Anybody,
    State(service): State<NativeService>,
    peer: Peer,
    Body(body): Body<ProveEmailBody>,
) -> Result<StatusCode, Problem> {
    service.prove_email(address(&body.email)?, peer.origin()).await.map_err(refuse)?;
    Ok(StatusCode::ACCEPTED)
}

pub(super) fn address(text: &str) -> Result<MailAddress, Problem> {
    text.parse().map_err(|_| Problem::of(Code::InvalidEmail))
}

fn refuse(error: EmailError) -> Problem {
    match error {
        EmailError::NoMail => Problem::of(Code::NoMail),
        EmailError::WrongPassword => Problem::of(Code::WrongPassword),
        EmailError::WrongCode => Problem::of(Code::MailCodeRefused),
        EmailError::NotAdmitted(error) => register::not_admitted(error),
        EmailError::RateLimited(wait) => Problem::rate_limited(wait),
        EmailError::Busy => Problem::busy(),
        EmailError::Gone => Problem::of(Code::Unauthorized),
        EmailError::Storage(error) => error.into(),
    }
}

impl From<EmailState> for EmailBody {
    fn from(EmailState { confirmed, wished }: EmailState) -> Self {
        Self {
            email: confirmed.map(|address| address.as_str().to_owned()),
            pending: wished.map(|(address, expires)| PendingBody {
                email: address.as_str().to_owned(),
                expires: expires.as_millis(),
            }),
        }
    }
}
