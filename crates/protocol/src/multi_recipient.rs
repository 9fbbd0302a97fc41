//! Multi-recipient messages (sealed sender v2): one ciphertext for many recipients, and for each of them the
//! key to it.
//!
//! A sender uploads the *sent* form: entries of recipients, then the shared bytes. Each device is delivered
//! the *received* form: a version byte, its recipient's key material, and the shared bytes. So what differs
//! between recipients is 49 bytes, and the rest is the same slice for all of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
};

use bytes::Bytes;
use uuid::Uuid;

use crate::ids::{IdentityKind, ServiceId};

/// Longest message in the sent form that the server reads, in bytes.
pub const MAX_MULTI_RECIPIENT_LEN: usize = 762_176;

/// Bytes that are not a multi-recipient message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed multi-recipient message")]
pub struct MalformedMultiRecipientMessage;

/// First byte of a sent message whose recipients are of either identity.
const SENT_BY_SERVICE_ID: u8 = 0x23;
/// First byte of a sent message of older clients, whose recipients are all account identities.
const SENT_BY_ACI: u8 = 0x22;
/// First byte of the received form, whichever the sent one was.
const RECEIVED: u8 = 0x22;

/// Encrypted seed (32 bytes) and authentication tag (16).
const KEY_MATERIAL_LEN: usize = 48;
/// The ephemeral public key, without which nothing can be decrypted.
const SHARED_LEN_MIN: usize = 32;

const UUID_LEN: usize = 16;
/// A varint of 32 bits has at most so many bytes.
const COUNT_LEN_MAX: u32 = 5;
const DEVICE_ID_MAX: u8 = 127;
/// Another device of the same recipient follows.
const HAS_MORE: u16 = 1 << 15;
const REGISTRATION_ID_MASK: u16 = (1 << 14) - 1;

/// A multi-recipient message, parsed.
#[derive(Clone)]
pub struct MultiRecipientMessage {
    recipients: Vec<MultiRecipient>,
    excluded: Vec<ServiceId>,
    shared: Bytes,
}

/// One recipient of a [`MultiRecipientMessage`] and its devices.
#[derive(Clone)]
pub struct MultiRecipient {
    /// The recipient.
    pub service_id: ServiceId,
    /// The devices the sender addressed, at least one, in the sender's order. A careless sender may have
    /// named one twice.
    pub devices: Vec<MultiRecipientDevice>,
    key_material: [u8; KEY_MATERIAL_LEN],
}

/// A device as a sender named it: it may not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiRecipientDevice {
    /// The device, 1 to 127.
    pub device_id: u8,
    /// The registration id the sender knows the device by, below 2^14.
    pub registration_id: u16,
}

impl MultiRecipientMessage {
    /// Reads the sent form. The shared bytes are a slice of those given and keep them alive.
    ///
    /// A recipient that is named again gets the devices of both entries and the key material of the first;
    /// one that is both addressed and excluded, or excluded twice, makes the message malformed.
    pub fn parse(bytes: &Bytes) -> Result<Self, MalformedMultiRecipientMessage> {
        let mut reader = Reader { rest: bytes };
        let version = reader.byte()?;
        if !matches!(version, SENT_BY_SERVICE_ID | SENT_BY_ACI) {
            return Err(MalformedMultiRecipientMessage);
        }
        let mut message = Self { recipients: Vec::new(), excluded: Vec::new(), shared: Bytes::new() };
        let mut known = HashMap::new();
        for _ in 0..reader.count()? {
            let service_id = reader.service_id(version)?;
            let devices = reader.devices()?;
            message.enter(&mut known, service_id, devices, &mut reader)?;
        }
        let shared_len = reader.rest.len();
        if shared_len < SHARED_LEN_MIN {
            return Err(MalformedMultiRecipientMessage);
        }
        message.shared = bytes.slice(bytes.len() - shared_len..);
        Ok(message)
    }

    fn enter(
        &mut self,
        known: &mut HashMap<ServiceId, Option<usize>>,
        service_id: ServiceId,
        mut devices: Vec<MultiRecipientDevice>,
        reader: &mut Reader<'_>,
    ) -> Result<(), MalformedMultiRecipientMessage> {
        let key_material = if devices.is_empty() { None } else { Some(reader.array()?) };
        match (known.entry(service_id), key_material) {
            (Entry::Vacant(entry), None) => {
                entry.insert(None);
                self.excluded.push(service_id);
            }
            (Entry::Vacant(entry), Some(key_material)) => {
                entry.insert(Some(self.recipients.len()));
                self.recipients.push(MultiRecipient { service_id, devices, key_material });
            }
            (Entry::Occupied(entry), Some(_)) => {
                let index = entry.get().ok_or(MalformedMultiRecipientMessage)?;
                self.recipients[index].devices.append(&mut devices);
            }
            (Entry::Occupied(_), None) => return Err(MalformedMultiRecipientMessage),
        }
        Ok(())
    }

    /// The recipients that have devices, in the sender's order, none twice.
    pub fn recipients(&self) -> &[MultiRecipient] {
        &self.recipients
    }

    /// Members of the group that the sender left out on purpose.
    pub fn excluded(&self) -> &[ServiceId] {
        &self.excluded
    }

    /// What every device gets at the end of its content: ephemeral public key and ciphertext.
    pub fn shared(&self) -> &Bytes {
        &self.shared
    }

    /// Length of the content that every device gets.
    pub fn content_len(&self) -> usize {
        MultiRecipient::HEAD_LEN + self.shared.len()
    }
}

impl MultiRecipient {
    /// Length of what precedes the shared bytes in a device's content.
    pub const HEAD_LEN: usize = 1 + KEY_MATERIAL_LEN;

    /// What precedes the shared bytes in the content of each of this recipient's devices.
    pub fn head(&self) -> [u8; Self::HEAD_LEN] {
        let mut head = [RECEIVED; Self::HEAD_LEN];
        head[1..].copy_from_slice(&self.key_material);
        head
    }

    /// Whether a device is named twice.
    pub fn repeats_a_device(&self) -> bool {
        let mut seen = [false; DEVICE_ID_MAX as usize + 1];
        self.devices.iter().any(|device| std::mem::replace(&mut seen[usize::from(device.device_id)], true))
    }
}

/// Reads front to back.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, MalformedMultiRecipientMessage> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedMultiRecipientMessage> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(MalformedMultiRecipientMessage)?;
        self.rest = rest;
        Ok(*array)
    }

    /// A protobuf varint of 32 bits, in its shortest form.
    fn count(&mut self) -> Result<u32, MalformedMultiRecipientMessage> {
        let mut count = 0_u64;
        for index in 0..COUNT_LEN_MAX {
            let byte = self.byte()?;
            count |= u64::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                let longer_than_needed = byte == 0 && index > 0;
                let count = u32::try_from(count).ok().filter(|_| !longer_than_needed);
                return count.ok_or(MalformedMultiRecipientMessage);
            }
        }
        Err(MalformedMultiRecipientMessage)
    }

    fn service_id(&mut self, version: u8) -> Result<ServiceId, MalformedMultiRecipientMessage> {
        let kind = match version {
            SENT_BY_ACI => IdentityKind::Aci,
            _ => match self.byte()? {
                0 => IdentityKind::Aci,
                1 => IdentityKind::Pni,
                _ => return Err(MalformedMultiRecipientMessage),
            },
        };
        Ok(ServiceId::new(kind, Uuid::from_bytes(self.array::<UUID_LEN>()?)))
    }

    /// The devices of one entry; none for an excluded recipient.
    fn devices(&mut self) -> Result<Vec<MultiRecipientDevice>, MalformedMultiRecipientMessage> {
        let mut devices = Vec::new();
        loop {
            let device_id = self.byte()?;
            if device_id == 0 && devices.is_empty() {
                return Ok(devices);
            }
            if !(1..=DEVICE_ID_MAX).contains(&device_id) {
                return Err(MalformedMultiRecipientMessage);
            }
            let bits = u16::from_be_bytes(self.array()?);
            devices.push(MultiRecipientDevice { device_id, registration_id: bits & REGISTRATION_ID_MASK });
            if bits & HAS_MORE == 0 {
                return Ok(devices);
            }
        }
    }
}

// Who is in a group must not reach a log.
impl fmt::Debug for MultiRecipientMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiRecipientMessage")
            .field("recipients", &self.recipients.len())
            .field("excluded", &self.excluded.len())
            .field("shared", &self.shared.len())
            .finish()
    }
}

impl fmt::Debug for MultiRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiRecipient").field("devices", &self.devices).finish_non_exhaustive()
    }
}
