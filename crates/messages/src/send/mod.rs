//! Accepting messages: who may send, to which devices, and what becomes of it.
//!
//! [`individual`] is for messages with a copy for each device of one recipient, [`many`] for
//! multi-recipient messages, [`number_change`] for word of a new phone number.

mod devices;
mod individual;
mod many;
mod number_change;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use protocol::{
    Aci, DeviceAddress, DeviceId, ServiceId,
    ambient::{Clock, Entropy, StorageError, Timestamp},
    envelope::{Envelope, EnvelopeSummary, EnvelopeType},
    group_send::GroupSendTokens,
};
use uuid::Uuid;

use crate::{
    gate::SendGate,
    limits::SendLimits,
    queue::{Acceptance, MessageQueue, QueueError, Subscription},
    queued::QueuedEnvelope,
    receipt::Receipt,
    recipients::Recipients,
    report::{ReportTokens, ReportedMessage},
    session::Settled,
    store::{Position, Volume},
    wake::Urgency,
};

pub use devices::DeviceMismatch;
pub use individual::{IndividualMessage, OutgoingMessage, SendError, Sender, Sent, SentAlike};
pub use many::{MultiRecipientCredential, SendManyError};
pub use number_change::NumberChangeMessage;

/// How long a sender is asked to wait whose recipient's queues are full: they empty when a device of the
/// recipient connects, or as what is in them expires.
pub const FULL_RETRY_AFTER: Duration = Duration::from_mins(10);

/// What a sender says of a message besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendOptions {
    /// The sender's timestamp, by which both sides know the message; zero means now.
    pub timestamp: Timestamp,
    /// Only for devices that are connected now.
    pub ephemeral: bool,
    /// Worth waking a device for.
    pub urgent: bool,
}

/// What [`MessageService`] is made of.
pub struct MessageParts {
    /// Where messages wait.
    pub queue: MessageQueue,
    /// Who stands behind a service id.
    pub recipients: Arc<dyn Recipients>,
    /// What a sender may cost.
    pub limits: Arc<dyn SendLimits>,
    /// Who lets senders through that say who they are.
    pub gate: Arc<dyn SendGate>,
    /// Who judges group send tokens.
    pub group_send_tokens: Arc<dyn GroupSendTokens>,
    /// What lets a recipient report a message.
    pub report_tokens: ReportTokens,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For the names of messages.
    pub entropy: Arc<dyn Entropy>,
}

/// Accepts messages and sees to their receipts. Cheap to clone.
#[derive(Clone)]
pub struct MessageService(Arc<MessageParts>);

/// What all copies of a message have in common.
struct Stamp {
    /// The sender, unless it is not to be told.
    source: Option<DeviceAddress>,
    client_timestamp: Timestamp,
    server_timestamp: Timestamp,
    urgent: bool,
    story: bool,
}

impl Stamp {
    /// The envelope of the copy of that name, without a content.
    fn envelope(&self, guid: Uuid, destination: ServiceId, kind: EnvelopeType) -> Envelope {
        Envelope {
            r#type: Some(kind as i32),
            client_timestamp: Some(self.client_timestamp.as_millis()),
            source_device: self.source.map(|source| source.device_id.get().into()),
            source_service_id: self.source.map(|source| ServiceId::Aci(source.aci).to_binary()),
            destination_service_id: Some(destination.to_binary()),
            server_timestamp: Some(self.server_timestamp.as_millis()),
            urgent: Some(self.urgent),
            story: self.story.then_some(true),
            server_guid: Some(guid.as_bytes().to_vec()),
            ..Envelope::default()
        }
    }
}

impl MessageService {
    /// A service of those parts.
    pub fn new(parts: MessageParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The queue that this service fills.
    pub fn queue(&self) -> &MessageQueue {
        &self.0.queue
    }

    fn stamp(&self, source: Option<DeviceAddress>, options: &SendOptions, story: bool) -> Stamp {
        let now = self.0.clock.now();
        Stamp {
            source,
            client_timestamp: if options.timestamp.as_millis() == 0 { now } else { options.timestamp },
            server_timestamp: now,
            urgent: options.urgent,
            story,
        }
    }

    /// What a recipient hands back to report that copy. A message from nobody known, or from the recipient
    /// itself, is not reported.
    fn report_token(&self, stamp: &Stamp, guid: Uuid, recipient: Aci) -> Option<Vec<u8>> {
        let source = stamp.source.map(|source| source.aci).filter(|source| *source != recipient)?;
        let message = ReportedMessage { guid, source, recipient };
        Some(self.0.report_tokens.issue(&message, stamp.server_timestamp).to_vec())
    }

    /// Settles an envelope for good that a device has fetched, and tells the sender's devices so. Answers whether there
    /// was one.
    pub async fn acknowledge(&self, device: DeviceAddress, position: Position) -> Result<bool, StorageError> {
        let Some(envelope) = self.0.queue.settle(device, position).await? else { return Ok(false) };
        if let Some(receipt) = Receipt::due_for(&EnvelopeSummary::of(&envelope.head), device.aci) {
            self.send_receipts(&[receipt], device.device_id).await;
        }
        Ok(true)
    }

    /// Settles what a reader has answered, all of it together, and tells the senders' devices so.
    pub async fn settle(&self, reader: &Subscription, settled: Vec<Settled>) {
        let positions: Vec<_> = settled.iter().filter_map(|settled| settled.position).collect();
        reader.acknowledge(&positions);
        let receipts: Vec<_> = settled.into_iter().filter_map(|settled| settled.receipt).collect();
        self.send_receipts(&receipts, reader.device().device_id).await;
    }

    /// Tells the senders' devices that a device has their messages. A receipt that cannot be queued is dropped:
    /// it is a courtesy, and the message has arrived.
    async fn send_receipts(&self, receipts: &[Receipt], acknowledged_by: DeviceId) {
        // What is acknowledged in one go is often from one sender, who is then looked up and told once.
        for run in receipts.chunk_by(|one, next| one.sender == next.sender) {
            if let Err(error) = self.queue_receipts(run, acknowledged_by).await {
                tracing::warn!(%error, receipts = run.len(), "delivery receipts were dropped");
            }
        }
    }

    /// Queues receipts for the sender that all of them are for.
    async fn queue_receipts(
        &self,
        receipts: &[Receipt],
        acknowledged_by: DeviceId,
    ) -> Result<(), QueueError> {
        let Some(sender) = receipts.first().map(|receipt| receipt.sender) else { return Ok(()) };
        let Some(sender) = self.0.recipients.roster(sender.into()).await? else { return Ok(()) };
        let now = self.0.clock.now();
        for device in &sender.devices {
            let envelopes: Vec<_> = receipts
                .iter()
                .map(|receipt| receipt.envelope(acknowledged_by, self.0.entropy.bytes(), now))
                .map(|envelope| Bytes::from(envelope.encode_to_vec()))
                .collect();
            let bytes = envelopes.iter().map(Bytes::len).sum();
            self.0.queue.admit(sender.aci, Volume::of(envelopes.len(), bytes)).await?;
            // They are in the queue; whether they are durable concerns nobody's promise.
            self.0.queue.append_unpromised(sender.address(device.id), envelopes, Urgency::NonUrgent)?;
            self.0.queue.metrics().receipts.inc_by(receipts.len() as u64);
        }
        Ok(())
    }
}

/// What is entered for one message, and is accepted when all of it is.
struct Entering<'a> {
    queue: &'a MessageQueue,
    ephemeral: bool,
    urgency: Urgency,
    accepted: Vec<Acceptance>,
}

impl<'a> Entering<'a> {
    fn new(queue: &'a MessageQueue, ephemeral: bool, stamp: &Stamp) -> Self {
        let urgency = if stamp.urgent { Urgency::Urgent } else { Urgency::NonUrgent };
        Self { queue, ephemeral, urgency, accepted: Vec::new() }
    }

    fn enter(
        &mut self,
        device: DeviceAddress,
        envelope: impl Into<QueuedEnvelope>,
    ) -> Result<(), QueueError> {
        if self.ephemeral {
            self.queue.append_ephemeral(device, envelope)
        } else {
            self.accepted.push(self.queue.append(device, envelope, self.urgency)?);
            Ok(())
        }
    }

    async fn settled(self) -> Result<(), QueueError> {
        let count = self.accepted.len() as u64;
        for acceptance in self.accepted {
            acceptance.settled().await?;
        }
        self.queue.metrics().accepted.inc_by(count);
        Ok(())
    }
}

impl From<StorageError> for SendError {
    fn from(error: StorageError) -> Self {
        Self::Queue(error.into())
    }
}
