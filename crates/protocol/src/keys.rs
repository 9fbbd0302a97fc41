//! Public keys and pre-keys as clients upload and fetch them, and the digest that compares two sides.
//!
//! A public key is serialized with a type byte in front: `05` for Curve25519, `08` for Kyber-1024.
//! In JSON it is standard base64; public keys are written with padding and signatures without.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::{base64, xeddsa};

/// Bytes or a number that are not the key, signature or key id they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0}")]
pub struct InvalidKey(pub &'static str);

/// The number by which a client finds the private half of a pre-key: 0 to 2³¹−1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct KeyId(u32);

/// A serialized Curve25519 public key: the type byte `05` and the 32-byte u-coordinate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EcPublicKey([u8; Self::LEN]);

/// A serialized Kyber-1024 public key: the type byte `08` and 1568 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublicKey(Box<[u8]>);

/// An `XEdDSA` signature (see [`xeddsa`]).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; Self::LEN]);

/// A one-time Curve25519 pre-key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EcPreKey {
    /// Names the key to the client that made it.
    pub key_id: KeyId,
    /// The key.
    pub public_key: EcPublicKey,
}

/// A Curve25519 pre-key for repeated use, signed by the identity key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EcSignedPreKey {
    /// Names the key to the client that made it.
    pub key_id: KeyId,
    /// The key.
    pub public_key: EcPublicKey,
    /// By the identity key, over the serialized public key.
    pub signature: Signature,
}

/// A Kyber-1024 pre-key, one-time or last-resort, signed by the identity key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KemSignedPreKey {
    /// Names the key to the client that made it.
    pub key_id: KeyId,
    /// The key.
    pub public_key: KemPublicKey,
    /// By the identity key, over the serialized public key.
    pub signature: Signature,
}

/// What a client and the server each compute over the repeated-use keys of a device, to see whether they
/// agree: SHA-256 of identity key, signed pre-key and last-resort key, each pre-key after its id as
/// unsigned 64 bit big endian. Signatures are not part of it.
pub fn check_digest(
    identity: &EcPublicKey,
    signed: &EcSignedPreKey,
    last_resort: &KemSignedPreKey,
) -> [u8; 32] {
    Sha256::new()
        .chain_update(identity.as_bytes())
        .chain_update(u64::from(signed.key_id.get()).to_be_bytes())
        .chain_update(signed.public_key.as_bytes())
        .chain_update(u64::from(last_resort.key_id.get()).to_be_bytes())
        .chain_update(last_resort.public_key.as_bytes())
        .finalize()
        .into()
}

impl EcSignedPreKey {
    /// Whether the signature is the identity key's.
    pub fn verify(&self, identity: &EcPublicKey) -> bool {
        xeddsa::verify(identity, self.public_key.as_bytes(), &self.signature)
    }
}

impl KemSignedPreKey {
    /// Whether the signature is the identity key's.
    pub fn verify(&self, identity: &EcPublicKey) -> bool {
        xeddsa::verify(identity, self.public_key.as_bytes(), &self.signature)
    }
}

impl KeyId {
    /// The highest key id.
    pub const MAX: u32 = i32::MAX.cast_unsigned();

    /// The number, 0 to 2³¹−1.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for KeyId {
    type Error = InvalidKey;

    fn try_from(id: u32) -> Result<Self, InvalidKey> {
        if id <= Self::MAX { Ok(Self(id)) } else { Err(InvalidKey("key id")) }
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
    }
}

impl EcPublicKey {
    /// Length of the serialized form.
    pub const LEN: usize = 33;
    const TYPE: u8 = 0x05;

    /// The key of that u-coordinate.
    pub(crate) fn from_montgomery(u: &[u8; 32]) -> Self {
        let mut bytes = [Self::TYPE; Self::LEN];
        bytes[1..].copy_from_slice(u);
        Self(bytes)
    }

    /// The u-coordinate.
    pub(crate) fn montgomery(&self) -> [u8; 32] {
        let mut u = [0; 32];
        u.copy_from_slice(&self.0[1..]);
        u
    }

    /// The serialized form.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl TryFrom<&[u8]> for EcPublicKey {
    type Error = InvalidKey;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidKey> {
        match <[u8; Self::LEN]>::try_from(bytes) {
            Ok(key) if key[0] == Self::TYPE => Ok(Self(key)),
            _ => Err(InvalidKey("public key")),
        }
    }
}

impl KemPublicKey {
    /// Length of the serialized form.
    pub const LEN: usize = 1569;
    const TYPE: u8 = 0x08;

    /// The serialized form, [`Self::LEN`] bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for KemPublicKey {
    type Error = InvalidKey;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidKey> {
        if bytes.len() == Self::LEN && bytes[0] == Self::TYPE {
            Ok(Self(bytes.into_boxed_slice()))
        } else {
            Err(InvalidKey("KEM public key"))
        }
    }
}

impl TryFrom<&[u8]> for KemPublicKey {
    type Error = InvalidKey;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidKey> {
        // The length first, so that what is too long is not copied.
        if bytes.len() == Self::LEN { bytes.to_vec().try_into() } else { Err(InvalidKey("KEM public key")) }
    }
}

impl Signature {
    /// Length of a signature.
    pub const LEN: usize = 64;

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl From<[u8; Signature::LEN]> for Signature {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = InvalidKey;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidKey> {
        bytes.try_into().map(Self).map_err(|_| InvalidKey("signature"))
    }
}

// Keys tell who talks to whom: `{:?}` of something that holds one must not put it into a log.
macro_rules! debug_without_content {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

macro_rules! base64_text {
    ($($name:ident as $form:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                base64::$form::serialize(self.as_bytes(), serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                base64::$form::deserialize(deserializer)
            }
        }
    )*};
}

debug_without_content!(EcPublicKey, KemPublicKey, Signature);
base64_text!(EcPublicKey as padded, KemPublicKey as padded, Signature as unpadded);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_another_type_or_length_are_refused() {
        for (length, first) in [(33, 4), (33, 0), (32, 5), (34, 5), (0, 5)] {
            let mut bytes = vec![0; length];
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            assert!(EcPublicKey::try_from(&bytes[..]).is_err(), "{length} bytes of type {first}");
        }
        for (length, first) in [(1569, 7), (1569, 10), (1568, 8), (1570, 8), (1, 8)] {
            let mut bytes = vec![0; length];
            bytes[0] = first;
            assert!(KemPublicKey::try_from(&bytes[..]).is_err(), "{length} bytes of type {first}");
            assert!(KemPublicKey::try_from(bytes).is_err(), "{length} bytes of type {first}");
        }
        assert!(KemPublicKey::try_from(&[][..]).is_err());
        assert!(KemPublicKey::try_from(vec![]).is_err());
    }

    #[test]
    fn key_ids_have_31_bits() {
        assert_eq!(KeyId::try_from(0x7FFF_FFFF).map(KeyId::get), Ok(0x7FFF_FFFF));
        assert!(KeyId::try_from(0x8000_0000).is_err());
        assert!(serde_json::from_str::<KeyId>("2147483648").is_err());
        assert!(serde_json::from_str::<KeyId>("-1").is_err());
    }

    #[test]
    fn debug_shows_no_key() {
        let key = EcPublicKey::from_montgomery(&[0xAB; 32]);
        assert_eq!(format!("{key:?}"), "EcPublicKey(…)");
    }
}
