//! `DELETE /v1/devices/{device}`.

use auth::{AccountService, devices::RemoveDeviceError};
use axum::extract::{Path, State};
use http::StatusCode;
use protocol::DeviceId;

use crate::{caller::AuthenticatedDevice, reply::Refusal};

pub(super) async fn remove(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    let id: DeviceId = id.parse().map_err(|_| Refusal::bare(StatusCode::NOT_FOUND))?;
    accounts.remove_device(&device, id).await.map_err(refuse)?;
    Ok(StatusCode::NO_CONTENT)
}

fn refuse(error: RemoveDeviceError) -> Refusal {
    match error {
        RemoveDeviceError::NotPermitted => Refusal::bare(StatusCode::UNAUTHORIZED),
        RemoveDeviceError::Primary => Refusal::bare(StatusCode::FORBIDDEN),
        RemoveDeviceError::Storage(error) => error.into(),
    }
}
