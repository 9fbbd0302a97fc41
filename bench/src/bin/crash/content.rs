//! What messages carry: the ledger's key, and in multi-recipient messages the means to see that the shared
//! part came with the right one.

use testkit::multi_recipient::{self, KEY_MATERIAL_LEN};

use crate::ledger::MessageKey;

/// The shared part of a multi-recipient message begins with a public key as long as this.
const SHARED_LEN_MIN: usize = 32;
const KEY_LEN: usize = 8;
const SERIAL_LEN: usize = 8;

/// The content of a message of its own: the key, and so many bytes more.
pub(crate) fn for_one(key: MessageKey, len: usize) -> Vec<u8> {
    let mut content = key.to_bytes().to_vec();
    content.resize(content.len() + len, 0x5A);
    content
}

/// What several recipients share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    serial: u64,
    len: u32,
}

impl Content {
    pub(crate) fn new(serial: u64, len: usize) -> Self {
        Self { serial, len: u32::try_from(len.max(SHARED_LEN_MIN)).unwrap_or(u32::MAX) }
    }

    /// What the recipient alone gets: its key, and what the shared part must look like.
    pub(crate) fn key_material(self, key: MessageKey) -> [u8; KEY_MATERIAL_LEN] {
        let mut material = [0; KEY_MATERIAL_LEN];
        material[..KEY_LEN].copy_from_slice(&key.to_bytes());
        material[KEY_LEN..KEY_LEN + SERIAL_LEN].copy_from_slice(&self.serial.to_be_bytes());
        material[KEY_LEN + SERIAL_LEN..][..4].copy_from_slice(&self.len.to_be_bytes());
        material
    }

    /// The serial number over and over.
    pub(crate) fn shared(self) -> Vec<u8> {
        self.serial.to_be_bytes().into_iter().cycle().take(self.len as usize).collect()
    }
}

/// The key in a delivered content, if it is as it was sent.
pub(crate) fn key_of(content: &[u8], device: u8) -> Option<MessageKey> {
    let Some(shared) = multi_recipient::shared_part(content) else {
        return MessageKey::from_bytes(content, device);
    };
    let material = &content[1..=KEY_MATERIAL_LEN];
    let (key, rest) = material.split_at(KEY_LEN);
    let (serial, rest) = rest.split_first_chunk()?;
    let promised =
        Content { serial: u64::from_be_bytes(*serial), len: u32::from_be_bytes(*rest.first_chunk()?) };
    (promised.shared() == shared).then(|| MessageKey::from_bytes(key, device))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_shared_parts_are_held_to_them() {
        let key = MessageKey { sender: 7, reader: 300, number: 70_000, device: 2 };
        assert_eq!(key_of(&for_one(key, 100), 2), Some(key));
        let content = Content::new(0xABCD, 50);
        let mut received = multi_recipient::received(&content.key_material(key), &content.shared());
        assert_eq!(key_of(&received, 2), Some(key));
        let other = multi_recipient::received(&content.key_material(key), &Content::new(0xABCE, 50).shared());
        assert_eq!(key_of(&other, 2), None);
        received.pop();
        assert_eq!(key_of(&received, 2), None);
    }
}
