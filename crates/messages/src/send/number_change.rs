//! What a device tells another of its account when the account gets another phone number.

use bytes::Bytes;
use prost::Message;
use protocol::{DeviceAddress, DeviceId, Pni, ServiceId, ambient::Timestamp, envelope::EnvelopeType};

use super::{MessageService, SendOptions};
use crate::{queue::QueueError, wake::Urgency};

/// What a device tells another of its account when the account gets another phone number.
#[derive(Clone, Debug)]
pub struct NumberChangeMessage {
    /// The device it is for.
    pub device: DeviceAddress,
    /// The device that made the change.
    pub source: DeviceId,
    /// The account's new PNI, which goes with the message.
    pub updated_pni: Pni,
    /// How the content is encrypted.
    pub kind: EnvelopeType,
    /// The ciphertext.
    pub content: Bytes,
    /// When the change was made.
    pub at: Timestamp,
}

impl MessageService {
    /// Puts the message into its device's queue. There is no bound to how much waits there already: the change has
    /// been made, and nobody could be told to come back.
    pub async fn send_number_change(&self, message: NumberChangeMessage) -> Result<(), QueueError> {
        let NumberChangeMessage { device, source, updated_pni, kind, content, at } = message;
        let source = DeviceAddress { aci: device.aci, device_id: source };
        let options = SendOptions { timestamp: at, ephemeral: false, urgent: true };
        let stamp = self.stamp(Some(source), &options, false);
        let mut envelope = stamp.envelope(self.0.entropy.uuid(), ServiceId::Aci(device.aci), kind);
        envelope.updated_pni = Some(updated_pni.0.as_bytes().to_vec());
        envelope.content = Some(content);
        let envelope = Bytes::from(envelope.encode_to_vec());
        self.0.queue.append(device, envelope, Urgency::Urgent)?.settled().await?;
        self.0.queue.metrics().accepted.inc();
        Ok(())
    }
}
