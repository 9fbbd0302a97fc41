//! Server delivery receipts: telling a sender that a device has its message.

use protocol::{
    Aci, DeviceId, ServiceId,
    ambient::Timestamp,
    envelope::{Envelope, EnvelopeSummary, EnvelopeType},
};

/// A receipt that becomes due when an envelope is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Who sent the envelope and is to be told.
    pub sender: Aci,
    /// The identity the envelope was addressed to.
    pub addressee: ServiceId,
    /// The sender's timestamp, by which it knows the message.
    pub client_timestamp: Timestamp,
}

impl Receipt {
    /// The receipt an envelope asks for. None for sealed sender, where nobody knows the sender; none for
    /// receipts themselves; none for what an account's device sends to another of its own.
    pub fn due_for(envelope: &EnvelopeSummary, reader: Aci) -> Option<Self> {
        let addressee = envelope.destination?;
        match envelope.source? {
            ServiceId::Aci(sender) if sender != reader && !envelope.is_receipt => Some(Self {
                sender,
                addressee,
                client_timestamp: Timestamp::from_millis(envelope.client_timestamp),
            }),
            _ => None,
        }
    }

    /// The envelope that carries the receipt to one of the sender's devices.
    pub fn envelope(&self, acknowledged_by: DeviceId, guid: [u8; 16], now: Timestamp) -> Envelope {
        Envelope {
            r#type: Some(EnvelopeType::ServerDeliveryReceipt as i32),
            client_timestamp: Some(self.client_timestamp.as_millis()),
            source_service_id: Some(self.addressee.to_binary()),
            source_device: Some(acknowledged_by.get().into()),
            destination_service_id: Some(ServiceId::Aci(self.sender).to_binary()),
            server_timestamp: Some(now.as_millis()),
            urgent: Some(false),
            server_guid: Some(guid.to_vec()),
            ..Envelope::default()
        }
    }
}
