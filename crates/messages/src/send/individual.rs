//! Messages with a copy for each device of one recipient: identified, of sealed sender, and stories.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use protocol::{
    Aci, DeviceAddress, DeviceId, ServiceId, UnidentifiedCredential,
    ambient::StorageError,
    envelope::{EnvelopeType, MAX_CONTENT_LEN},
};

use super::{DeviceMismatch, Entering, MessageService, SendOptions, Stamp};
use crate::{gate::ChallengeRequired, queue::QueueError, recipients::Roster, store::Volume};

/// Who sends an identified message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender(pub DeviceAddress);

/// The copy of a message for one device.
#[derive(Clone, Debug)]
pub struct IndividualMessage {
    /// The device, as the sender named it: it may not exist.
    pub device_id: u8,
    /// The registration id the sender knows the device by.
    pub registration_id: u32,
    /// How the content is encrypted.
    pub kind: EnvelopeType,
    /// The ciphertext.
    pub content: Bytes,
}

/// A message to all devices of a recipient.
#[derive(Clone, Debug)]
pub struct OutgoingMessage {
    /// One copy a device; no device twice.
    pub copies: Vec<IndividualMessage>,
    /// What the sender says of it.
    pub options: SendOptions,
}

/// The message has been accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The sender has other devices, which should be told.
    pub needs_sync: bool,
}

/// The same content has been accepted for each device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentAlike {
    /// The devices.
    pub devices: Vec<u8>,
    /// The sender has other devices, which should be told.
    pub needs_sync: bool,
}

/// Why a message was not accepted; no copy of it is promised to anybody.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no such account.
    #[error("there is no such recipient")]
    RecipientNotFound,
    /// A sender's own phone-number identity is never a destination.
    #[error("messages to oneself go to the account identity")]
    OwnPhoneNumberIdentity,
    /// What the sender shows does not entitle it to send to this recipient, or to know whether it exists.
    #[error("the sender may not send to this recipient")]
    Unauthorized,
    /// The devices addressed are not the devices there are.
    #[error("the devices addressed are not the recipient's devices")]
    MismatchedDevices(DeviceMismatch),
    /// A copy exceeds [`MAX_CONTENT_LEN`].
    #[error("the message is too large")]
    TooLarge,
    /// Too many messages; try again after this time.
    #[error("too many messages")]
    RateLimited(Duration),
    /// The sender has sent so much that it must first show that it is a person.
    #[error("a challenge must be answered first")]
    ChallengeRequired(ChallengeRequired),
    /// The queue did not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl MessageService {
    /// Sends an identified message to another account or, addressed to the sender's own account identity,
    /// to the sender's other devices.
    pub async fn send(
        &self,
        sender: Sender,
        destination: ServiceId,
        message: OutgoingMessage,
    ) -> Result<Sent, SendError> {
        let roster = self.identified_recipient(sender, destination).await?;
        self.deliver_identified(sender, destination, &roster, message).await
    }

    /// Sends the same content to each device of a recipient, or to the sender's other devices. What it is good for is up
    /// to the two: content of Signal's protocol is encrypted for one device.
    pub async fn send_alike(
        &self,
        sender: Sender,
        destination: ServiceId,
        kind: EnvelopeType,
        content: Bytes,
        options: SendOptions,
    ) -> Result<SentAlike, SendError> {
        let roster = self.identified_recipient(sender, destination).await?;
        let own = (roster.aci == sender.0.aci).then_some(sender.0.device_id);
        let devices = roster.devices.iter().filter(|device| Some(device.id) != own);
        let copies: Vec<_> = devices
            .filter_map(|device| {
                let registration_id = device.registration_id(destination.kind())?;
                Some(IndividualMessage {
                    device_id: device.id.get(),
                    registration_id: registration_id.get().into(),
                    kind,
                    content: content.clone(),
                })
            })
            .collect();
        let devices = copies.iter().map(|copy| copy.device_id).collect();
        let message = OutgoingMessage { copies, options };
        let Sent { needs_sync } = self.deliver_identified(sender, destination, &roster, message).await?;
        Ok(SentAlike { devices, needs_sync })
    }

    /// Who stands behind a destination, for a sender that says who it is and may send to it.
    async fn identified_recipient(
        &self,
        Sender(DeviceAddress { aci: sender, .. }): Sender,
        destination: ServiceId,
    ) -> Result<Arc<Roster>, SendError> {
        let roster = self.0.recipients.roster(destination).await?.ok_or(SendError::RecipientNotFound)?;
        let to_self = roster.aci == sender;
        if to_self && matches!(destination, ServiceId::Pni(_)) {
            return Err(SendError::OwnPhoneNumberIdentity);
        }
        if !to_self {
            self.0.limits.message(sender, roster.aci).map_err(SendError::RateLimited)?;
        }
        self.0.gate.admit(sender).map_err(SendError::ChallengeRequired)?;
        Ok(roster)
    }

    async fn deliver_identified(
        &self,
        Sender(sender): Sender,
        destination: ServiceId,
        roster: &Roster,
        message: OutgoingMessage,
    ) -> Result<Sent, SendError> {
        let to_self = roster.aci == sender.aci;
        let except = to_self.then_some(sender.device_id);
        let stamp = self.stamp(Some(sender), &message.options, false);
        self.deliver(&stamp, destination, roster, except, message).await?;
        let needs_sync = !to_self && self.has_other_devices(sender.aci).await?;
        Ok(Sent { needs_sync })
    }

    /// Sends a message whose sender does not say who it is, but shows that the recipient lets it send.
    pub async fn send_sealed(
        &self,
        credential: &UnidentifiedCredential,
        destination: ServiceId,
        message: OutgoingMessage,
    ) -> Result<(), SendError> {
        let by_token = match credential {
            UnidentifiedCredential::GroupSendToken(token) => {
                // Before the recipient is looked up: a token that does not fit must not tell whether it exists.
                if !self.0.group_send_tokens.admits(token, &[destination]) {
                    return Err(SendError::Unauthorized);
                }
                true
            }
            UnidentifiedCredential::AccessKey(_) | UnidentifiedCredential::Unrestricted => false,
        };
        let missing = if by_token { SendError::RecipientNotFound } else { SendError::Unauthorized };
        let roster = self.0.recipients.roster(destination).await?.ok_or(missing)?;
        if !roster.unidentified_access.admits(credential, destination) {
            return Err(SendError::Unauthorized);
        }
        let stamp = self.stamp(None, &message.options, false);
        self.deliver(&stamp, destination, &roster, None, message).await
    }

    /// Sends part of a story. Nobody has to show anything for that, and nobody learns from it whether a
    /// recipient exists.
    pub async fn send_story(
        &self,
        destination: ServiceId,
        message: OutgoingMessage,
    ) -> Result<(), SendError> {
        let Some(roster) = self.0.recipients.roster(destination).await? else { return Ok(()) };
        self.0.limits.story(roster.aci).map_err(SendError::RateLimited)?;
        let stamp = self.stamp(None, &message.options, true);
        self.deliver(&stamp, destination, &roster, None, message).await
    }

    /// What happens alike to all messages whose sender may send.
    async fn deliver(
        &self,
        stamp: &Stamp,
        destination: ServiceId,
        roster: &Roster,
        except: Option<DeviceId>,
        message: OutgoingMessage,
    ) -> Result<(), SendError> {
        let OutgoingMessage { copies, options } = message;
        let bytes = copies.iter().map(|copy| copy.content.len()).sum();
        self.0.limits.inbound_bytes(destination, bytes).map_err(SendError::RateLimited)?;
        let addressed = copies.iter().map(|copy| (copy.device_id, copy.registration_id));
        let mismatch = DeviceMismatch::between(roster, destination, except, addressed);
        if !mismatch.is_empty() {
            return Err(SendError::MismatchedDevices(mismatch));
        }
        if copies.iter().any(|copy| copy.content.len() > MAX_CONTENT_LEN) {
            return Err(SendError::TooLarge);
        }
        if !options.ephemeral {
            self.0.queue.admit(roster.aci, Volume::of(copies.len(), bytes)).await?;
        }
        let mut entering = Entering::new(&self.0.queue, options.ephemeral, stamp);
        for copy in copies {
            let Ok(device_id) = DeviceId::try_from(u32::from(copy.device_id)) else { continue };
            let guid = self.0.entropy.uuid();
            let mut envelope = stamp.envelope(guid, destination, copy.kind);
            envelope.report_spam_token = self.report_token(stamp, guid, roster.aci);
            envelope.content = Some(copy.content);
            let envelope = Bytes::from(envelope.encode_to_vec());
            entering.enter(roster.address(device_id), envelope)?;
        }
        Ok(entering.settled().await?)
    }

    async fn has_other_devices(&self, aci: Aci) -> Result<bool, StorageError> {
        Ok(self.0.recipients.roster(aci.into()).await?.is_some_and(|roster| roster.devices.len() > 1))
    }
}
