//! Multi-recipient messages in the form in which a client sends them (sealed sender v2).

use uuid::Uuid;

use crate::wire;

/// What goes over HTTP as the content type of one.
pub const CONTENT_TYPE: &str = "application/vnd.signal-messenger.mrm";
/// Bytes of key material for each recipient: encrypted seed and authentication tag.
pub const KEY_MATERIAL_LEN: usize = 48;

/// Ids follow with a byte that says which kind they are.
const VERSION: u8 = 0x23;
/// What a recipient gets begins with this byte, whichever version was sent.
const RECEIVED_VERSION: u8 = 0x22;
const ACI: u8 = 0;
/// Another device of the recipient follows.
const MORE: u16 = 0x8000;

/// One recipient of a message.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The account identity.
    pub aci: Uuid,
    /// Device and registration ids; at least one.
    pub devices: Vec<(u8, u16)>,
    /// What only this recipient gets.
    pub key_material: [u8; KEY_MATERIAL_LEN],
}

/// The message to all of them with that shared part (at least 32 bytes: it begins with a public key).
pub fn sent(recipients: &[Recipient], shared: &[u8]) -> Vec<u8> {
    let mut out = vec![VERSION];
    wire::put_varint(&mut out, recipients.len() as u64);
    for recipient in recipients {
        out.push(ACI);
        out.extend_from_slice(recipient.aci.as_bytes());
        for (index, (device, registration_id)) in recipient.devices.iter().enumerate() {
            let more = if index + 1 < recipient.devices.len() { MORE } else { 0 };
            out.push(*device);
            out.extend_from_slice(&(registration_id | more).to_be_bytes());
        }
        out.extend_from_slice(&recipient.key_material);
    }
    out.extend_from_slice(shared);
    out
}

/// The content of the envelope that the recipient with that key material gets.
pub fn received(key_material: &[u8; KEY_MATERIAL_LEN], shared: &[u8]) -> Vec<u8> {
    [&[RECEIVED_VERSION], &key_material[..], shared].concat()
}

/// The shared part of an envelope's content, if it came in a multi-recipient message.
pub fn shared_part(content: &[u8]) -> Option<&[u8]> {
    let rest = content.strip_prefix(&[RECEIVED_VERSION])?;
    rest.get(KEY_MATERIAL_LEN..)
}

/// The access key that stands for accounts which all have the same one: the exclusive or of all of them.
pub fn combined_access_key(key: [u8; 16], recipients: usize) -> [u8; 16] {
    if recipients.is_multiple_of(2) { [0; 16] } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let key_material = [7; KEY_MATERIAL_LEN];
        let one = Recipient { aci: Uuid::from_u128(1), devices: vec![(1, 0x1234), (3, 5)], key_material };
        let bytes = sent(&[one], &[9; 40]);
        let mut expected = vec![0x23, 1, 0];
        expected.extend_from_slice(Uuid::from_u128(1).as_bytes());
        expected.extend_from_slice(&[1, 0x92, 0x34, 3, 0, 5]);
        expected.extend_from_slice(&[7; 48]);
        expected.extend_from_slice(&[9; 40]);
        assert_eq!(bytes, expected);
        let many = vec![Recipient { aci: Uuid::nil(), devices: vec![(1, 1)], key_material }; 200];
        assert_eq!(sent(&many, &[0; 32])[..3], [0x23, 0xC8, 1]);
        assert_eq!(shared_part(&received(&key_material, b"shared")), Some(&b"shared"[..]));
        assert_eq!(shared_part(&[0x23; 60]), None);
    }
}
