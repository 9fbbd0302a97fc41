//! `POST /login`, `POST /token/refresh`, `POST /logout`.

use auth::native::{
    LoginRequest, NativeService,
    error::{LoginError, RefreshError},
};
use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    device_fields::DeviceFields,
    extract::{Body, Secret},
    problem::{Code, Problem, ProblemBody},
    second_step::SecondStepFields,
    tokens::{self, LoggedInBody, TokensBody},
};
use crate::caller::{Anybody, BearerDevice, Peer};

/// Somebody who wants to log in.
#[derive(Deserialize, ToSchema)]
#[schema(as = Login)]
pub(super) struct LoginBody {
    #[schema(example = "alice")]
    username: String,
    #[schema(example = "a sentence is fine", value_type = String)]
    password: Secret,
    #[serde(flatten)]
    device: DeviceFields,
}

/// A refresh token to be traded in.
#[derive(Deserialize, ToSchema)]
#[schema(as = Refresh)]
pub(super) struct RefreshBody {
    #[schema(value_type = String)]
    refresh_token: Secret,
}

/// Logs in. Whether the username or the password is wrong is not said. If the account has a second factor, a right
/// password is answered `second_factor_required`, with what `POST /login/second-factor` takes.
#[utoipa::path(
    post, path = "/login", tag = "sessions",
    request_body = LoginBody,
    responses(
        (status = 200, description = "The device is logged in.", body = LoggedInBody),
        (status = "4XX", description = "`login_failed`, `second_factor_required`, `rate_limited`, \
            `too_many_devices`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn login(
    _: Anybody,
    State(service): State<NativeService>,
    peer: Peer,
    Body(body): Body<LoginBody>,
) -> Result<Response, Problem> {
    let request =
        LoginRequest { username: body.username, password: body.password.0, device: body.device.try_into()? };
    let logged_in = service.login(request, peer.origin()).await.map_err(|error| match error {
        LoginError::Refused => Problem::of(Code::LoginFailed),
        LoginError::SecondFactorRequired(step) => {
            Problem::asking(Code::SecondFactorRequired, SecondStepFields::of(*step))
        }
        LoginError::TooManyDevices => Problem::of(Code::TooManyDevices),
        LoginError::RateLimited(wait) => Problem::rate_limited(wait),
        LoginError::Busy => Problem::busy(),
        LoginError::Storage(error) => error.into(),
    })?;
    Ok(tokens::answer(StatusCode::OK, LoggedInBody::from(&logged_in)))
}

/// Trades a refresh token in for the next tokens. Each can be used once; using one again ends the session, since there
/// is a copy of it.
#[utoipa::path(
    post, path = "/token/refresh", tag = "sessions",
    request_body = RefreshBody,
    responses(
        (status = 200, description = "The next tokens of the session.", body = TokensBody),
        (status = "4XX", description = "`refresh_failed`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn refresh(
    _: Anybody,
    State(service): State<NativeService>,
    Body(body): Body<RefreshBody>,
) -> Result<Response, Problem> {
    let tokens = service.refresh(&body.refresh_token.0).await.map_err(|error| match error {
        RefreshError::Refused => Problem::of(Code::RefreshFailed),
        RefreshError::Storage(error) => error.into(),
    })?;
    Ok(tokens::answer(StatusCode::OK, TokensBody::from(&tokens)))
}

/// Ends the session that calls. Its tokens are no longer good, and its sockets are closed.
#[utoipa::path(
    post, path = "/logout", tag = "sessions", security(("bearer" = [])),
    responses(
        (status = 204, description = "The session has ended."),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn logout(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
) -> Result<StatusCode, Problem> {
    service.end_session(&bearer, bearer.session).await?;
    Ok(StatusCode::NO_CONTENT)
}
