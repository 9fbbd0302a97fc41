//! `POST /password/reset`, `POST /password/reset/confirm`: for whoever has forgotten the password.

use auth::native::{
    NativeService, Username,
    email::{ResetError, ResetRequest, store::ResetOf},
};
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    email,
    extract::{Body, Secret},
    problem::{Code, Problem, ProblemBody},
    register,
};
use crate::caller::{Anybody, Peer};

/// Whose password is forgotten: the username or the e-mail address of the account, one of them.
#[derive(Deserialize, ToSchema)]
#[schema(as = RequestPasswordReset)]
pub(super) struct ResetBody {
    #[schema(example = "alice")]
    username: Option<String>,
    #[schema(example = "alice@example.org")]
    email: Option<String>,
}

/// A new password, and the code that was mailed.
#[derive(Deserialize, ToSchema)]
#[schema(as = ResetPassword)]
pub(super) struct ConfirmResetBody {
    /// As the mail has it; case, spaces and hyphens do not matter.
    #[schema(value_type = String)]
    token: Secret,
    /// The next password.
    #[schema(value_type = String)]
    new_password: Secret,
}

/// Mails a code to the address of the account, if there is such an account and its address is confirmed. The answer is
/// the same in any case, and comes before anybody looks.
#[utoipa::path(
    post, path = "/password/reset", tag = "accounts",
    request_body = ResetBody,
    responses(
        (status = 202, description = "If there is such an account with an address, a mail is on its way, or was lately."),
        (status = "4XX", description = "`invalid_username`, `invalid_email`, `rate_limited` (by network address)",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 501, description = "`no_mail`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn request(
    _: Anybody,
    State(service): State<NativeService>,
    peer: Peer,
    Body(body): Body<ResetBody>,
) -> Result<StatusCode, Problem> {
    let of = match (body.username, body.email) {
        (Some(name), None) => {
            ResetOf::Username(Username::new(&name).map_err(|_| Problem::of(Code::InvalidUsername))?)
        }
        (None, Some(address)) => ResetOf::Address(email::address(&address)?),
        _ => return Err(Problem::of(Code::InvalidBody)),
    };
    service.request_reset(ResetRequest { of, origin: peer.origin() }).map_err(refuse)?;
    Ok(StatusCode::ACCEPTED)
}

/// Sets another password. Every session of the account ends, every other code is void, and the owner is told by mail.
/// Second factors stay.
#[utoipa::path(
    post, path = "/password/reset/confirm", tag = "accounts",
    request_body = ConfirmResetBody,
    responses(
        (status = 204, description = "The password is set; log in with it."),
        (status = "4XX", description = "`mail_code_refused`; `password_too_short` and others, after which the code is still good",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn confirm(
    _: Anybody,
    State(service): State<NativeService>,
    peer: Peer,
    Body(body): Body<ConfirmResetBody>,
) -> Result<StatusCode, Problem> {
    let reset = service.reset_password(&body.token.0, &body.new_password.0, peer.origin()).await;
    reset.map_err(refuse)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn refuse(error: ResetError) -> Problem {
    match error {
        ResetError::NoMail => Problem::of(Code::NoMail),
        ResetError::WrongCode => Problem::of(Code::MailCodeRefused),
        ResetError::Password(refused) => register::password(refused),
        ResetError::RateLimited(wait) => Problem::rate_limited(wait),
        ResetError::Busy => Problem::busy(),
        ResetError::Storage(error) => error.into(),
    }
}
