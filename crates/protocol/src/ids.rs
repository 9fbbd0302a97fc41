//! Who is who: account, phone-number and device identifiers.

use std::{fmt, num::NonZeroU8, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// Text or bytes that are not the identifier they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0}")]
pub struct InvalidId(pub &'static str);

/// Account identity: the UUID an account keeps for life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Aci(pub Uuid);

/// Phone-number identity: the UUID that stands for a phone number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pni(pub Uuid);

/// Which of an account's two identities is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityKind {
    /// The account identity.
    Aci,
    /// The phone-number identity.
    Pni,
}

/// What a message is addressed to: either identity of an account.
///
/// Text form: the lower-case UUID for an ACI, `PNI:` and the UUID for a PNI. Binary form: the 16 UUID
/// bytes for an ACI, `01` and the 16 bytes for a PNI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceId {
    /// An account identity.
    Aci(Aci),
    /// A phone-number identity.
    Pni(Pni),
}

/// A device of an account: 1 is the primary, linked devices follow; at most 127.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(NonZeroU8);

/// Number a client draws at installation, by which senders notice that it was reinstalled: 1 to 16383.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RegistrationId(u16);

/// One device of one account: what owns a message queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceAddress {
    /// The account.
    pub aci: Aci,
    /// The device of that account.
    pub device_id: DeviceId,
}

const PNI_PREFIX: &str = "PNI:";
const PNI_KIND: u8 = 1;

impl ServiceId {
    /// Which identity this is.
    pub fn kind(self) -> IdentityKind {
        match self {
            Self::Aci(_) => IdentityKind::Aci,
            Self::Pni(_) => IdentityKind::Pni,
        }
    }

    /// The bare UUID, without its kind.
    pub fn uuid(self) -> Uuid {
        match self {
            Self::Aci(Aci(uuid)) | Self::Pni(Pni(uuid)) => uuid,
        }
    }

    /// The service id of that kind.
    pub fn new(kind: IdentityKind, uuid: Uuid) -> Self {
        match kind {
            IdentityKind::Aci => Self::Aci(Aci(uuid)),
            IdentityKind::Pni => Self::Pni(Pni(uuid)),
        }
    }

    /// The binary form: 16 bytes for an ACI, 17 for a PNI.
    pub fn to_binary(self) -> Vec<u8> {
        let uuid = self.uuid();
        match self {
            Self::Aci(_) => uuid.as_bytes().to_vec(),
            Self::Pni(_) => [&[PNI_KIND], &uuid.as_bytes()[..]].concat(),
        }
    }

    /// Reads the binary form.
    pub fn from_binary(bytes: &[u8]) -> Result<Self, InvalidId> {
        let (kind, uuid) = match bytes {
            [PNI_KIND, uuid @ ..] if uuid.len() == 16 => (IdentityKind::Pni, uuid),
            uuid => (IdentityKind::Aci, uuid),
        };
        let uuid = Uuid::from_slice(uuid).map_err(|_| InvalidId("service id"))?;
        Ok(Self::new(kind, uuid))
    }
}

impl FromStr for ServiceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (kind, uuid) = match text.strip_prefix(PNI_PREFIX) {
            Some(uuid) => (IdentityKind::Pni, uuid),
            None => (IdentityKind::Aci, text),
        };
        Ok(Self::new(kind, parse_uuid(uuid).ok_or(InvalidId("service id"))?))
    }
}

impl FromStr for Aci {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        parse_uuid(text).map(Self).ok_or(InvalidId("account identity"))
    }
}

/// Only the hyphenated form: the `uuid` crate also reads braces, URNs and bare hex.
fn parse_uuid(text: &str) -> Option<Uuid> {
    if text.len() == uuid::fmt::Hyphenated::LENGTH { Uuid::try_parse(text).ok() } else { None }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aci(Aci(uuid)) => uuid.fmt(f),
            Self::Pni(Pni(uuid)) => write!(f, "{PNI_PREFIX}{uuid}"),
        }
    }
}

impl fmt::Display for Aci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Pni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// Account ids must not reach a log through `{:?}` of something that contains one.
impl fmt::Debug for Aci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aci(…)")
    }
}

impl fmt::Debug for Pni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pni(…)")
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aci(_) => "ServiceId::Aci(…)",
            Self::Pni(_) => "ServiceId::Pni(…)",
        })
    }
}

impl From<Aci> for ServiceId {
    fn from(aci: Aci) -> Self {
        Self::Aci(aci)
    }
}

impl From<Pni> for ServiceId {
    fn from(pni: Pni) -> Self {
        Self::Pni(pni)
    }
}

impl DeviceId {
    /// The device an account is registered with.
    pub const PRIMARY: Self = Self(NonZeroU8::MIN);
    /// The highest device id.
    pub const MAX: u8 = 127;

    /// The number, 1 to 127.
    pub fn get(self) -> u8 {
        self.0.get()
    }

    /// Whether this is the primary device.
    pub fn is_primary(self) -> bool {
        self == Self::PRIMARY
    }
}

impl TryFrom<u32> for DeviceId {
    type Error = InvalidId;

    fn try_from(id: u32) -> Result<Self, InvalidId> {
        u8::try_from(id)
            .ok()
            .filter(|id| *id <= Self::MAX)
            .and_then(NonZeroU8::new)
            .map(Self)
            .ok_or(InvalidId("device id"))
    }
}

impl FromStr for DeviceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits_only = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let id: u32 = text.parse().map_err(|_| InvalidId("device id"))?;
        if digits_only { id.try_into() } else { Err(InvalidId("device id")) }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.get())
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
    }
}

impl RegistrationId {
    /// The highest registration id: 14 bits.
    pub const MAX: u16 = 0x3FFF;

    /// The number, 1 to 16383.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u32> for RegistrationId {
    type Error = InvalidId;

    fn try_from(id: u32) -> Result<Self, InvalidId> {
        match u16::try_from(id) {
            Ok(id @ 1..=Self::MAX) => Ok(Self(id)),
            _ => Err(InvalidId("registration id")),
        }
    }
}

impl<'de> Deserialize<'de> for RegistrationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "796abedb-ca4e-4f18-8803-1fde5b921f9f";

    #[test]
    fn service_ids_keep_their_kind_in_both_forms() {
        for text in [TEXT.to_owned(), format!("PNI:{TEXT}")] {
            let id: ServiceId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(ServiceId::from_binary(&id.to_binary()), Ok(id));
        }
    }

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        for text in
            ["", "PNI:", "796abedbca4e4f1888031fde5b921f9f", &format!("{{{TEXT}}}"), &format!("pni:{TEXT}")]
        {
            assert!(text.parse::<ServiceId>().is_err(), "{text}");
        }
        assert!(ServiceId::from_binary(&[0; 17]).is_err());
        assert!(ServiceId::from_binary(&[1; 18]).is_err());
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for id in [0, 128, 256, u32::MAX] {
            assert!(DeviceId::try_from(id).is_err());
        }
        for text in ["", "+1", "0", "128", "1x", "00000000000001x"] {
            assert!(text.parse::<DeviceId>().is_err(), "{text}");
        }
        assert!(RegistrationId::try_from(0).is_err());
        assert!(RegistrationId::try_from(0x4000).is_err());
        assert_eq!(RegistrationId::try_from(0x3FFF).unwrap().get(), 0x3FFF);
    }
}
