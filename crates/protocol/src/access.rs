//! The key by which a sender who does not say who they are shows that the recipient knows them.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    base64,
    group_send::GroupSendToken,
    ids::{InvalidId, ServiceId},
};

/// Unidentified access key: 16 bytes that clients derive from a profile key. Wiped when dropped, not shown
/// by `Debug`, compared in constant time.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AccessKey([u8; Self::LEN]);

impl AccessKey {
    /// Length of the key.
    pub const LEN: usize = 16;

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Whether the keys are equal, in a time that does not depend on where they differ.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// What profiles and key bundles show of the key, so that a client can see whether its own still fits:
    /// HMAC-SHA-256 under the key over 32 zero bytes.
    pub fn fingerprint(&self) -> [u8; 32] {
        // HMAC fills a short key up to its block with zeros.
        let mut block = Zeroizing::new([0; 64]);
        block[..Self::LEN].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        mac.update(&[0; 32]);
        mac.finalize().into_bytes().into()
    }
}

/// Who may send to an account, fetch its keys and read its profile without saying who they are.
#[derive(Clone, Debug, Default)]
pub struct UnidentifiedAccess {
    /// Whoever knows this key.
    pub key: Option<AccessKey>,
    /// Everybody.
    pub unrestricted: bool,
}

/// What a caller who does not say who they are shows instead.
#[derive(Clone, Debug)]
pub enum UnidentifiedCredential {
    /// The target's access key.
    AccessKey(AccessKey),
    /// Nothing, relying on the target letting everybody in.
    Unrestricted,
    /// Proof of sharing a group with the target.
    GroupSendToken(GroupSendToken),
}

impl UnidentifiedAccess {
    /// Whether the account, addressed by that identity, lets somebody with that credential in. Access keys
    /// count for account identities only. Group send tokens are judged by
    /// [`GroupSendTokens`](crate::group_send::GroupSendTokens), before it is known whether the account is
    /// there at all; here they pass.
    pub fn admits(&self, credential: &UnidentifiedCredential, target: ServiceId) -> bool {
        let by_aci = matches!(target, ServiceId::Aci(_));
        match credential {
            UnidentifiedCredential::GroupSendToken(_) => true,
            UnidentifiedCredential::Unrestricted => by_aci && self.unrestricted,
            UnidentifiedCredential::AccessKey(key) => {
                let fits = self.key.as_ref().is_some_and(|own| own.ct_eq(key));
                by_aci && (self.unrestricted || fits)
            }
        }
    }
}

/// What the access keys of several accounts come to: their exclusive or. The one credential for all of them
/// that senders of multi-recipient messages had before there were group send tokens.
#[derive(Debug)]
pub struct CombinedAccess(AccessKey);

impl CombinedAccess {
    /// The combination over no account.
    pub fn none() -> Self {
        Self(AccessKey([0; AccessKey::LEN]))
    }

    /// Takes in an account. One that lets everybody in changes nothing; one that lets nobody in cannot be
    /// part of a combination, and `false` says so.
    #[must_use]
    pub fn add(&mut self, access: &UnidentifiedAccess) -> bool {
        match &access.key {
            _ if access.unrestricted => true,
            Some(key) => {
                self.0.0.iter_mut().zip(key.0).for_each(|(sum, byte)| *sum ^= byte);
                true
            }
            None => false,
        }
    }

    /// Whether that is the combination, in constant time.
    pub fn is(&self, key: &AccessKey) -> bool {
        self.0.ct_eq(key)
    }
}

impl TryFrom<&[u8]> for AccessKey {
    type Error = InvalidId;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
        bytes.try_into().map(Self).map_err(|_| InvalidId("access key"))
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey(…)")
    }
}

/// Clients write the key as base64 text, or as an array of 16 numbers.
impl<'de> Deserialize<'de> for AccessKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EitherForm)
    }
}

struct EitherForm;

impl<'de> Visitor<'de> for EitherForm {
    type Value = AccessKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("16 bytes as base64 text or as an array of numbers")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<AccessKey, E> {
        let bytes = base64::decode_lenient(text).map(Zeroizing::new);
        let key = bytes.and_then(|bytes| AccessKey::try_from(&bytes[..]).ok());
        key.ok_or_else(|| E::custom("not a valid access key"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<AccessKey, A::Error> {
        let mut key = AccessKey([0; AccessKey::LEN]);
        for (index, byte) in key.0.iter_mut().enumerate() {
            *byte = numbers.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
        }
        match numbers.next_element::<u8>()? {
            None => Ok(key),
            Some(_) => Err(A::Error::invalid_length(AccessKey::LEN + 1, &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_json_forms_give_the_same_key() {
        let text: AccessKey = serde_json::from_str("\"AQIDBAUGBwgJCgsMDQ4PEA\"").unwrap();
        let numbers: AccessKey = serde_json::from_str("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]").unwrap();
        assert!(text.ct_eq(&numbers));
        assert_eq!(text.as_bytes()[15], 16);
    }

    #[test]
    fn other_lengths_and_values_are_refused() {
        let others =
            ["null", "\"\"", "\"AQID\"", "[]", "[1,2,3]", "[256,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]"];
        for json in others.into_iter().chain(["[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]", "16"]) {
            assert!(serde_json::from_str::<AccessKey>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn keys_combine_as_the_official_library_combines_them() {
        let vectors = include_str!("../tests/vectors/access-keys.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let key = |text: &serde_json::Value| {
            AccessKey::try_from(&base64::decode_lenient(text.as_str().unwrap()).unwrap()[..]).unwrap()
        };
        let mut combined = CombinedAccess::none();
        for account in vectors["accounts"].as_array().unwrap() {
            let unrestricted = account["unrestricted"].as_bool().unwrap();
            assert!(combined.add(&UnidentifiedAccess { key: Some(key(&account["header"])), unrestricted }));
        }
        assert!(combined.is(&key(&vectors["combinedHeader"])));
        assert!(!combined.is(&key(&vectors["accounts"][0]["header"])));
        assert!(!combined.add(&UnidentifiedAccess::default()));
    }

    #[test]
    fn one_different_bit_is_a_different_key() {
        let key = AccessKey([7; 16]);
        for bit in 0..128 {
            let mut other = key.clone();
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.ct_eq(&other), "bit {bit}");
        }
    }
}
