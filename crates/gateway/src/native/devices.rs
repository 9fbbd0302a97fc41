//! `GET /devices`, `DELETE /devices/{device_id}`: the devices of one's own account.

use auth::{
    AccountService,
    devices::{DeviceInfo, RemoveDeviceError},
    settings::AccountError,
};
use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use protocol::DeviceId;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Code, Problem, ProblemBody};
use crate::caller::BearerDevice;

/// The devices of an account.
#[derive(Serialize, ToSchema)]
#[schema(as = Devices)]
pub(super) struct DevicesBody {
    devices: Vec<DeviceBody>,
}

/// A device. Times are milliseconds since the epoch.
#[derive(Serialize, ToSchema)]
#[schema(as = Device)]
struct DeviceBody {
    device_id: u8,
    registration_id: u16,
    /// When it was added.
    created: u64,
    /// Midnight (UTC) of the day on which it was last seen.
    last_seen: u64,
    /// It is the one that calls.
    current: bool,
}

/// Shows the devices of the account.
#[utoipa::path(
    get, path = "/devices", tag = "accounts", security(("bearer" = [])),
    responses(
        (status = 200, body = DevicesBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    BearerDevice(bearer): BearerDevice,
    State(accounts): State<AccountService>,
) -> Result<Json<DevicesBody>, Problem> {
    let list = accounts.devices(&bearer.device).await.map_err(refuse)?;
    let devices = list.devices.iter().map(|device| DeviceBody::of(device, bearer.device.device_id));
    Ok(Json(DevicesBody { devices: devices.collect() }))
}

/// Removes a device with its keys, its session and what waits for it. The primary device removes any other, another only
/// itself; the primary goes with the account.
#[utoipa::path(
    delete, path = "/devices/{device_id}", tag = "accounts", security(("bearer" = [])),
    params(("device_id" = u8, Path, description = "As `GET /devices` shows it.")),
    responses(
        (status = 204, description = "It is gone, or there was none."),
        (status = "4XX", description = "`not_primary`, `not_found`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove(
    BearerDevice(bearer): BearerDevice,
    State(accounts): State<AccountService>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: DeviceId = id.parse().map_err(|_| Problem::of(Code::NotFound))?;
    accounts.remove_device(&bearer.device, id).await.map_err(|error| match error {
        RemoveDeviceError::NotPermitted => Problem::of(Code::NotPrimary),
        RemoveDeviceError::Primary => Problem::of(Code::PrimaryStays),
        RemoveDeviceError::Storage(error) => error.into(),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

impl DeviceBody {
    fn of(device: &DeviceInfo, current: DeviceId) -> Self {
        Self {
            device_id: device.id.get(),
            registration_id: device.registration_id.get(),
            created: device.created.as_millis(),
            last_seen: device.last_seen.as_millis(),
            current: device.id == current,
        }
    }
}

fn refuse(error: AccountError) -> Problem {
    match error {
        AccountError::Gone | AccountError::NoNumber | AccountError::NoIdentityKey => {
            Problem::of(Code::Unauthorized)
        }
        AccountError::Storage(error) => error.into(),
    }
}
