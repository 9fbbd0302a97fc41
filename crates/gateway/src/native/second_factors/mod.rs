//! `/second-factors`: what an account asks for besides its password, and how it is looked after.
//!
//! What adds or removes a factor takes a fresh proof of who asks
//! ([`ReauthenticatedDevice`]): with an access token alone nobody takes an account over.

pub(super) mod passkeys;
pub(super) mod recovery_codes;
pub(super) mod totp;

use std::sync::Arc;

use auth::second_factor::{Factor, FactorError, FactorId, FactorKind, Label, PlainLabel, SecondFactors};
use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    extract::Body,
    problem::{Code, Problem, ProblemBody},
};
use crate::caller::{BearerDevice, ReauthenticatedDevice};

/// What an account asks for besides its password.
#[derive(Serialize, ToSchema)]
#[schema(as = SecondFactors)]
pub(super) struct FactorsBody {
    second_factors: Vec<FactorBody>,
    /// Recovery codes that are left.
    recovery_codes: usize,
}

/// A second factor.
#[derive(Serialize, ToSchema)]
#[schema(as = SecondFactor)]
struct FactorBody {
    factor_id: u8,
    /// `totp` or `passkey`.
    #[schema(example = "totp")]
    kind: &'static str,
    /// What its owner calls it; nothing if an official client has encrypted that.
    name: Option<String>,
    /// When it was added, in milliseconds since the epoch.
    created: u64,
}

/// A factor that was added.
#[derive(Serialize, ToSchema)]
#[schema(as = SecondFactorAdded)]
pub(super) struct AddedBody {
    factor_id: u8,
}

/// What a factor is called.
#[derive(Deserialize, ToSchema)]
#[schema(as = RenameSecondFactor)]
pub(super) struct RenameBody {
    /// Up to 98 bytes, without control characters.
    #[schema(example = "my phone")]
    name: String,
}

/// Shows the second factors of the account.
#[utoipa::path(
    get, path = "/second-factors", tag = "second factors", security(("bearer" = [])),
    responses(
        (status = 200, body = FactorsBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    BearerDevice(bearer): BearerDevice,
    State(service): State<Arc<SecondFactors>>,
) -> Result<Json<FactorsBody>, Problem> {
    let factors = service.factors(bearer.device.aci).await.map_err(refuse)?;
    Ok(Json(FactorsBody {
        second_factors: factors.confirmed.iter().map(FactorBody::from).collect(),
        recovery_codes: factors.recovery_codes,
    }))
}

/// Gives a factor another name.
#[utoipa::path(
    put, path = "/second-factors/{factor_id}", tag = "second factors", security(("bearer" = [])),
    params(("factor_id" = u8, Path, description = "As `GET /second-factors` shows it.")),
    request_body = RenameBody,
    responses(
        (status = 204, description = "It has that name."),
        (status = "4XX", description = "`not_found`, `invalid_body`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn rename(
    BearerDevice(bearer): BearerDevice,
    State(service): State<Arc<SecondFactors>>,
    Path(id): Path<String>,
    Body(body): Body<RenameBody>,
) -> Result<StatusCode, Problem> {
    let label = label(body.name)?;
    let found = service.set_label(bearer.device.aci, factor_id(&id)?, label).await.map_err(refuse)?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::of(Code::NotFound)) }
}

/// Removes a factor. With the last one go the recovery codes.
#[utoipa::path(
    delete, path = "/second-factors/{factor_id}", tag = "second factors", security(("bearer" = [])),
    params(
        ("factor_id" = u8, Path, description = "As `GET /second-factors` shows it."),
        ("Reauthentication-Token" = String, Header, description = "Of `POST /reauthenticate`."),
    ),
    responses(
        (status = 204, description = "It is gone."),
        (status = "4XX", description = "`reauthentication_required`, `not_found`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove(
    ReauthenticatedDevice(bearer): ReauthenticatedDevice,
    State(service): State<Arc<SecondFactors>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let removed = service.remove(bearer.device.aci, factor_id(&id)?, None).await.map_err(refuse)?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::of(Code::NotFound)) }
}

fn factor_id(text: &str) -> Result<FactorId, Problem> {
    let id = text.parse::<u32>().ok().and_then(|id| FactorId::try_from(id).ok());
    id.ok_or(Problem::of(Code::NotFound))
}

fn label(text: String) -> Result<Label, Problem> {
    PlainLabel::new(text).map(Label::Plain).ok_or(Problem::of(Code::InvalidBody))
}

fn refuse(error: FactorError) -> Problem {
    match error {
        FactorError::Gone => Problem::of(Code::Unauthorized),
        FactorError::TooManyTotpKeys | FactorError::TooMany => Problem::of(Code::TooManyFactors),
        // Only Signal's ceremony minds numbers.
        FactorError::NotVerified | FactorError::HasNumber => Problem::of(Code::SecondFactorFailed),
        FactorError::RateLimited(wait) => Problem::rate_limited(wait),
        FactorError::Storage(error) => error.into(),
    }
}

impl From<&Factor> for FactorBody {
    fn from(factor: &Factor) -> Self {
        Self {
            factor_id: factor.id.get(),
            kind: match factor.secret.kind() {
                FactorKind::Totp => "totp",
                FactorKind::Passkey => "passkey",
            },
            name: match &factor.label {
                Label::Plain(label) => Some(label.as_str().to_owned()),
                Label::Encrypted(_) => None,
            },
            created: factor.created.as_millis(),
        }
    }
}

impl From<FactorId> for AddedBody {
    fn from(id: FactorId) -> Self {
        Self { factor_id: id.get() }
    }
}
