//! `POST /second-factors/recovery-codes`.

use std::sync::Arc;

use auth::second_factor::{SecondFactors, recovery::RecoveryCode};
use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        problem::{Code, Problem, ProblemBody},
        tokens,
    },
    refuse,
};
use crate::caller::ReauthenticatedDevice;

/// Codes for the day that all factors are lost. This is the only time that they are shown.
#[derive(Serialize, ToSchema)]
#[schema(as = RecoveryCodes)]
pub(in super::super) struct RecoveryCodesBody {
    /// Each good once.
    #[schema(example = json!(["0000-0000-0000-0000-0000-0000"]))]
    recovery_codes: Vec<String>,
}

/// Makes ten recovery codes, in the place of all that there were.
#[utoipa::path(
    post, path = "/second-factors/recovery-codes", tag = "second factors", security(("bearer" = [])),
    params(("Reauthentication-Token" = String, Header, description = "Of `POST /reauthenticate`.")),
    responses(
        (status = 200, body = RecoveryCodesBody),
        (status = "4XX", description = "`reauthentication_required`, `no_second_factor`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(in super::super) async fn make(
    ReauthenticatedDevice(bearer): ReauthenticatedDevice,
    State(service): State<Arc<SecondFactors>>,
) -> Result<Response, Problem> {
    let codes = service.make_recovery_codes(bearer.device.aci).await.map_err(refuse)?;
    let codes = codes.ok_or(Problem::of(Code::NoSecondFactor))?;
    let recovery_codes = codes.iter().map(RecoveryCode::to_text).collect();
    Ok(tokens::answer(StatusCode::OK, RecoveryCodesBody { recovery_codes }))
}
