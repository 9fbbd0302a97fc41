//! `POST /second-factors/totp`, `POST /second-factors/totp/confirm`: one-time passwords by time.

use std::sync::Arc;

use auth::{
    native::NativeService,
    second_factor::{
        PENDING_LIFE, SecondFactors,
        totp::{DIGITS, OneTimePassword, STEP},
    },
};
use axum::{Json, extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        extract::{Body, Secret},
        problem::{Code, Problem, ProblemBody},
        tokens,
    },
    AddedBody, label, refuse,
};
use crate::caller::{BearerDevice, ReauthenticatedDevice};

/// A key for one-time passwords (RFC 6238). This is the only time that it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = TotpKey)]
pub(in super::super) struct TotpBody {
    /// The key in base 32, for typing it into a generator.
    secret: String,
    /// The same with all that a generator needs, for a QR code: a key URI, with the server's name and the account's.
    uri: String,
    #[schema(example = "SHA256")]
    algorithm: &'static str,
    #[schema(example = 6)]
    digits: u32,
    /// Seconds for which a password is shown.
    #[schema(example = 30)]
    period: u64,
    /// Seconds for which the key waits to be confirmed.
    #[schema(example = 86400)]
    expires_in: u64,
}

/// The first password of a key.
#[derive(Deserialize, ToSchema)]
#[schema(as = ConfirmTotp)]
pub(in super::super) struct ConfirmBody {
    /// Six digits, as the generator shows them.
    #[schema(example = "012345", value_type = String)]
    one_time_password: Secret,
    /// What the factor is called: up to 98 bytes, without control characters.
    #[schema(example = "my phone")]
    name: String,
}

/// Makes a key for one-time passwords. It counts once a password of it has come back; another that was waiting for that
/// does no longer.
#[utoipa::path(
    post, path = "/second-factors/totp", tag = "second factors", security(("bearer" = [])),
    params(("Reauthentication-Token" = String, Header, description = "Of `POST /reauthenticate`.")),
    responses(
        (status = 200, body = TotpBody),
        (status = "4XX", description = "`reauthentication_required`, `too_many_factors`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(in super::super) async fn start(
    ReauthenticatedDevice(bearer): ReauthenticatedDevice,
    State(service): State<NativeService>,
) -> Result<Response, Problem> {
    let setup = service.start_totp(&bearer).await.map_err(refuse)?;
    let body = TotpBody {
        secret: setup.key.to_base32().to_string(),
        uri: setup.uri.to_string(),
        algorithm: "SHA256",
        digits: DIGITS,
        period: STEP.as_secs(),
        expires_in: PENDING_LIFE.as_secs(),
    };
    Ok(tokens::answer(StatusCode::OK, body))
}

/// Makes the key count, by a password of it. From now on log-ins ask for one.
#[utoipa::path(
    post, path = "/second-factors/totp/confirm", tag = "second factors", security(("bearer" = [])),
    request_body = ConfirmBody,
    responses(
        (status = 201, body = AddedBody),
        (status = "4XX", description = "`second_factor_failed`, `invalid_second_factor`, `too_many_factors`, \
            `rate_limited`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(in super::super) async fn confirm(
    // The key came with a fresh proof, and nobody makes a password of it without the key.
    BearerDevice(bearer): BearerDevice,
    State(service): State<Arc<SecondFactors>>,
    Body(body): Body<ConfirmBody>,
) -> Result<(StatusCode, Json<AddedBody>), Problem> {
    let label = label(body.name)?;
    let password = OneTimePassword::from_text(&body.one_time_password.0);
    let password = password.ok_or(Problem::of(Code::InvalidSecondFactor))?;
    let id = service.confirm_totp(bearer.device.aci, password, label).await.map_err(refuse)?;
    Ok((StatusCode::CREATED, Json(id.into())))
}
