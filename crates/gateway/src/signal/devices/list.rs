//! `GET /v1/devices`, and how a device looks to its account.

use auth::{
    AccountService,
    devices::{DeviceInfo, DeviceList},
    settings::AccountError,
};
use axum::{Json, extract::State};
use http::StatusCode;
use protocol::{RegistrationId, ambient::Timestamp, base64, keys::EcPublicKey};
use serde::Serialize;

use super::created_at;
use crate::{caller::AuthenticatedDevice, reply::Refusal, signal::accounts};

#[derive(Serialize)]
pub(super) struct DeviceListBody {
    devices: Vec<DeviceInfoBody>,
}

/// A device as its account may see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceInfoBody {
    id: u8,
    name: Option<String>,
    last_seen: Timestamp,
    registration_id: RegistrationId,
    /// Absent while the account has no identity key to seal it to.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at_ciphertext: Option<String>,
}

pub(super) async fn list(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
) -> Result<Json<DeviceListBody>, Refusal> {
    let DeviceList { identity_key, devices } = accounts.devices(&device).await.map_err(refuse)?;
    let devices =
        devices.iter().map(|device| body(device, identity_key.as_ref())).collect::<Result<_, _>>()?;
    Ok(Json(DeviceListBody { devices }))
}

fn refuse(error: AccountError) -> Refusal {
    match error {
        // As in Signal's service, which here does not answer 401 as elsewhere.
        AccountError::Gone => Refusal::bare(StatusCode::FORBIDDEN),
        other => accounts::refuse(other),
    }
}

pub(super) fn body(
    device: &DeviceInfo,
    identity_key: Option<&EcPublicKey>,
) -> Result<DeviceInfoBody, Refusal> {
    let created_at = identity_key.map(|key| created_at::seal(device, key)).transpose()?;
    Ok(DeviceInfoBody {
        id: device.id.get(),
        name: device.name.as_ref().map(|name| base64::encode_padded(name.as_bytes())),
        last_seen: device.last_seen,
        registration_id: device.registration_id,
        created_at_ciphertext: created_at.map(base64::encode_unpadded),
    })
}
