//! `org.signal.chat.messages`: the services, and what their messages have in common.

mod anonymous;
mod authenticated;

use messages::{
    DeviceMismatch, IndividualMessage, OutgoingMessage, QueueError, SendError, SendOptions,
    limits::TIMESTAMP_MAX, send::FULL_RETRY_AFTER,
};
use protocol::{
    RegistrationId, ServiceId,
    ambient::Timestamp,
    envelope::{EnvelopeType, MAX_CONTENT_LEN},
};
use tonic::Status;

use crate::grpc::{
    chat::messages::{
        IndividualRecipientMessageBundle, MismatchedDevices, SendMessageType,
        individual_recipient_message_bundle::Message,
    },
    convert, error,
};

pub(crate) use anonymous::MessagesAnonymous;
pub(crate) use authenticated::Messages;

/// Who sends: it decides which kinds of content there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SenderKind {
    Identified,
    Sealed,
}

fn outgoing(
    bundle: Option<IndividualRecipientMessageBundle>,
    sender: SenderKind,
    ephemeral: bool,
    urgent: bool,
) -> Result<OutgoingMessage, Status> {
    let bundle = bundle.ok_or_else(|| error::constraint_violated("messages", "must be present"))?;
    let timestamp = timestamp(bundle.timestamp, "messages.timestamp")?;
    if bundle.messages.is_empty() {
        return Err(error::constraint_violated("messages.messages", "must not be empty"));
    }
    let copies = bundle.messages.into_iter().map(|(device, message)| copy(device, message, sender));
    let options = SendOptions { timestamp, ephemeral, urgent };
    Ok(OutgoingMessage { copies: copies.collect::<Result<_, _>>()?, options })
}

fn timestamp(millis: u64, field: &'static str) -> Result<Timestamp, Status> {
    if (1..=TIMESTAMP_MAX).contains(&millis) {
        Ok(Timestamp::from_millis(millis))
    } else {
        Err(error::constraint_violated(field, "out of range"))
    }
}

fn copy(device: u32, message: Message, sender: SenderKind) -> Result<IndividualMessage, Status> {
    let kind = match (message.r#type(), sender) {
        (SendMessageType::DoubleRatchet, SenderKind::Identified) => EnvelopeType::DoubleRatchet,
        (SendMessageType::PrekeyMessage, SenderKind::Identified) => EnvelopeType::PreKey,
        (SendMessageType::PlaintextContent, SenderKind::Identified) => EnvelopeType::PlaintextContent,
        (SendMessageType::UnidentifiedSender, SenderKind::Sealed) => EnvelopeType::UnidentifiedSender,
        _ => return Err(error::constraint_violated("messages.type", "not of this kind of sender")),
    };
    if !(1..=MAX_CONTENT_LEN).contains(&message.payload.len()) {
        return Err(error::constraint_violated("messages.payload", "empty or too large"));
    }
    if message.registration_id > u32::from(RegistrationId::MAX) {
        return Err(error::constraint_violated("messages.registration_id", "out of range"));
    }
    let device_id = u8::try_from(device)
        .map_err(|_| error::constraint_violated("messages.messages", "not a device id"))?;
    Ok(IndividualMessage {
        device_id,
        registration_id: message.registration_id,
        kind,
        content: message.payload,
    })
}

fn mismatched(destination: ServiceId, mismatch: DeviceMismatch) -> MismatchedDevices {
    let ids = |devices: Vec<u8>| devices.into_iter().map(u32::from).collect();
    MismatchedDevices {
        service_identifier: Some(convert::service_identifier(destination)),
        missing_devices: ids(mismatch.missing),
        extra_devices: ids(mismatch.extra),
        stale_devices: ids(mismatch.stale),
    }
}

/// Failures that are not among the answers.
fn status(failure: SendError) -> Status {
    match failure {
        SendError::OwnPhoneNumberIdentity => error::constraint_violated("destination", "is the sender"),
        SendError::TooLarge => error::constraint_violated("messages.payload", "too large"),
        SendError::RateLimited(wait) => error::rate_limited(wait),
        SendError::Queue(failure) => queue_status(failure),
        // All are answers, given by the callers of this.
        SendError::RecipientNotFound
        | SendError::Unauthorized
        | SendError::MismatchedDevices(_)
        | SendError::ChallengeRequired(_) => Status::internal(""),
    }
}

fn queue_status(failure: QueueError) -> Status {
    match failure {
        QueueError::Overloaded => error::unavailable(),
        QueueError::Full => error::rate_limited(FULL_RETRY_AFTER),
        QueueError::Storage(cause) => error::storage(&cause),
    }
}
