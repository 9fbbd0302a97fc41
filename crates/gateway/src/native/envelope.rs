//! An envelope as native clients see it.

use messages::queue::Delivery;
use prost::Message as _;
use protocol::{
    ServiceId, base64,
    envelope::{Envelope, EnvelopeType},
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A message that waits for a device.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub(crate) struct MessageBody {
    /// By what it is acknowledged.
    id: String,
    /// `ciphertext`, `prekey`, `sealed` or `plaintext`; `receipt` if the server reports that a device of `sender_id` has
    /// acknowledged the message of that `timestamp`.
    r#type: &'static str,
    /// The account that sent it; absent if only its content says so.
    sender_id: Option<String>,
    /// The device that sent it.
    sender_device_id: Option<u32>,
    /// The identity it was addressed to.
    recipient_id: Option<String>,
    /// In base64; absent from receipts.
    encrypted_payload: Option<String>,
    /// When it was sent, in milliseconds since the epoch. Names the message between clients.
    timestamp: u64,
    /// When the server accepted it, in milliseconds since the epoch.
    server_timestamp: u64,
    /// Worth waking a device for.
    urgent: bool,
    /// Part of a story.
    story: bool,
    /// Names this copy of the message on this server.
    server_id: Option<String>,
}

impl MessageBody {
    /// What a client is shown of a delivery; nothing if it is no envelope, which cannot be.
    pub(crate) fn of(delivery: &Delivery) -> Option<Self> {
        let envelope = Envelope::decode(delivery.envelope.to_bytes()).ok()?;
        let id = |bytes: &Option<Vec<u8>>| {
            let id = ServiceId::from_binary(bytes.as_ref()?).ok()?;
            Some(id.to_string())
        };
        Some(Self {
            id: delivery.position.0.to_string(),
            r#type: kind(envelope.r#type()),
            sender_id: id(&envelope.source_service_id),
            sender_device_id: envelope.source_device,
            recipient_id: id(&envelope.destination_service_id),
            encrypted_payload: envelope.content.as_ref().map(base64::encode_padded),
            timestamp: envelope.client_timestamp(),
            server_timestamp: envelope.server_timestamp(),
            urgent: envelope.urgent.unwrap_or(true),
            story: envelope.story(),
            server_id: envelope
                .server_guid
                .as_deref()
                .and_then(|guid| Uuid::from_slice(guid).ok())
                .map(|guid| guid.to_string()),
        })
    }
}

fn kind(kind: EnvelopeType) -> &'static str {
    match kind {
        EnvelopeType::PreKey => "prekey",
        EnvelopeType::ServerDeliveryReceipt => "receipt",
        EnvelopeType::UnidentifiedSender => "sealed",
        EnvelopeType::PlaintextContent => "plaintext",
        // What its content is only the recipient can say.
        EnvelopeType::DoubleRatchet | EnvelopeType::Unknown => "ciphertext",
    }
}
