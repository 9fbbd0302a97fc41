//! `PUT /v2/accounts/number`: the account gets another number.

use std::{collections::BTreeSet, sync::Arc};

use auth::change_number::{ChangeNumberError, ChangeNumberRequest, ChangeNumberService, DeviceSetMismatch};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;

use super::identity::AccountIdentityBody;
use crate::{body::JsonBody, caller::AuthenticatedDevice, reply::Refusal, signal::registration};

/// Body of 409.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MismatchedDevices {
    missing_devices: BTreeSet<u8>,
    extra_devices: BTreeSet<u8>,
}

/// Body of 410.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StaleDevices {
    stale_devices: BTreeSet<u8>,
}

pub(super) async fn change(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(service): State<Arc<ChangeNumberService>>,
    JsonBody(request): JsonBody<ChangeNumberRequest>,
) -> Result<Json<AccountIdentityBody>, Response> {
    let identity = service.change(&device, request).await.map_err(refuse)?;
    Ok(Json(identity.into()))
}

fn refuse(error: ChangeNumberError) -> Response {
    match error {
        ChangeNumberError::NotPrimary | ChangeNumberError::WrongRecoveryPassword => {
            StatusCode::FORBIDDEN.into_response()
        }
        ChangeNumberError::Gone | ChangeNumberError::NotVerified => StatusCode::UNAUTHORIZED.into_response(),
        ChangeNumberError::InvalidNumber | ChangeNumberError::WrongSession => {
            StatusCode::BAD_REQUEST.into_response()
        }
        ChangeNumberError::NoNumber => {
            Refusal::new(StatusCode::BAD_REQUEST, "the account has no phone number").into_response()
        }
        ChangeNumberError::Incomplete => Refusal::invalid("the request is not complete").into_response(),
        ChangeNumberError::WrongSignature => Refusal::invalid("a signature does not verify").into_response(),
        ChangeNumberError::MismatchedDevices(DeviceSetMismatch { missing, extra }) => {
            let body = MismatchedDevices { missing_devices: missing, extra_devices: extra };
            (StatusCode::CONFLICT, Json(body)).into_response()
        }
        ChangeNumberError::StaleDevices(stale_devices) => {
            (StatusCode::GONE, Json(StaleDevices { stale_devices })).into_response()
        }
        ChangeNumberError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        ChangeNumberError::Locked { time_remaining } => registration::locked(time_remaining),
        ChangeNumberError::RateLimited(wait) => Refusal::rate_limited(wait.0).into_response(),
        ChangeNumberError::Storage(error) => Refusal::from(error).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    async fn read(error: ChangeNumberError) -> (u16, Value) {
        let response = refuse(error);
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn refusals_have_the_documented_statuses() {
        for (error, status) in [
            (ChangeNumberError::NotPrimary, 403),
            (ChangeNumberError::WrongRecoveryPassword, 403),
            (ChangeNumberError::Gone, 401),
            (ChangeNumberError::NotVerified, 401),
            (ChangeNumberError::InvalidNumber, 400),
            (ChangeNumberError::WrongSession, 400),
            (ChangeNumberError::NoNumber, 400),
            (ChangeNumberError::Incomplete, 422),
            (ChangeNumberError::WrongSignature, 422),
            (ChangeNumberError::TooLarge, 413),
        ] {
            assert_eq!(read(error).await.0, status);
        }
        let mismatch = DeviceSetMismatch { missing: [2].into(), extra: BTreeSet::new() };
        let body = json!({"missingDevices": [2], "extraDevices": []});
        assert_eq!(read(ChangeNumberError::MismatchedDevices(mismatch)).await, (409, body));
        let stale = ChangeNumberError::StaleDevices([3].into());
        assert_eq!(read(stale).await, (410, json!({"staleDevices": [3]})));
        let (status, body) =
            read(ChangeNumberError::Locked { time_remaining: Duration::from_millis(7) }).await;
        assert_eq!((status, &body["timeRemaining"]), (423, &json!(7)));
    }
}
