//! `PUT /v1/messages/{serviceId}`.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::StatusCode;
use messages::{
    DeviceMismatch, IndividualMessage, MessageService, OutgoingMessage, SendError, Sender, Sent,
    limits::TIMESTAMP_MAX,
};
use protocol::{ServiceId, ambient::Timestamp, base64, envelope::EnvelopeType};
use serde::{Deserialize, Serialize};

use crate::{body::JsonBody, caller::AuthenticatedDevice, reply::Refusal};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SendRequest {
    messages: Vec<CopyJson>,
    #[serde(default)]
    online: Option<bool>,
    #[serde(default)]
    urgent: Option<bool>,
    #[serde(default)]
    timestamp: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CopyJson {
    #[serde(default)]
    r#type: i32,
    #[serde(default)]
    destination_device_id: i64,
    #[serde(default)]
    destination_registration_id: i64,
    #[serde(with = "base64::padded")]
    content: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SendResponse {
    needs_sync: bool,
}

/// Body of 409: devices that were left out, and devices that do not exist.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MismatchedDevices {
    missing_devices: Vec<u8>,
    extra_devices: Vec<u8>,
}

/// Body of 410: devices that have been reinstalled.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StaleDevices {
    stale_devices: Vec<u8>,
}

pub(super) async fn send(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(service): State<MessageService>,
    Path(destination): Path<String>,
    JsonBody(request): JsonBody<SendRequest>,
) -> Response {
    let Ok(destination) = destination.parse::<ServiceId>() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let message = match outgoing(request) {
        Ok(message) => message,
        Err(refusal) => return refusal.into_response(),
    };
    match service.send(Sender(device.address()), destination, message).await {
        Ok(Sent { needs_sync }) => Json(SendResponse { needs_sync }).into_response(),
        Err(error) => refuse(error),
    }
}

fn outgoing(request: SendRequest) -> Result<OutgoingMessage, Refusal> {
    let timestamp = request.timestamp.unwrap_or_default();
    if timestamp > TIMESTAMP_MAX {
        return Err(Refusal::invalid("the timestamp is out of range"));
    }
    if request.messages.is_empty() {
        return Err(Refusal::invalid("there is no message"));
    }
    let copies = request.messages.into_iter().map(copy).collect::<Result<Vec<_>, _>>()?;
    let devices: BTreeSet<_> = copies.iter().map(|copy| copy.device_id).collect();
    if devices.len() < copies.len() {
        return Err(Refusal::invalid("a device is addressed twice"));
    }
    Ok(OutgoingMessage {
        copies,
        timestamp: Timestamp::from_millis(timestamp),
        ephemeral: request.online.unwrap_or_default(),
        urgent: request.urgent.unwrap_or(true),
    })
}

fn copy(copy: CopyJson) -> Result<IndividualMessage, Refusal> {
    // Clients of long ago sent type 0; what its content is only the recipient can say.
    let kind = match copy.r#type {
        0 | 1 | 3 | 6 | 8 => EnvelopeType::try_from(copy.r#type),
        _ => return Err(Refusal::invalid("messages of this type are not sent by clients")),
    };
    if copy.content.is_empty() {
        return Err(Refusal::invalid("a message has no content"));
    }
    let not_a_device = Refusal::new(StatusCode::BAD_REQUEST, "not a device id");
    let device_id = i8::try_from(copy.destination_device_id).map_err(|_| not_a_device)?;
    Ok(IndividualMessage {
        // A device below 1 does not exist and is reported as such.
        device_id: u8::try_from(device_id).unwrap_or_default(),
        // Neither does a device have a registration id out of range: it is reported as stale.
        registration_id: u32::try_from(copy.destination_registration_id).unwrap_or_default(),
        kind: kind.map_err(|_| Refusal::invalid("an unknown type of message"))?,
        content: Bytes::from(copy.content),
    })
}

fn refuse(error: SendError) -> Response {
    match error {
        SendError::RecipientNotFound => StatusCode::NOT_FOUND.into_response(),
        SendError::OwnPhoneNumberIdentity => StatusCode::FORBIDDEN.into_response(),
        SendError::MismatchedDevices(mismatch) => mismatched(mismatch),
        SendError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        SendError::RateLimited(wait) => Refusal::rate_limited(wait).into_response(),
        SendError::Overloaded => Refusal::overloaded().into_response(),
        SendError::Storage(error) => Refusal::from(error).into_response(),
    }
}

/// Stale devices come first: a client mends one kind at a time.
fn mismatched(DeviceMismatch { missing, extra, stale }: DeviceMismatch) -> Response {
    if stale.is_empty() {
        let body = MismatchedDevices { missing_devices: missing, extra_devices: extra };
        (StatusCode::CONFLICT, Json(body)).into_response()
    } else {
        (StatusCode::GONE, Json(StaleDevices { stale_devices: stale })).into_response()
    }
}
