//! `PUT /v1/messages/{serviceId}`: identified messages, messages of sealed sender, and stories.

use std::collections::BTreeSet;

use auth::Authenticated;
use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use messages::{
    DeviceMismatch, IndividualMessage, MessageService, OutgoingMessage, SendError, SendOptions, Sender, Sent,
    limits::TIMESTAMP_MAX,
};
use protocol::{ServiceId, UnidentifiedCredential, ambient::Timestamp, base64, envelope::EnvelopeType};
use serde::{Deserialize, Serialize};

use super::{super::unidentified::Presented, refuse_queue};
use crate::{
    body::JsonBody,
    caller::MaybeAuthenticated,
    reply::{JSON, Refusal},
    signal::challenge,
};

/// Whether the message is part of a story.
#[derive(Default, Deserialize)]
pub(super) struct SendQuery {
    #[serde(default)]
    story: bool,
}

/// On what ground a message is sent.
enum Ground {
    Identified(Authenticated),
    Sealed(UnidentifiedCredential),
    /// None: nobody has to show anything for a story.
    Story,
}

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
    #[serde(deserialize_with = "base64::bytes")]
    content: Bytes,
}

/// The body that answers a message which was accepted, in JSON.
pub(super) fn accepted(Sent { needs_sync }: Sent) -> Bytes {
    Bytes::from_static(if needs_sync { br#"{"needsSync":true}"# } else { br#"{"needsSync":false}"# })
}

/// Body of 409: devices that were left out, and devices that do not exist.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MismatchedDevices {
    pub(super) missing_devices: Vec<u8>,
    pub(super) extra_devices: Vec<u8>,
}

/// Body of 410: devices that have been reinstalled.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StaleDevices {
    pub(super) stale_devices: Vec<u8>,
}

pub(super) async fn send(
    MaybeAuthenticated(device): MaybeAuthenticated,
    State(service): State<MessageService>,
    Path(destination): Path<String>,
    Query(query): Query<SendQuery>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<SendRequest>,
) -> Result<Response, Refusal> {
    let destination: ServiceId = destination.parse().map_err(|_| Refusal::bare(StatusCode::NOT_FOUND))?;
    let shown = Presented::of(&headers)?;
    let sent = perform(&service, device, destination, shown, query.story, request).await;
    let json = [(CONTENT_TYPE, JSON)];
    Ok(sent.map_or_else(|refused| refused, |sent| (json, accepted(sent)).into_response()))
}

/// Sends what a request says that has been read, whichever way it came; an error is the answer.
pub(super) async fn perform(
    service: &MessageService,
    device: Option<Authenticated>,
    destination: ServiceId,
    shown: Presented,
    story: bool,
    request: SendRequest,
) -> Result<Sent, Response> {
    let ground = Ground::of(device, shown, story).map_err(IntoResponse::into_response)?;
    let message = outgoing(request).map_err(IntoResponse::into_response)?;
    let sent = match ground {
        Ground::Identified(device) => service.send(Sender(device.address()), destination, message).await,
        Ground::Sealed(credential) => service.send_sealed(&credential, destination, message).await.map(quiet),
        Ground::Story => service.send_story(destination, message).await.map(quiet),
    };
    sent.map_err(refuse)
}

/// Nobody is asked to tell devices of a sender who is not known.
fn quiet((): ()) -> Sent {
    Sent { needs_sync: false }
}

impl Ground {
    /// Decides between what came with one request. Who says who they are needs nothing more, and an access
    /// key beside it is passed over; a group send token stands alone; for a story nothing counts.
    fn of(device: Option<Authenticated>, shown: Presented, story: bool) -> Result<Self, Refusal> {
        let Presented { access_key, group_send_token } = shown;
        let contradictory = Refusal::new(StatusCode::BAD_REQUEST, "credentials exclude each other");
        match (device, access_key, group_send_token) {
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => Err(contradictory),
            (_, _, Some(_)) if story => Err(contradictory),
            _ if story => Ok(Self::Story),
            (Some(device), _, None) => Ok(Self::Identified(device)),
            (None, Some(key), None) => Ok(Self::Sealed(UnidentifiedCredential::AccessKey(key))),
            (None, None, Some(token)) => Ok(Self::Sealed(UnidentifiedCredential::GroupSendToken(token))),
            (None, None, None) => Err(Refusal::bare(StatusCode::UNAUTHORIZED)),
        }
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
        options: SendOptions {
            timestamp: Timestamp::from_millis(timestamp),
            ephemeral: request.online.unwrap_or_default(),
            urgent: request.urgent.unwrap_or(true),
        },
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
        content: copy.content,
    })
}

fn refuse(error: SendError) -> Response {
    match error {
        SendError::RecipientNotFound => StatusCode::NOT_FOUND.into_response(),
        SendError::OwnPhoneNumberIdentity => StatusCode::FORBIDDEN.into_response(),
        SendError::Unauthorized => StatusCode::UNAUTHORIZED.into_response(),
        SendError::MismatchedDevices(mismatch) => mismatched(mismatch),
        SendError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        SendError::RateLimited(wait) => Refusal::rate_limited(wait).into_response(),
        SendError::Queue(error) => refuse_queue(error).into_response(),
        SendError::ChallengeRequired(challenge) => challenge::rest::required(challenge),
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
