//! `Messages`: sending for devices that say who they are.

use messages::{MessageService, OutgoingMessage, SendError, Sender};
use protocol::{DeviceAddress, ServiceId};
use tonic::{Request, Response, Status};

use super::{SenderKind, mismatched, outgoing, status};
use crate::{
    grpc::{
        access,
        chat::{
            errors::NotFound,
            messages::{
                SendAuthenticatedSenderMessageRequest, SendMessageAuthenticatedSenderResponse,
                SendSyncMessageRequest, messages_server,
                send_message_authenticated_sender_response::Response as Outcome,
            },
        },
        convert, error,
    },
    services::Services,
    signal::challenge,
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
            Err(SendError::ChallengeRequired(challenge)) => {
                Outcome::ChallengeRequired(challenge::grpc::required(challenge))
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
        let message = outgoing(request.messages, SenderKind::Identified, request.ephemeral, request.urgent)?;
        self.deliver(sender.address(), destination, message).await
    }

    async fn send_sync_message(
        &self,
        request: Request<SendSyncMessageRequest>,
    ) -> Result<Response<SendMessageAuthenticatedSenderResponse>, Status> {
        let sender = access::device(&request)?;
        let request = request.into_inner();
        let message = outgoing(request.messages, SenderKind::Identified, false, request.urgent)?;
        self.deliver(sender.address(), sender.aci.into(), message).await
    }
}
