//! `POST /messages`, `GET /messages`, `POST /messages/acknowledge`, `DELETE /messages/{message_id}`.

#![expect(unused_qualifications, reason = "the macro that describes queries writes them out")]

use std::{collections::BTreeSet, time::Duration};

use auth::native::NativeService;
use axum::{
    Json,
    extract::{FromRef, Path, State},
};
use bytes::Bytes;
use http::StatusCode;
use messages::{
    CloseReason, DeviceMismatch, FetchError, IndividualMessage, MessageService, OutgoingMessage, Position,
    SendError, SendOptions, Sender, Sent, SentAlike,
    limits::{PAGE_MESSAGES, TIMESTAMP_MAX},
};
use protocol::{Aci, ServiceId, ambient::Timestamp, base64, envelope::EnvelopeType};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    envelope::MessageBody,
    extract::{Body, Parameters},
    problem::{Code, Devices, Problem, ProblemBody},
};
use crate::{caller::BearerDevice, services::Services};

/// The longest a client may ask to wait for messages, in seconds.
const WAIT_MAX: u64 = 60;

/// Messages acknowledged by one request.
const ACKNOWLEDGED_MAX: usize = 100;

/// How a payload is encrypted, as Signal's protocol has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PayloadType {
    /// A message of an established session, or whatever else sender and recipient have agreed on.
    #[default]
    Ciphertext,
    /// A message that also establishes the session.
    Prekey,
    /// Who sent it is inside.
    Sealed,
    /// Asks to resend what could not be decrypted.
    Plaintext,
}

/// A message to be sent: one payload for every device of the recipient (`encrypted_payload`), or one for each
/// (`messages`).
#[derive(Deserialize, ToSchema)]
#[schema(as = SendMessage)]
pub(super) struct SendBody {
    /// The account it is for.
    #[schema(example = "796abedb-ca4e-4f18-8803-1fde5b921f9f")]
    recipient_id: String,
    /// The account that sends it; if given, it must be the one whom the access token speaks for.
    sender_id: Option<String>,
    /// When it was sent, in milliseconds since the epoch. Names the message between clients.
    #[schema(example = 1_700_000_000_000_u64)]
    timestamp: u64,
    /// In base64. Every device of the recipient gets the same.
    encrypted_payload: Option<String>,
    /// How that is encrypted.
    #[serde(default)]
    r#type: PayloadType,
    /// A payload for each device of the recipient.
    messages: Option<Vec<CopyBody>>,
    /// Only for devices that are connected now.
    #[serde(default)]
    online: bool,
    /// Worth waking a device for.
    urgent: Option<bool>,
}

/// The payload for one device.
#[derive(Deserialize, ToSchema)]
#[schema(as = MessageCopy)]
struct CopyBody {
    device_id: u8,
    /// As `GET /keys/{user_id}` says it.
    registration_id: u16,
    #[serde(default)]
    r#type: PayloadType,
    /// In base64.
    encrypted_payload: String,
}

/// The message has been accepted: it is on disk, or the recipient's devices have acknowledged it.
#[derive(Serialize, ToSchema)]
#[schema(as = SentMessage)]
pub(super) struct SentBody {
    /// The devices that it is for.
    devices: Vec<u8>,
    /// The sender has other devices, which should be told.
    needs_sync: bool,
}

/// How much to fetch, and how long to wait for it.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FetchQuery {
    /// At most so many messages, 1 to 100.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 100)]
    limit: Option<usize>,
    /// How many seconds to wait if there is nothing, 0 to 60.
    #[param(value_type = Option<u8>, minimum = 0, maximum = 60, default = 0)]
    wait: Option<u64>,
    /// Whose messages; if given, it must be the account whom the access token speaks for.
    user_id: Option<String>,
}

/// What waits for a device, oldest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Messages)]
pub(super) struct MessagesBody {
    messages: Vec<MessageBody>,
    /// More may be waiting: acknowledge these and ask again.
    more: bool,
}

/// Messages that have arrived.
#[derive(Deserialize, ToSchema)]
#[schema(as = Acknowledge)]
pub(super) struct AcknowledgeBody {
    /// Up to 100 of them.
    message_ids: Vec<String>,
}

/// Messages, and whether the session that fetches them still is one.
pub(super) struct Mailroom {
    native: NativeService,
    messages: MessageService,
}

impl FromRef<Services> for Mailroom {
    fn from_ref(services: &Services) -> Self {
        Self { native: NativeService::from_ref(services), messages: MessageService::from_ref(services) }
    }
}

/// Sends a message.
#[utoipa::path(
    post, path = "/messages", tag = "messages", security(("bearer" = [])),
    request_body = SendBody,
    responses(
        (status = 200, description = "The message is accepted.", body = SentBody),
        (status = "4XX", description = "`unauthorized`, `recipient_not_found`, `sender_mismatch`, `device_mismatch`, \
             `stale_devices`, `rate_limited`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn send(
    BearerDevice(bearer): BearerDevice,
    State(service): State<MessageService>,
    Body(body): Body<SendBody>,
) -> Result<Json<SentBody>, Problem> {
    if let Some(sender) = &body.sender_id {
        same_account(sender, bearer.device.aci).map_err(|()| Problem::of(Code::SenderMismatch))?;
    }
    let recipient: Aci = body.recipient_id.parse().map_err(|_| Problem::of(Code::RecipientNotFound))?;
    let (sender, recipient) = (Sender(bearer.device.address()), ServiceId::from(recipient));
    let sent = match body.read()? {
        Outgoing::Alike { kind, content, options } => {
            service.send_alike(sender, recipient, kind, content, options).await
        }
        Outgoing::Each(message) => {
            let devices = message.copies.iter().map(|copy| copy.device_id).collect();
            let sent = service.send(sender, recipient, message).await;
            sent.map(|Sent { needs_sync }| SentAlike { devices, needs_sync })
        }
    };
    let SentAlike { devices, needs_sync } = sent.map_err(refuse)?;
    Ok(Json(SentBody { devices, needs_sync }))
}

/// Fetches what waits for the device that calls. It goes on waiting until it is acknowledged.
#[utoipa::path(
    get, path = "/messages", tag = "messages", security(("bearer" = [])),
    params(FetchQuery),
    responses(
        (status = 200, body = MessagesBody),
        (status = 204, description = "The server is stopping; ask again."),
        (status = "4XX", description = "`unauthorized`, `connected_elsewhere`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn fetch(
    BearerDevice(bearer): BearerDevice,
    State(mailroom): State<Mailroom>,
    Parameters(query): Parameters<FetchQuery>,
) -> Result<Json<MessagesBody>, Problem> {
    if let Some(user) = &query.user_id {
        same_account(user, bearer.device.aci).map_err(|()| Problem::of(Code::SenderMismatch))?;
    }
    let limit = within(query.limit.unwrap_or(PAGE_MESSAGES), 1, PAGE_MESSAGES)?;
    let wait = Duration::from_secs(within(query.wait.unwrap_or_default(), 0, WAIT_MAX)?);
    let fetched = mailroom.messages.fetch(bearer.device.address(), limit, wait).await;
    let deliveries = fetched.map_err(|error| match error {
        FetchError::Closed(CloseReason::CredentialsRevoked) => Problem::of(Code::Unauthorized),
        FetchError::Closed(CloseReason::ConnectedElsewhere) => Problem::of(Code::ConnectedElsewhere),
        FetchError::Closed(CloseReason::ShuttingDown) => Problem::of(Code::Unavailable),
        FetchError::Storage(error) => error.into(),
    })?;
    // The session may have ended before the queue was taken up, and would not have been told.
    mailroom.native.still_bears(&bearer).await?.ok_or(Problem::of(Code::Unauthorized))?;
    let more = deliveries.len() >= limit;
    Ok(Json(MessagesBody { messages: deliveries.iter().filter_map(MessageBody::of).collect(), more }))
}

/// Acknowledges messages: they have arrived and need not be kept. One that is not there is passed over.
#[utoipa::path(
    post, path = "/messages/acknowledge", tag = "messages", security(("bearer" = [])),
    request_body = AcknowledgeBody,
    responses(
        (status = 204, description = "They are gone from the queue."),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn acknowledge(
    BearerDevice(bearer): BearerDevice,
    State(service): State<MessageService>,
    Body(body): Body<AcknowledgeBody>,
) -> Result<StatusCode, Problem> {
    if body.message_ids.len() > ACKNOWLEDGED_MAX {
        return Err(Problem::of(Code::InvalidBody));
    }
    let positions = body.message_ids.iter().map(|id| position(id).ok_or(Problem::of(Code::InvalidBody)));
    for position in positions.collect::<Result<Vec<_>, _>>()? {
        service.acknowledge(bearer.device.address(), position).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Acknowledges one message.
#[utoipa::path(
    delete, path = "/messages/{message_id}", tag = "messages", security(("bearer" = [])),
    params(("message_id" = String, Path, description = "The `id` of the message.")),
    responses(
        (status = 204, description = "It is gone from the queue."),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn acknowledge_one(
    BearerDevice(bearer): BearerDevice,
    State(service): State<MessageService>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let not_found = || Problem::of(Code::NotFound);
    let position = position(&id).ok_or_else(not_found)?;
    let acknowledged = service.acknowledge(bearer.device.address(), position).await?;
    if acknowledged { Ok(StatusCode::NO_CONTENT) } else { Err(not_found()) }
}

/// A message as the service takes it.
enum Outgoing {
    Alike { kind: EnvelopeType, content: Bytes, options: SendOptions },
    Each(OutgoingMessage),
}

impl SendBody {
    fn read(self) -> Result<Outgoing, Problem> {
        let invalid = || Problem::of(Code::InvalidBody);
        if self.timestamp > TIMESTAMP_MAX {
            return Err(invalid());
        }
        let options = SendOptions {
            timestamp: Timestamp::from_millis(self.timestamp),
            ephemeral: self.online,
            urgent: self.urgent.unwrap_or(true),
        };
        match (self.encrypted_payload, self.messages) {
            (Some(payload), None) => {
                Ok(Outgoing::Alike { kind: self.r#type.into(), content: content(&payload)?, options })
            }
            (None, Some(copies)) if !copies.is_empty() => {
                let devices: BTreeSet<_> = copies.iter().map(|copy| copy.device_id).collect();
                if devices.len() < copies.len() {
                    return Err(invalid());
                }
                let copies = copies.into_iter().map(CopyBody::read).collect::<Result<_, _>>()?;
                Ok(Outgoing::Each(OutgoingMessage { copies, options }))
            }
            _ => Err(invalid()),
        }
    }
}

impl CopyBody {
    fn read(self) -> Result<IndividualMessage, Problem> {
        Ok(IndividualMessage {
            device_id: self.device_id,
            registration_id: self.registration_id.into(),
            kind: self.r#type.into(),
            content: content(&self.encrypted_payload)?,
        })
    }
}

impl From<PayloadType> for EnvelopeType {
    fn from(kind: PayloadType) -> Self {
        match kind {
            PayloadType::Ciphertext => Self::DoubleRatchet,
            PayloadType::Prekey => Self::PreKey,
            PayloadType::Sealed => Self::UnidentifiedSender,
            PayloadType::Plaintext => Self::PlaintextContent,
        }
    }
}

/// A payload that holds something.
fn content(text: &str) -> Result<Bytes, Problem> {
    let bytes = base64::decode_lenient(text).or_else(|| base64::decode_url_lenient(text));
    bytes.filter(|bytes| !bytes.is_empty()).map(Bytes::from).ok_or(Problem::of(Code::InvalidBody))
}

fn same_account(text: &str, aci: Aci) -> Result<(), ()> {
    if text.parse() == Ok(aci) { Ok(()) } else { Err(()) }
}

fn within<T: PartialOrd>(value: T, from: T, to: T) -> Result<T, Problem> {
    if (from..=to).contains(&value) { Ok(value) } else { Err(Problem::of(Code::InvalidQuery)) }
}

/// The place in the queue that an id stands for.
pub(crate) fn position(id: &str) -> Option<Position> {
    id.parse().ok().map(Position)
}

fn refuse(error: SendError) -> Problem {
    match error {
        SendError::RecipientNotFound => Problem::of(Code::RecipientNotFound),
        // Neither is asked of this API: it sends to accounts, and says who it is.
        SendError::OwnPhoneNumberIdentity | SendError::Unauthorized => Problem::of(Code::Unauthorized),
        SendError::MismatchedDevices(mismatch) => mismatched(mismatch),
        SendError::TooLarge => Problem::of(Code::MessageTooLarge),
        SendError::RateLimited(wait) => Problem::later(Code::RateLimited, wait),
        SendError::ChallengeRequired(challenge) => match challenge.retry_after {
            Some(wait) => Problem::later(Code::ChallengeRequired, wait),
            None => Problem::of(Code::ChallengeRequired),
        },
        SendError::Queue(error) => error.into(),
    }
}

/// Stale devices come first: a client mends one kind at a time.
fn mismatched(DeviceMismatch { missing, extra, stale }: DeviceMismatch) -> Problem {
    if stale.is_empty() {
        let devices = Devices { missing_devices: missing, extra_devices: extra, ..Devices::default() };
        Problem::about(Code::DeviceMismatch, devices)
    } else {
        Problem::about(Code::StaleDevices, Devices { stale_devices: stale, ..Devices::default() })
    }
}
