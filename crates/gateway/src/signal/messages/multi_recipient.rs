//! `PUT /v1/messages/multi_recipient`.

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use messages::{
    DeviceMismatch, MessageService, MultiRecipientCredential, SendManyError, SendOptions,
    limits::TIMESTAMP_MAX,
};
use protocol::{ServiceId, ambient::Timestamp, multi_recipient::MultiRecipientMessage};
use serde::{Deserialize, Serialize};

use super::{
    super::unidentified::Presented,
    refuse_queue,
    rest::{MismatchedDevices, StaleDevices},
};
use crate::{caller::Anybody, reply::Refusal};

const MEDIA_TYPE: &str = "application/vnd.signal-messenger.mrm";

#[derive(Deserialize)]
pub(super) struct SendQuery {
    #[serde(default)]
    ts: u64,
    #[serde(default)]
    online: bool,
    #[serde(default = "urgent_unless_said_otherwise")]
    urgent: bool,
    #[serde(default)]
    story: bool,
}

fn urgent_unless_said_otherwise() -> bool {
    true
}

#[derive(Serialize)]
struct SendResponse {
    /// Recipients that do not exist.
    uuids404: Vec<String>,
}

/// An element of the body of 409 and 410.
#[derive(Serialize)]
struct RecipientDevices<T> {
    uuid: String,
    devices: T,
}

pub(super) async fn send(
    Anybody: Anybody,
    State(service): State<MessageService>,
    Query(query): Query<SendQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media_type.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(MEDIA_TYPE)) {
        return Err(Refusal::bare(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let malformed = Refusal::new(StatusCode::BAD_REQUEST, "not a multi-recipient message");
    let message = MultiRecipientMessage::parse(&body).map_err(|_| malformed)?;
    if query.ts > TIMESTAMP_MAX {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the timestamp is out of range"));
    }
    let credential = credential(Presented::of(&headers)?, query.story)?;
    let options = SendOptions {
        timestamp: Timestamp::from_millis(query.ts),
        ephemeral: query.online,
        urgent: query.urgent,
    };
    match service.send_to_many(&credential, &message, &options).await {
        Ok(unresolved) => {
            let uuids404 = unresolved.iter().map(ServiceId::to_string).collect();
            Ok(Json(SendResponse { uuids404 }).into_response())
        }
        Err(error) => refuse(error),
    }
}

fn credential(shown: Presented, story: bool) -> Result<MultiRecipientCredential, Refusal> {
    let contradictory = Refusal::new(StatusCode::BAD_REQUEST, "credentials exclude each other");
    match (shown.access_key, shown.group_send_token) {
        (_, Some(_)) if story => Err(contradictory),
        _ if story => Ok(MultiRecipientCredential::Story),
        (None, None) => Err(Refusal::bare(StatusCode::UNAUTHORIZED)),
        (Some(_), Some(_)) => Err(contradictory),
        (Some(key), None) => Ok(MultiRecipientCredential::CombinedAccessKey(key)),
        (None, Some(token)) => Ok(MultiRecipientCredential::GroupSendToken(token)),
    }
}

fn refuse(error: SendManyError) -> Result<Response, Refusal> {
    Err(match error {
        SendManyError::Invalid => Refusal::new(StatusCode::BAD_REQUEST, "the recipients make no sense"),
        SendManyError::Unauthorized => Refusal::bare(StatusCode::UNAUTHORIZED),
        SendManyError::RecipientNotFound => Refusal::bare(StatusCode::NOT_FOUND),
        SendManyError::MismatchedDevices(mismatches) => return Ok(mismatched(mismatches)),
        SendManyError::TooLarge => Refusal::bare(StatusCode::PAYLOAD_TOO_LARGE),
        SendManyError::RateLimited(wait) => Refusal::rate_limited(wait),
        SendManyError::Queue(error) => refuse_queue(error),
    })
}

/// Missing and extra devices come first here, and stale ones only when nobody has any of those: the other
/// way round than for one recipient.
fn mismatched(mismatches: Vec<(ServiceId, DeviceMismatch)>) -> Response {
    let wrong = |mismatch: &DeviceMismatch| !mismatch.missing.is_empty() || !mismatch.extra.is_empty();
    if mismatches.iter().any(|(_, mismatch)| wrong(mismatch)) {
        let body = mismatches.into_iter().filter(|(_, mismatch)| wrong(mismatch)).map(|(id, mismatch)| {
            let DeviceMismatch { missing, extra, .. } = mismatch;
            let devices = MismatchedDevices { missing_devices: missing, extra_devices: extra };
            RecipientDevices { uuid: id.to_string(), devices }
        });
        return (StatusCode::CONFLICT, Json(body.collect::<Vec<_>>())).into_response();
    }
    let body = mismatches.into_iter().map(|(id, mismatch)| RecipientDevices {
        uuid: id.to_string(),
        devices: StaleDevices { stale_devices: mismatch.stale },
    });
    (StatusCode::GONE, Json(body.collect::<Vec<_>>())).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use protocol::{Aci, Pni};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    async fn answer(mismatches: Vec<(ServiceId, DeviceMismatch)>) -> (u16, Value) {
        let response = mismatched(mismatches);
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn stale_devices_are_told_only_when_nothing_else_is_wrong() {
        let (aci, pni) = (Aci(Uuid::from_u128(1)), Pni(Uuid::from_u128(2)));
        let stale = (aci.into(), DeviceMismatch { stale: vec![3], ..DeviceMismatch::default() });
        let extra = (
            ServiceId::Pni(pni),
            DeviceMismatch { extra: vec![4], stale: vec![1], ..DeviceMismatch::default() },
        );
        assert_eq!(
            answer(vec![stale.clone()]).await,
            (410, json!([{"uuid": aci.to_string(), "devices": {"staleDevices": [3]}}]))
        );
        let devices = json!({"missingDevices": [], "extraDevices": [4]});
        assert_eq!(
            answer(vec![stale, extra]).await,
            (409, json!([{"uuid": format!("PNI:{}", pni.0), "devices": devices}]))
        );
    }
}
