//! `GET /devices`, `PATCH /devices/{device_id}`, `DELETE /devices/{device_id}`: the devices of one's own account.

use auth::{
    AccountService,
    devices::RemoveDeviceError,
    native::{DeviceLabel, NativeService, devices::NativeDevice},
    settings::RenameError,
};
use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use protocol::{DeviceId, PushService};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    extract::Body,
    problem::{Code, Problem, ProblemBody},
};
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
    /// What the person calls it.
    device_name: Option<String>,
    kind: DeviceKind,
    registration_id: u16,
    /// When it was added.
    created: u64,
    /// Midnight (UTC) of the day on which it was last seen.
    last_seen: u64,
    /// Who wakes it when something waits for it, if it has registered for that (`PUT /push`).
    push: Option<PushKind>,
    /// It is the one that calls.
    current: bool,
}

/// What a device may do in its account.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum DeviceKind {
    /// The one with which the account began. It names and removes the others, and goes with the account.
    Primary,
    /// Any other.
    Linked,
}

/// Who delivers pushes.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PushKind {
    /// A push server of Web Push, which `UnifiedPush` speaks too.
    WebPush,
    /// Google.
    Fcm,
    /// Apple.
    Apns,
}

/// What a device is to be called.
#[derive(Deserialize, ToSchema)]
#[schema(as = RenameDevice)]
pub(super) struct RenameBody {
    /// Up to 225 bytes; null for no name.
    // Else a body without it would take the name away.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, example = "Anna's tablet")]
    device_name: Option<String>,
}

/// Shows the devices of the account.
#[utoipa::path(
    get, path = "/devices", tag = "devices", security(("bearer" = [])),
    responses(
        (status = 200, body = DevicesBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
) -> Result<Json<DevicesBody>, Problem> {
    let devices = service.devices(&bearer).await?;
    let devices = devices.iter().map(|device| DeviceBody::of(device, bearer.device.device_id));
    Ok(Json(DevicesBody { devices: devices.collect() }))
}

/// Calls a device something else. The primary device names any, another only itself.
#[utoipa::path(
    patch, path = "/devices/{device_id}", tag = "devices", security(("bearer" = [])),
    params(("device_id" = u8, Path, description = "As `GET /devices` shows it.")),
    request_body = RenameBody,
    responses(
        (status = 204, description = "It is called that."),
        (status = "4XX", description = "`not_primary`, `not_found`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn rename(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
    Path(id): Path<String>,
    Body(body): Body<RenameBody>,
) -> Result<StatusCode, Problem> {
    let label = body.device_name.map(|name| DeviceLabel::new(name).ok_or(Problem::of(Code::InvalidBody)));
    let label = label.transpose()?;
    service.rename_device(&bearer, device_id(&id)?, label).await.map_err(|error| match error {
        RenameError::NotPermitted => Problem::of(Code::NotPrimary),
        RenameError::NoSuchDevice => Problem::of(Code::NotFound),
        RenameError::Storage(error) => error.into(),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a device with its keys, its session and what waits for it. The primary device removes any other, another only
/// itself; the primary goes with the account.
#[utoipa::path(
    delete, path = "/devices/{device_id}", tag = "devices", security(("bearer" = [])),
    params(("device_id" = u8, Path, description = "As `GET /devices` shows it.")),
    responses(
        (status = 204, description = "It is gone, or there was none."),
        (status = "4XX", description = "`not_primary`, `primary_stays`, `not_found`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove(
    BearerDevice(bearer): BearerDevice,
    State(accounts): State<AccountService>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    accounts.remove_device(&bearer.device, device_id(&id)?).await.map_err(|error| match error {
        RemoveDeviceError::NotPermitted => Problem::of(Code::NotPrimary),
        RemoveDeviceError::Primary => Problem::of(Code::PrimaryStays),
        RemoveDeviceError::Storage(error) => error.into(),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

fn device_id(text: &str) -> Result<DeviceId, Problem> {
    text.parse().map_err(|_| Problem::of(Code::NotFound))
}

impl DeviceBody {
    fn of(device: &NativeDevice, current: DeviceId) -> Self {
        Self {
            device_id: device.id.get(),
            device_name: device.label.as_ref().map(|label| label.as_str().to_owned()),
            kind: if device.id.is_primary() { DeviceKind::Primary } else { DeviceKind::Linked },
            registration_id: device.registration_id.get(),
            created: device.created.as_millis(),
            last_seen: device.last_seen.as_millis(),
            push: device.push.map(PushKind::from),
            current: device.id == current,
        }
    }
}

impl From<PushService> for PushKind {
    fn from(service: PushService) -> Self {
        match service {
            PushService::WebPush => Self::WebPush,
            PushService::Fcm => Self::Fcm,
            PushService::Apns => Self::Apns,
        }
    }
}
