//! `POST /login/passkey/options`, `POST /login/passkey`: logging in without a password.

use auth::{
    native::{NativeService, factors::PasskeyLoginError},
    second_factor::webauthn::AssertionResponse,
};
use axum::{Json, extract::State, response::Response};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    device_fields::DeviceFields,
    extract::Body,
    problem::{Code, Problem, ProblemBody},
    tokens::{self, LoggedInBody},
    webauthn::RequestOptions,
};
use crate::caller::{Anybody, Peer};

/// Somebody who wants to log in with a passkey.
#[derive(Deserialize, ToSchema)]
#[schema(as = PasskeyLogin)]
pub(super) struct PasskeyLoginBody {
    /// `AuthenticationResponseJSON`: what a browser's credential says by `toJSON()`.
    #[schema(value_type = Object)]
    passkey: AssertionResponse,
    #[serde(flatten)]
    device: DeviceFields,
}

/// Asks for a passkey, to log in with or to show again who one is. Nobody is named: the passkey says whose it is.
#[utoipa::path(
    post, path = "/login/passkey/options", tag = "sessions",
    responses(
        (status = 200, description = "What the passkey is asked.", body = RequestOptions),
        (status = 429, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn options(
    _: Anybody,
    State(service): State<NativeService>,
    peer: Peer,
) -> Result<Json<RequestOptions>, Problem> {
    let offer = service.start_passkey_login(peer.origin()).map_err(Problem::rate_limited)?;
    Ok(Json(offer.into()))
}

/// Logs in with a passkey whose authenticator has checked its user. Nothing else is asked for.
#[utoipa::path(
    post, path = "/login/passkey", tag = "sessions",
    request_body = PasskeyLoginBody,
    responses(
        (status = 200, description = "The device is logged in.", body = LoggedInBody),
        (status = "4XX", description = "`passkey_failed`, `rate_limited`, `too_many_devices`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn login(
    _: Anybody,
    State(service): State<NativeService>,
    peer: Peer,
    Body(body): Body<PasskeyLoginBody>,
) -> Result<Response, Problem> {
    let device = body.device.try_into()?;
    let logged_in = service.finish_passkey_login(&body.passkey, device, peer.origin()).await;
    let logged_in = logged_in.map_err(|error| match error {
        PasskeyLoginError::Refused => Problem::of(Code::PasskeyFailed),
        PasskeyLoginError::TooManyDevices => Problem::of(Code::TooManyDevices),
        PasskeyLoginError::RateLimited(wait) => Problem::rate_limited(wait),
        PasskeyLoginError::Storage(error) => error.into(),
    })?;
    Ok(tokens::answer(StatusCode::OK, LoggedInBody::from(&logged_in)))
}
