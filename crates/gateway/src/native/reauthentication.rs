//! `POST /reauthenticate`.

use auth::native::{
    NativeService,
    factors::{FRESH_LIFE, OwnerProof, ReauthenticateError},
};
use auth::second_factor::FactorProof;
use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    extract::{Body, Secret},
    factor_proof::ProofFields,
    problem::{Code, Problem, ProblemBody},
    second_step::SecondStepFields,
    tokens,
};
use crate::caller::BearerDevice;

/// By what somebody shows again who they are: the password, with a second factor if the account has any; or a passkey
/// alone, asked by `POST /login/passkey/options`.
#[derive(Deserialize, ToSchema)]
#[schema(as = Reauthenticate)]
pub(super) struct ReauthenticateBody {
    #[schema(example = "a sentence is fine", value_type = Option<String>)]
    password: Option<Secret>,
    #[serde(flatten)]
    proof: ProofFields,
}

/// Somebody has shown who they are.
#[derive(Serialize, ToSchema)]
#[schema(as = Reauthenticated)]
pub(super) struct ReauthenticatedBody {
    /// Goes along as `Reauthentication-Token` with what takes it, from the same session.
    reauthentication_token: String,
    /// Seconds for which it is good.
    #[schema(example = 600)]
    expires_in: u64,
}

/// Takes a fresh proof of who is logged in, which changing second factors asks for: an access token alone may be stolen.
#[utoipa::path(
    post, path = "/reauthenticate", tag = "sessions", security(("bearer" = [])),
    request_body = ReauthenticateBody,
    responses(
        (status = 200, body = ReauthenticatedBody),
        (status = "4XX", description = "`wrong_password`, `second_factor_required`, `second_factor_failed`, \
            `invalid_second_factor`, `rate_limited`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn reauthenticate(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
    Body(body): Body<ReauthenticateBody>,
) -> Result<Response, Problem> {
    let proof = match (body.password, body.proof.read()?) {
        (Some(password), factor) => OwnerProof::Password(password.0, factor),
        (None, Some(FactorProof::Passkey(response))) => OwnerProof::Passkey(response),
        (None, _) => return Err(Problem::of(Code::InvalidBody)),
    };
    let fresh = service.reauthenticate(&bearer, proof).await.map_err(|error| match error {
        ReauthenticateError::WrongPassword => Problem::of(Code::WrongPassword),
        ReauthenticateError::FactorMissing(offer) => {
            Problem::asking(Code::SecondFactorRequired, SecondStepFields::offering(offer))
        }
        ReauthenticateError::FactorRefused => Problem::of(Code::SecondFactorFailed),
        ReauthenticateError::RateLimited(wait) => Problem::rate_limited(wait),
        ReauthenticateError::Busy => Problem::busy(),
        ReauthenticateError::Gone => Problem::of(Code::Unauthorized),
        ReauthenticateError::Storage(error) => error.into(),
    })?;
    let body = ReauthenticatedBody {
        reauthentication_token: fresh.token.to_text().to_string(),
        expires_in: FRESH_LIFE.as_secs(),
    };
    Ok(tokens::answer(StatusCode::OK, body))
}
