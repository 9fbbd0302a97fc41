//! `GET /v1/devices/provisioning/code`: a code by which one more device can join.

use std::sync::Arc;

use auth::linking::{LinkCodeError, LinkingService};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;

use super::refuse_full;
use crate::{caller::AuthenticatedDevice, reply::Refusal};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkCodeBody {
    verification_code: String,
    token_identifier: String,
}

pub(super) async fn make(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(linking): State<Arc<LinkingService>>,
) -> Response {
    match linking.new_code(&device).await {
        Ok(code) => {
            let body = LinkCodeBody {
                verification_code: code.as_str().to_owned(),
                token_identifier: code.id().to_text(),
            };
            Json(body).into_response()
        }
        Err(error) => refuse(error),
    }
}

fn refuse(error: LinkCodeError) -> Response {
    match error {
        LinkCodeError::Gone | LinkCodeError::NotPrimary => StatusCode::UNAUTHORIZED.into_response(),
        LinkCodeError::Full(full) => refuse_full(full),
        LinkCodeError::RateLimited(wait) => Refusal::rate_limited(wait.0).into_response(),
        LinkCodeError::Storage(error) => Refusal::from(error).into_response(),
    }
}
