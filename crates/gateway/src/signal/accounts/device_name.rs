//! `PUT /v1/accounts/name?deviceId=`.

use auth::{AccountService, attributes, settings::RenameError};
use axum::extract::{Query, State};
use http::StatusCode;
use serde::Deserialize;

use crate::{body::JsonBody, caller::AuthenticatedDevice, reply::Refusal};

/// Which device is named; the calling one unless said otherwise.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceQuery {
    device_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceNameBody {
    device_name: String,
}

pub(super) async fn set(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
    Query(query): Query<DeviceQuery>,
    JsonBody(body): JsonBody<DeviceNameBody>,
) -> Result<StatusCode, Refusal> {
    let named = match query.device_id {
        Some(text) => text.parse().map_err(|_| Refusal::bare(StatusCode::NOT_FOUND))?,
        None => device.device_id,
    };
    let name = attributes::device_name(&body.device_name)
        .map_err(|_| Refusal::invalid("a device name has 1 to 225 bytes"))?;
    accounts.set_device_name(&device, named, name).await.map_err(refuse)?;
    Ok(StatusCode::NO_CONTENT)
}

fn refuse(error: RenameError) -> Refusal {
    match error {
        RenameError::NotPermitted => Refusal::bare(StatusCode::FORBIDDEN),
        RenameError::NoSuchDevice => Refusal::bare(StatusCode::NOT_FOUND),
        RenameError::Storage(error) => error.into(),
    }
}
