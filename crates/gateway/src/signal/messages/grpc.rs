//! `org.signal.chat.messages.Messages`.

use messages::{
    DeviceMismatch, IndividualMessage, MessageService, OutgoingMessage, SendError, Sender,
    limits::TIMESTAMP_MAX,
};
use protocol::{
    DeviceAddress, RegistrationId, ServiceId,
    ambient::Timestamp,
    envelope::{EnvelopeType, MAX_CONTENT_LEN},
};
use tonic::{Request, Response, Status};

use crate::{
    grpc::{
        access,
        chat::{
            errors::NotFound,
            messages::{
                IndividualRecipientMessageBundle, MismatchedDevices, SendAuthenticatedSenderMessageRequest,
                SendMessageAuthenticatedSenderResponse, SendMessageType, SendSyncMessageRequest,
                individual_recipient_message_bundle::Message, messages_server,
                send_message_authenticated_sender_response::Response as Outcome,
            },
        },
        convert, error,
    },
    services::Services,
};

/// The service for devices that say who they are.
pub(crate) struct Messages {
    service: MessageService,
}

impl Messages {
    /// The service as part of those.
    pub(crate) fn new(services: &Services) -> Self {
        Self { service: services.parts().messages.clone() }
    }

    async fn deliver(
        &self,
        sender: DeviceAddress,
        destination: ServiceId,
        message: OutgoingMessage,
    ) -> Result<Response<SendMessageAuthenticatedSenderResponse>, Status> {
        let outcome = match self.service.send(Sender(sender), destination, message).await {
            Ok(_) => Outcome::Success(()),
            Err(SendError::RecipientNotFound) => Outcome::DestinationNotFound(NotFound {}),
            Err(SendError::MismatchedDevices(mismatch)) => {
                Outcome::MismatchedDevices(mismatched(destination, mismatch))
            }
            Err(failure) => return Err(status(failure)),
        };
        Ok(Response::new(SendMessageAuthenticatedSenderResponse { response: Some(outcome) }))
    }
}

#[tonic::async_trait]
impl messages_server::Messages for Messages {
    async fn send_message(
        &self,
        request: Request<SendAuthenticatedSenderMessageRequest>,
    ) -> Result<Response<SendMessageAuthenticatedSenderResponse>, Status> {
        let sender = access::device(&request)?;
        let request = request.into_inner();
        let destination = convert::service_id(request.destination)?;
        if destination == ServiceId::Aci(sender.aci) {
            return Err(error::constraint_violated("destination", "is the sender; send a sync message"));
        }
        let message = outgoing(request.messages, request.ephemeral, request.urgent)?;
        self.deliver(sender.address(), destination, message).await
    }

    async fn send_sync_message(
        &self,
        request: Request<SendSyncMessageRequest>,
    ) -> Result<Response<SendMessageAuthenticatedSenderResponse>, Status> {
        let sender = access::device(&request)?;
        let request = request.into_inner();
        let message = outgoing(request.messages, false, request.urgent)?;
        self.deliver(sender.address(), sender.aci.into(), message).await
    }
}

fn outgoing(
    bundle: Option<IndividualRecipientMessageBundle>,
    ephemeral: bool,
    urgent: bool,
) -> Result<OutgoingMessage, Status> {
    let bundle = bundle.ok_or_else(|| error::constraint_violated("messages", "must be present"))?;
    if !(1..=TIMESTAMP_MAX).contains(&bundle.timestamp) {
        return Err(error::constraint_violated("messages.timestamp", "out of range"));
    }
    if bundle.messages.is_empty() {
        return Err(error::constraint_violated("messages.messages", "must not be empty"));
    }
    let copies = bundle.messages.into_iter().map(|(device, message)| copy(device, message));
    let timestamp = Timestamp::from_millis(bundle.timestamp);
    Ok(OutgoingMessage { copies: copies.collect::<Result<_, _>>()?, timestamp, ephemeral, urgent })
}

fn copy(device: u32, message: Message) -> Result<IndividualMessage, Status> {
    let kind = match message.r#type() {
        SendMessageType::DoubleRatchet => EnvelopeType::DoubleRatchet,
        SendMessageType::PrekeyMessage => EnvelopeType::PreKey,
        SendMessageType::PlaintextContent => EnvelopeType::PlaintextContent,
        SendMessageType::UnidentifiedSender | SendMessageType::Unspecified => {
            return Err(error::constraint_violated("messages.type", "not of an identified sender"));
        }
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
        SendError::Overloaded => error::unavailable(),
        SendError::Storage(cause) => error::storage(&cause),
        // Both are answers, given by the caller of this.
        SendError::RecipientNotFound | SendError::MismatchedDevices(_) => Status::internal(""),
    }
}
