//! `PUT` and `GET /v1/devices/transfer_archive`: the primary tells a device that it has linked where its history lies.

use std::sync::Arc;

use auth::handover::{ArchiveNotice, HandoverError, HandoverService};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;

use crate::{
    body::JsonBody,
    caller::AuthenticatedDevice,
    long_poll::{NOTHING_YET, Patience},
    reply::Refusal,
};

pub(super) async fn leave(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(handovers): State<Arc<HandoverService>>,
    JsonBody(notice): JsonBody<ArchiveNotice>,
) -> Result<StatusCode, Refusal> {
    handovers.leave_archive(&device, notice).await.map_err(refuse)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn wait(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(handovers): State<Arc<HandoverService>>,
    Patience(patience): Patience,
) -> Result<Response, Refusal> {
    let found = handovers.wait_for_archive(&device, patience).await.map_err(refuse)?;
    Ok(found.map_or_else(|| NOTHING_YET.into_response(), |archive| Json(archive).into_response()))
}

pub(super) fn refuse(error: HandoverError) -> Refusal {
    match error {
        HandoverError::NotPrimary => {
            Refusal::new(StatusCode::FORBIDDEN, "only the primary device hands over a history")
        }
        HandoverError::Gone => Refusal::bare(StatusCode::UNAUTHORIZED),
        HandoverError::RateLimited(wait) => Refusal::rate_limited(wait.0),
        HandoverError::Storage(error) => error.into(),
    }
}
