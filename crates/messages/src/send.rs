//! Sending a message to every device of an account.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use protocol::{
    Aci, DeviceAddress, DeviceId, ServiceId,
    ambient::{Clock, Entropy, StorageError, Timestamp},
    envelope::{Envelope, EnvelopeType, MAX_CONTENT_LEN},
};

use crate::{
    limits::SendLimits,
    queue::{MessageQueue, QueueError},
    receipt::Receipt,
    recipients::{Recipients, Roster},
};

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
    /// The sender's timestamp, by which both sides know the message; zero means now.
    pub timestamp: Timestamp,
    /// Only for devices that are connected now.
    pub ephemeral: bool,
    /// Worth waking a device for.
    pub urgent: bool,
}

/// The message has been accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The sender has other devices, which should be told.
    pub needs_sync: bool,
}

/// How the devices a sender addressed differ from those there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceMismatch {
    /// Devices that were not addressed.
    pub missing: Vec<u8>,
    /// Addressed devices that do not exist.
    pub extra: Vec<u8>,
    /// Devices that have been reinstalled since: their registration id is another.
    pub stale: Vec<u8>,
}

impl DeviceMismatch {
    /// Whether the sender addressed exactly the devices there are.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.stale.is_empty()
    }
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
    /// The devices addressed are not the devices there are.
    #[error("the devices addressed are not the recipient's devices")]
    MismatchedDevices(DeviceMismatch),
    /// A copy exceeds [`MAX_CONTENT_LEN`].
    #[error("the message is too large")]
    TooLarge,
    /// Too many messages; try again after this time.
    #[error("too many messages")]
    RateLimited(Duration),
    /// The server cannot keep up; try again in a moment.
    #[error("the queue is overloaded")]
    Overloaded,
    /// The store is away.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<QueueError> for SendError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Overloaded => Self::Overloaded,
            QueueError::Storage(error) => Self::Storage(error),
        }
    }
}

/// Accepts messages and sees to their receipts.
#[derive(Clone)]
pub struct MessageService {
    queue: MessageQueue,
    recipients: Arc<dyn Recipients>,
    limits: Arc<dyn SendLimits>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl MessageService {
    /// The service over that queue.
    pub fn new(
        queue: MessageQueue,
        recipients: Arc<dyn Recipients>,
        limits: Arc<dyn SendLimits>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { queue, recipients, limits, clock, entropy }
    }

    /// The queue that this service fills.
    pub fn queue(&self) -> &MessageQueue {
        &self.queue
    }

    /// Sends an identified message to another account or, addressed to the sender's own account identity,
    /// to the sender's other devices.
    pub async fn send(
        &self,
        sender: Sender,
        destination: ServiceId,
        message: OutgoingMessage,
    ) -> Result<Sent, SendError> {
        let Sender(DeviceAddress { aci: sender_aci, device_id: sender_device }) = sender;
        let roster = self.recipients.roster(destination).await?.ok_or(SendError::RecipientNotFound)?;
        let to_self = roster.aci == sender_aci;
        if to_self && matches!(destination, ServiceId::Pni(_)) {
            return Err(SendError::OwnPhoneNumberIdentity);
        }
        if !to_self {
            self.limits.message(sender_aci, roster.aci).map_err(SendError::RateLimited)?;
        }
        let bytes = message.copies.iter().map(|copy| copy.content.len()).sum();
        self.limits.inbound_bytes(destination, bytes).map_err(SendError::RateLimited)?;
        let mismatch =
            compare_devices(&roster, destination, to_self.then_some(sender_device), &message.copies);
        if !mismatch.is_empty() {
            return Err(SendError::MismatchedDevices(mismatch));
        }
        if message.copies.iter().any(|copy| copy.content.len() > MAX_CONTENT_LEN) {
            return Err(SendError::TooLarge);
        }
        self.enqueue(sender, destination, &roster, message).await?;
        let needs_sync = !to_self && self.has_other_devices(sender_aci).await?;
        Ok(Sent { needs_sync })
    }

    async fn enqueue(
        &self,
        Sender(sender): Sender,
        destination: ServiceId,
        roster: &Roster,
        message: OutgoingMessage,
    ) -> Result<(), SendError> {
        let now = self.clock.now();
        let timestamp = if message.timestamp.as_millis() == 0 { now } else { message.timestamp };
        let mut accepted = Vec::with_capacity(message.copies.len());
        for copy in message.copies {
            let Ok(device_id) = DeviceId::try_from(u32::from(copy.device_id)) else { continue };
            let envelope = Envelope {
                r#type: Some(copy.kind as i32),
                client_timestamp: Some(timestamp.as_millis()),
                source_device: Some(sender.device_id.get().into()),
                source_service_id: Some(ServiceId::Aci(sender.aci).to_binary().into()),
                destination_service_id: Some(destination.to_binary().into()),
                content: Some(copy.content),
                server_timestamp: Some(now.as_millis()),
                urgent: Some(message.urgent),
                server_guid: Some(self.guid()),
                ..Envelope::default()
            };
            let envelope = Bytes::from(envelope.encode_to_vec());
            if message.ephemeral {
                self.queue.append_ephemeral(roster.address(device_id), envelope)?;
            } else {
                accepted.push(self.queue.append(roster.address(device_id), envelope)?);
            }
        }
        for acceptance in accepted {
            acceptance.settled().await?;
        }
        Ok(())
    }

    /// Tells the sender's devices that a device has a message. A receipt that cannot be queued is dropped:
    /// it is a courtesy, and the message has arrived.
    pub async fn send_receipt(&self, receipt: Receipt, acknowledged_by: DeviceId) {
        let sender = match self.recipients.roster(receipt.sender.into()).await {
            Ok(Some(sender)) => sender,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%error, "a delivery receipt was dropped"),
        };
        for device in &sender.devices {
            let envelope = receipt.envelope(acknowledged_by, self.entropy.bytes(), self.clock.now());
            let envelope = Bytes::from(envelope.encode_to_vec());
            match self.queue.append(sender.address(device.id), envelope) {
                // It is in the queue; whether it is durable concerns nobody's promise.
                Ok(acceptance) => drop(acceptance),
                Err(error) => tracing::warn!(%error, "a delivery receipt was dropped"),
            }
        }
    }

    async fn has_other_devices(&self, aci: Aci) -> Result<bool, StorageError> {
        Ok(self.recipients.roster(aci.into()).await?.is_some_and(|roster| roster.devices.len() > 1))
    }

    fn guid(&self) -> Bytes {
        Bytes::copy_from_slice(self.entropy.uuid().as_bytes())
    }
}

fn compare_devices(
    roster: &Roster,
    destination: ServiceId,
    except: Option<DeviceId>,
    copies: &[IndividualMessage],
) -> DeviceMismatch {
    let mut mismatch = DeviceMismatch::default();
    let addressed: BTreeSet<u8> = copies.iter().map(|copy| copy.device_id).collect();
    for device in roster.devices.iter().filter(|device| Some(device.id) != except) {
        if !addressed.contains(&device.id.get()) {
            mismatch.missing.push(device.id.get());
        }
    }
    for copy in copies {
        let device = roster.devices.iter().find(|device| device.id.get() == copy.device_id);
        match device.filter(|device| Some(device.id) != except) {
            None => mismatch.extra.push(copy.device_id),
            Some(device) => {
                let current = device.registration_id(destination.kind());
                if current.is_none_or(|current| u32::from(current.get()) != copy.registration_id) {
                    mismatch.stale.push(copy.device_id);
                }
            }
        }
    }
    mismatch
}
