//! `POST /second-factors/passkeys/options`, `POST /second-factors/passkeys`.

use std::sync::Arc;

use auth::{
    native::NativeService,
    second_factor::{Ceremony, SecondFactors, webauthn::RegistrationResponse},
};
use axum::{Json, extract::State};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    super::{
        extract::Body,
        problem::{Problem, ProblemBody},
        webauthn::CreationOptions,
    },
    AddedBody, label, refuse,
};
use crate::caller::{BearerDevice, ReauthenticatedDevice};

/// A passkey that was made.
#[derive(Deserialize, ToSchema)]
#[schema(as = AddPasskey)]
pub(in super::super) struct AddBody {
    /// `RegistrationResponseJSON`: what a browser's credential says by `toJSON()`.
    #[schema(value_type = Object)]
    passkey: RegistrationResponse,
    /// What the factor is called: up to 98 bytes, without control characters.
    #[schema(example = "the key on my key ring")]
    name: String,
}

/// Says what passkey is to be made.
#[utoipa::path(
    post, path = "/second-factors/passkeys/options", tag = "second factors", security(("bearer" = [])),
    params(("Reauthentication-Token" = String, Header, description = "Of `POST /reauthenticate`.")),
    responses(
        (status = 200, body = CreationOptions),
        (status = "4XX", description = "`reauthentication_required`, `too_many_factors`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(in super::super) async fn options(
    ReauthenticatedDevice(bearer): ReauthenticatedDevice,
    State(service): State<NativeService>,
) -> Result<Json<CreationOptions>, Problem> {
    let setup = service.start_passkey(&bearer).await.map_err(refuse)?;
    Ok(Json(setup.into()))
}

/// Adds the passkey that was made. From now on log-ins by password ask for a second factor, and the passkey can log in by
/// itself.
#[utoipa::path(
    post, path = "/second-factors/passkeys", tag = "second factors", security(("bearer" = [])),
    request_body = AddBody,
    responses(
        (status = 201, body = AddedBody),
        (status = "4XX", description = "`second_factor_failed`, `too_many_factors`, `invalid_body`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(in super::super) async fn add(
    // The challenge came with a fresh proof, and is good once and for that account.
    BearerDevice(bearer): BearerDevice,
    State(service): State<Arc<SecondFactors>>,
    Body(body): Body<AddBody>,
) -> Result<(StatusCode, Json<AddedBody>), Problem> {
    let label = label(body.name)?;
    let (aci, made) = (bearer.device.aci, body.passkey.attestation());
    let id = service.finish_passkey(aci, Ceremony::Challenged, made, label).await.map_err(refuse)?;
    Ok((StatusCode::CREATED, Json(id.into())))
}
