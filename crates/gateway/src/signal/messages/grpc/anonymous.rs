//! `MessagesAnonymous`: sealed sender, multi-recipient messages, stories.

use messages::{
    DeviceMismatch, MessageService, MultiRecipientCredential, SendError, SendManyError, SendOptions,
};
use protocol::{
    IdentityKind, ServiceId, UnidentifiedCredential, group_send::GroupSendToken,
    multi_recipient::MultiRecipientMessage,
};
use tonic::{Request, Response, Status};

use super::{SenderKind, mismatched, outgoing, queue_status, status, timestamp};
use crate::{
    grpc::{
        chat::{
            errors::{FailedUnidentifiedAuthorization, NotFound},
            messages::{
                self as chat, MultiRecipientMismatchedDevices, MultiRecipientSuccess,
                SendMessageAnonymousResponse, SendMultiRecipientMessageRequest,
                SendMultiRecipientMessageResponse, SendMultiRecipientStoryRequest,
                SendSealedSenderMessageRequest, SendStoryMessageRequest, messages_anonymous_server,
                send_message_anonymous_response::Response as Outcome,
                send_multi_recipient_message_response::Response as ManyOutcome,
                send_sealed_sender_message_request::Authorization,
            },
        },
        convert, error,
    },
    services::Services,
};

/// The service for callers that do not say who they are.
pub(crate) struct MessagesAnonymous {
    service: MessageService,
}

impl MessagesAnonymous {
    /// The service as part of those.
    pub(crate) fn new(services: &Services) -> Self {
        Self { service: services.parts().messages.clone() }
    }

    async fn deliver_to_many(
        &self,
        credential: Option<MultiRecipientCredential>,
        message: Option<chat::MultiRecipientMessage>,
        ephemeral: bool,
        urgent: bool,
    ) -> Result<Response<SendMultiRecipientMessageResponse>, Status> {
        let message = message.ok_or_else(|| error::constraint_violated("message", "must be present"))?;
        let timestamp = timestamp(message.timestamp, "message.timestamp")?;
        let options = SendOptions { timestamp, ephemeral, urgent };
        let message = MultiRecipientMessage::parse(&message.payload)
            .map_err(|_| error::constraint_violated("message.payload", "not a multi-recipient message"))?;
        let sent = match credential {
            Some(credential) => self.service.send_to_many(&credential, &message, &options).await,
            None => Err(SendManyError::Unauthorized),
        };
        let outcome = many_outcome(sent)?;
        Ok(Response::new(SendMultiRecipientMessageResponse { response: Some(outcome) }))
    }
}

#[tonic::async_trait]
impl messages_anonymous_server::MessagesAnonymous for MessagesAnonymous {
    async fn send_single_recipient_message(
        &self,
        request: Request<SendSealedSenderMessageRequest>,
    ) -> Result<Response<SendMessageAnonymousResponse>, Status> {
        let request = request.into_inner();
        let destination = convert::service_id(request.destination)?;
        let credential = credential(request.authorization, destination)?;
        let message = outgoing(request.messages, SenderKind::Sealed, request.ephemeral, request.urgent)?;
        let sent = match credential {
            Some(credential) => self.service.send_sealed(&credential, destination, message).await,
            None => Err(SendError::Unauthorized),
        };
        answer(sent, destination)
    }

    async fn send_story(
        &self,
        request: Request<SendStoryMessageRequest>,
    ) -> Result<Response<SendMessageAnonymousResponse>, Status> {
        let request = request.into_inner();
        let destination = convert::service_id(request.destination)?;
        let message = outgoing(request.messages, SenderKind::Sealed, false, request.urgent)?;
        answer(self.service.send_story(destination, message).await, destination)
    }

    async fn send_multi_recipient_message(
        &self,
        request: Request<SendMultiRecipientMessageRequest>,
    ) -> Result<Response<SendMultiRecipientMessageResponse>, Status> {
        let request = request.into_inner();
        if request.group_send_token.is_empty() {
            return Err(error::constraint_violated("group_send_token", "must not be empty"));
        }
        let token = GroupSendToken::try_from(&request.group_send_token[..]).ok();
        let credential = token.map(MultiRecipientCredential::GroupSendToken);
        self.deliver_to_many(credential, request.message, request.ephemeral, request.urgent).await
    }

    async fn send_multi_recipient_story(
        &self,
        request: Request<SendMultiRecipientStoryRequest>,
    ) -> Result<Response<SendMultiRecipientMessageResponse>, Status> {
        let request = request.into_inner();
        let credential = Some(MultiRecipientCredential::Story);
        self.deliver_to_many(credential, request.message, false, request.urgent).await
    }
}

/// `None` for a group send token that is none: it admits nobody.
fn credential(
    authorization: Option<Authorization>,
    destination: ServiceId,
) -> Result<Option<UnidentifiedCredential>, Status> {
    let by_token = matches!(authorization, Some(Authorization::GroupSendToken(_)));
    if destination.kind() == IdentityKind::Pni && !by_token {
        return Err(error::constraint_violated("destination", "a PNI has no access key"));
    }
    match authorization {
        Some(Authorization::UnidentifiedAccessKey(key)) => convert::access_key(&key).map(Some),
        Some(Authorization::GroupSendToken(token)) => Ok(convert::group_send_token(&token)),
        Some(Authorization::UnrestrictedAccess(())) => Ok(Some(UnidentifiedCredential::Unrestricted)),
        None => Err(error::constraint_violated("authorization", "must be present")),
    }
}

fn answer(
    sent: Result<(), SendError>,
    destination: ServiceId,
) -> Result<Response<SendMessageAnonymousResponse>, Status> {
    let outcome = match sent {
        Ok(()) => Outcome::Success(()),
        Err(SendError::RecipientNotFound) => Outcome::DestinationNotFound(NotFound {}),
        Err(SendError::Unauthorized) => {
            Outcome::FailedUnidentifiedAuthorization(FailedUnidentifiedAuthorization::default())
        }
        Err(SendError::MismatchedDevices(mismatch)) => {
            Outcome::MismatchedDevices(mismatched(destination, mismatch))
        }
        Err(failure) => return Err(status(failure)),
    };
    Ok(Response::new(SendMessageAnonymousResponse { response: Some(outcome) }))
}

fn many_outcome(sent: Result<Vec<ServiceId>, SendManyError>) -> Result<ManyOutcome, Status> {
    match sent {
        Ok(unresolved) => Ok(ManyOutcome::Success(MultiRecipientSuccess {
            unresolved_recipients: unresolved.into_iter().map(convert::service_identifier).collect(),
        })),
        Err(SendManyError::Unauthorized) => {
            Ok(ManyOutcome::FailedUnidentifiedAuthorization(FailedUnidentifiedAuthorization::default()))
        }
        Err(SendManyError::MismatchedDevices(mismatches)) => {
            let devices = |(id, mismatch): (ServiceId, DeviceMismatch)| mismatched(id, mismatch);
            let mismatched_devices = mismatches.into_iter().map(devices).collect();
            Ok(ManyOutcome::MismatchedDevices(MultiRecipientMismatchedDevices { mismatched_devices }))
        }
        Err(SendManyError::Invalid) => {
            Err(error::constraint_violated("message.payload", "the recipients make no sense"))
        }
        Err(SendManyError::TooLarge) => Err(error::constraint_violated("message.payload", "too large")),
        Err(SendManyError::RateLimited(wait)) => Err(error::rate_limited(wait)),
        Err(SendManyError::Queue(failure)) => Err(queue_status(failure)),
        // Only a combined access key, which cannot be shown here, is refused for a recipient that is missing.
        Err(SendManyError::RecipientNotFound) => Err(Status::internal("")),
    }
}
