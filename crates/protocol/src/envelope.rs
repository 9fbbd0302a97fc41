//! The envelope: a message as it lies in a queue and reaches the recipient's client.
//!
//! Protocol Buffers (proto2), message `textsecure.Envelope`. Fields that only the official server uses
//! between its own parts are left out, as are the text forms of ids that clients stopped needing.

use std::fmt;

use bytes::{Buf, Bytes};
use prost::{
    Message,
    encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint},
};

use crate::ids::ServiceId;

/// Longest content of one message, in bytes. Clients are told `413` beyond it.
pub const MAX_CONTENT_LEN: usize = 98_304;

/// Number of the field that holds the content.
const CONTENT: u32 = 8;

/// What a content is, which decides how the client decrypts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum EnvelopeType {
    /// Nothing a client would send.
    Unknown = 0,
    /// A message of an established session.
    DoubleRatchet = 1,
    /// A message that also establishes the session.
    PreKey = 3,
    /// No content: the server reports that the recipient's device has the message.
    ServerDeliveryReceipt = 5,
    /// Sealed sender: who sent it is inside.
    UnidentifiedSender = 6,
    /// Not encrypted: asks to resend what could not be decrypted.
    PlaintextContent = 8,
}

/// One message for one device. A field that is `None` is not written.
///
/// Ids are in their binary form ([`ServiceId::to_binary`](crate::ServiceId::to_binary)), times are in
/// milliseconds since the Unix epoch.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct Envelope {
    /// What the content is.
    #[prost(enumeration = "EnvelopeType", optional, tag = "1")]
    pub r#type: Option<i32>,
    /// When the sender's client says it sent the message; names the message between clients.
    #[prost(uint64, optional, tag = "5")]
    pub client_timestamp: Option<u64>,
    /// The sender's device; absent under sealed sender.
    #[prost(uint32, optional, tag = "7")]
    pub source_device: Option<u32>,
    /// What the recipient's client decrypts; absent from receipts.
    #[prost(bytes = "bytes", optional, tag = "8")]
    pub content: Option<Bytes>,
    /// When the server accepted the message.
    #[prost(uint64, optional, tag = "10")]
    pub server_timestamp: Option<u64>,
    /// Only worth delivering at once. Never shown to a client.
    #[prost(bool, optional, tag = "12")]
    pub ephemeral: Option<bool>,
    /// Whether it may wake the recipient's phone; clients read absence as `true`.
    #[prost(bool, optional, tag = "14")]
    pub urgent: Option<bool>,
    /// Belongs to a story, which a client may choose not to receive.
    #[prost(bool, optional, tag = "16")]
    pub story: Option<bool>,
    /// Handed back by a client that reports the message as spam.
    #[prost(bytes = "vec", optional, tag = "17")]
    pub report_spam_token: Option<Vec<u8>>,
    /// The sender; absent under sealed sender.
    #[prost(bytes = "vec", optional, tag = "19")]
    pub source_service_id: Option<Vec<u8>>,
    /// The identity the message was addressed to.
    #[prost(bytes = "vec", optional, tag = "20")]
    pub destination_service_id: Option<Vec<u8>>,
    /// Names this copy of the message on this server: a random UUID.
    #[prost(bytes = "vec", optional, tag = "21")]
    pub server_guid: Option<Vec<u8>>,
    /// The account's new phone-number identity, on the messages by which a number change reaches its other
    /// devices.
    #[prost(bytes = "vec", optional, tag = "22")]
    pub updated_pni: Option<Vec<u8>>,
}

/// The parts of a serialized envelope by which the server decides what to do with it.
///
/// Reading them does not touch the content, which may be cut off: only what stands before it is read then.
/// Bytes that are no envelope have no parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeSummary {
    /// Whether it is a server delivery receipt.
    pub is_receipt: bool,
    /// Whether it belongs to a story.
    pub is_story: bool,
    /// The sender's timestamp.
    pub client_timestamp: u64,
    /// The sender, where the envelope says so.
    pub source: Option<ServiceId>,
    /// The identity it was addressed to.
    pub destination: Option<ServiceId>,
}

impl EnvelopeSummary {
    /// Reads the parts.
    pub fn of(envelope: &[u8]) -> Self {
        let mut summary = Self::default();
        let mut rest = envelope;
        while rest.has_remaining() {
            if summary.read_field(&mut rest).is_none() {
                break;
            }
        }
        summary
    }

    /// `None` where nothing more can be read.
    fn read_field(&mut self, rest: &mut &[u8]) -> Option<()> {
        let (field, wire_type) = decode_key(rest).ok()?;
        match wire_type {
            WireType::Varint => {
                let value = decode_varint(rest).ok()?;
                match field {
                    1 => self.is_receipt = value == EnvelopeType::ServerDeliveryReceipt as u64,
                    5 => self.client_timestamp = value,
                    16 => self.is_story = value != 0,
                    _ => {}
                }
            }
            WireType::LengthDelimited => {
                let len = usize::try_from(decode_varint(rest).ok()?).ok()?;
                let (bytes, after) = rest.split_at_checked(len)?;
                *rest = after;
                match field {
                    19 => self.source = ServiceId::from_binary(bytes).ok(),
                    20 => self.destination = ServiceId::from_binary(bytes).ok(),
                    _ => {}
                }
            }
            // No field of an envelope is of these kinds.
            _ => return None,
        }
        Some(())
    }
}

impl Envelope {
    /// Serializes an envelope whose content is `content_head` and, after it, `shared_len` bytes that the
    /// caller will write behind what this returns. The envelope itself has no content.
    pub fn encode_with_open_content(&self, content_head: &[u8], shared_len: usize) -> Vec<u8> {
        let content_len = content_head.len() + shared_len;
        let mut out = Vec::with_capacity(self.encoded_len() + content_head.len() + 8);
        // Writing into a growing buffer does not fail.
        let _ = self.encode(&mut out);
        encode_key(CONTENT, WireType::LengthDelimited, &mut out);
        encode_varint(content_len as u64, &mut out);
        out.extend_from_slice(content_head);
        out
    }
}

// Who writes to whom, and what, must not reach a log.
impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("type", &self.r#type).finish_non_exhaustive()
    }
}
