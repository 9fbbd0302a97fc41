//! `POST /login/second-factor`, and what leads there.

use auth::native::{
    NativeService,
    factors::{OpaqueToken, SECOND_STEP_LIFE, SecondStep, SecondStepError},
};
use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::{
    extract::{Body, Secret},
    factor_proof::{OfferBody, ProofFields},
    problem::{Code, Problem, ProblemBody},
    tokens::{self, LoggedInBody},
};
use crate::caller::{Anybody, Peer};

/// A log-in that waits for its second factor.
#[derive(Deserialize, ToSchema)]
#[schema(as = FinishLogin)]
pub(super) struct FinishBody {
    /// As `second_factor_required` gave it.
    #[schema(value_type = String)]
    login_token: Secret,
    #[serde(flatten)]
    proof: ProofFields,
}

/// What a problem says when a second factor is asked for.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = SecondStep)]
pub(super) struct SecondStepFields {
    /// Shows at `POST /login/second-factor` that the password was right.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    #[schema(value_type = Option<String>)]
    login_token: Option<OpaqueToken>,
    /// Seconds for which that is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 300)]
    expires_in: Option<u64>,
    /// What may be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    second_factors: Option<OfferBody>,
}

impl SecondStepFields {
    /// What the account takes, and by what the log-in goes on.
    pub(super) fn of(step: SecondStep) -> Self {
        Self {
            login_token: Some(step.token),
            expires_in: Some(SECOND_STEP_LIFE.as_secs()),
            second_factors: Some(step.offer.into()),
        }
    }

    /// What the account takes.
    pub(super) fn offering(offer: impl Into<OfferBody>) -> Self {
        Self { second_factors: Some(offer.into()), ..Self::default() }
    }
}

/// Finishes a log-in whose password was right, by a second factor. A wrong one may be followed by another, a few times; a
/// passkey is then asked by the options that the refusal brings.
#[utoipa::path(
    post, path = "/login/second-factor", tag = "sessions",
    request_body = FinishBody,
    responses(
        (status = 200, description = "The device is logged in.", body = LoggedInBody),
        (status = "4XX", description = "`second_factor_failed`, `login_expired`, `invalid_second_factor`, \
            `rate_limited`, `too_many_devices`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn finish(
    _: Anybody,
    State(service): State<NativeService>,
    peer: Peer,
    Body(body): Body<FinishBody>,
) -> Result<Response, Problem> {
    let proof = body.proof.read()?.ok_or(Problem::of(Code::InvalidBody))?;
    let logged_in = service.finish_login(&body.login_token.0, proof, peer.origin()).await;
    let logged_in = logged_in.map_err(|error| match error {
        SecondStepError::Over => Problem::of(Code::LoginExpired),
        SecondStepError::Refused(offer) => {
            Problem::asking(Code::SecondFactorFailed, SecondStepFields::offering(offer))
        }
        SecondStepError::TooManyDevices => Problem::of(Code::TooManyDevices),
        SecondStepError::RateLimited(wait) => Problem::rate_limited(wait),
        SecondStepError::Storage(error) => error.into(),
    })?;
    Ok(tokens::answer(StatusCode::OK, LoggedInBody::from(&logged_in)))
}

#[expect(clippy::ref_option, reason = "serde gives it so")]
fn as_text<S: Serializer>(token: &Option<OpaqueToken>, serializer: S) -> Result<S::Ok, S::Error> {
    token.as_ref().map(|token| token.to_text().to_string()).serialize(serializer)
}
