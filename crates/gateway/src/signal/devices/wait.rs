//! `GET /v1/devices/wait_for_linked_device/{tokenIdentifier}?timeout=`: the primary waits for the device it lets in.

use std::sync::Arc;

use auth::linking::{
    LinkCodeId, LinkingService,
    wait::{NewDevice, WaitError},
};
use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;

use super::list;
use crate::{
    caller::AuthenticatedDevice,
    long_poll::{NOTHING_YET, Patience},
    reply::Refusal,
};

pub(super) async fn wait(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(linking): State<Arc<LinkingService>>,
    Path(code): Path<String>,
    Patience(patience): Patience,
) -> Result<Response, Refusal> {
    let code = LinkCodeId::from_text(&code)
        .ok_or(Refusal::new(StatusCode::BAD_REQUEST, "that is not the identifier of a code"))?;
    match linking.wait_for_linked(&device, code, patience).await.map_err(refuse)? {
        Some(NewDevice { info, identity_key }) => {
            Ok(Json(list::body(&info, identity_key.as_ref())?).into_response())
        }
        None => Ok(NOTHING_YET.into_response()),
    }
}

fn refuse(error: WaitError) -> Refusal {
    match error {
        // Signal's service has no answer to this one, and fails.
        WaitError::NotPrimary => {
            Refusal::new(StatusCode::BAD_REQUEST, "only the primary device waits for others")
        }
        WaitError::Gone => Refusal::bare(StatusCode::UNAUTHORIZED),
        WaitError::RateLimited(wait) => Refusal::rate_limited(wait.0),
        WaitError::Storage(error) => error.into(),
    }
}
