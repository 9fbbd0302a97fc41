//! The two certificates of sealed sender.
//!
//! A trust root, which clients have built in, signs the server's key; the server's key signs, for days at a
//! time, which account and device a sender is. Both are Protocol Buffers (proto2) messages of signed bytes
//! and signature, and the signature covers the bytes exactly as they are embedded.
//!
//! The server only issues; reading and verifying serve its self-check and its tests.

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use crate::{
    ambient::{Entropy, Timestamp},
    ids::{Aci, DeviceId},
    keys::{EcPublicKey, Signature},
    phone::PhoneNumber,
    xeddsa::{self, PrivateKey},
};

/// A certificate id that clients refuse whoever signed it.
pub const REVOKED_ID: u32 = 0xDEAD_C357;

/// Certificate ids that a server must not use: clients know them as those of Signal's staging and production
/// servers and of a test, or refuse them.
pub const FORBIDDEN_IDS: [u32; 4] = [2, 3, 0x7357_C357, REVOKED_ID];

/// Bytes that are not a certificate, or lack something a certificate must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed certificate")]
pub struct MalformedCertificate;

/// The trust root's word that a key signs sender certificates.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    id: u32,
    key: EcPublicKey,
    certificate: Bytes,
    signature: Signature,
    serialized: Bytes,
}

impl ServerCertificate {
    /// Certifies a key.
    ///
    /// The operator chooses the id, which is none of [`FORBIDDEN_IDS`].
    pub fn issue(id: u32, key: &EcPublicKey, trust_root: &PrivateKey, entropy: &dyn Entropy) -> Self {
        let inner = wire::ServerCertificateContent { id: Some(id), key: Some(copy(key.as_bytes())) };
        let certificate = Bytes::from(inner.encode_to_vec());
        let signature = trust_root.sign(&certificate, entropy);
        let serialized = wire::Signed::new(&certificate, &signature).encode_to_vec().into();
        Self { id, key: *key, certificate, signature, serialized }
    }

    /// Reads a serialized certificate. Does not verify it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedCertificate> {
        let serialized = copy(bytes);
        let (certificate, signature) = wire::Signed::parse(serialized.clone())?;
        let content = wire::ServerCertificateContent::decode(certificate.clone())?;
        let id = content.id.ok_or(MalformedCertificate)?;
        let key = public_key(content.key)?;
        Ok(Self { id, key, certificate, signature, serialized })
    }

    /// The serialized certificate.
    pub fn as_bytes(&self) -> &[u8] {
        &self.serialized
    }

    /// The id that the operator chose.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The key that signs sender certificates.
    pub fn key(&self) -> &EcPublicKey {
        &self.key
    }

    /// Whether the trust root signed this, and the id is not revoked.
    pub fn verify(&self, trust_root: &EcPublicKey) -> bool {
        self.id != REVOKED_ID && xeddsa::verify(trust_root, &self.certificate, &self.signature)
    }
}

/// What a sender certificate says.
#[derive(Clone, Copy, Debug)]
pub struct SenderCertificateFields<'a> {
    /// The sender's phone number, where recipients are to learn it.
    pub e164: Option<&'a PhoneNumber>,
    /// The sender's account.
    pub uuid: Aci,
    /// The sender's device.
    pub device: DeviceId,
    /// The last moment at which it is valid.
    pub expires: Timestamp,
    /// The identity key of the sender's account identity.
    pub identity_key: &'a EcPublicKey,
}

/// The server's word on who a sender is.
#[derive(Clone, Debug)]
pub struct SenderCertificate {
    /// The sender's phone number, if the sender asked for it to be told.
    pub e164: Option<PhoneNumber>,
    /// The sender's account.
    pub uuid: Aci,
    /// The sender's device.
    pub device: DeviceId,
    /// The last moment at which it is valid.
    pub expires: Timestamp,
    /// The identity key of the sender's account identity.
    pub identity_key: EcPublicKey,
    /// Absent when the certificate only names a server certificate that clients have built in.
    signer: Option<ServerCertificate>,
    certificate: Bytes,
    signature: Signature,
}

impl SenderCertificate {
    /// Issues a certificate, with the signer's certificate embedded: clients have only those of the official
    /// service built in.
    pub fn issue(
        fields: SenderCertificateFields<'_>,
        signer: &ServerCertificate,
        key: &PrivateKey,
        entropy: &dyn Entropy,
    ) -> Vec<u8> {
        let inner = wire::SenderCertificateContent {
            sender_e164: fields.e164.map(|number| number.as_str().to_owned()),
            sender_device: Some(fields.device.get().into()),
            expires: Some(fields.expires.as_millis()),
            identity_key: Some(copy(fields.identity_key.as_bytes())),
            signer_certificate: Some(signer.serialized.clone()),
            legacy_sender_uuid: None,
            sender_uuid: Some(copy(fields.uuid.0.as_bytes())),
            signer_id: None,
        };
        let certificate = Bytes::from(inner.encode_to_vec());
        let signature = key.sign(&certificate, entropy);
        wire::Signed::new(&certificate, &signature).encode_to_vec()
    }

    /// Reads a serialized certificate. Does not verify it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedCertificate> {
        let (certificate, signature) = wire::Signed::parse(copy(bytes))?;
        let content = wire::SenderCertificateContent::decode(certificate.clone())?;
        let signer = match (&content.signer_certificate, content.signer_id) {
            (Some(signer), None) => Some(ServerCertificate::from_bytes(signer)?),
            (None, Some(_)) => None,
            _ => return Err(MalformedCertificate),
        };
        Ok(Self {
            uuid: content.uuid()?,
            e164: content.sender_e164.map(|text| text.parse()).transpose().map_err(malformed)?,
            device: content.sender_device.unwrap_or(0).try_into().map_err(malformed)?,
            expires: content.expires.map(Timestamp::from_millis).ok_or(MalformedCertificate)?,
            identity_key: public_key(content.identity_key)?,
            signer,
            certificate,
            signature,
        })
    }

    /// Whether a recipient who trusts that root would believe the certificate at that moment. One that does
    /// not embed its signer is not believed.
    pub fn verify(&self, trust_root: &EcPublicKey, at: Timestamp) -> bool {
        self.signer.as_ref().is_some_and(|signer| {
            at <= self.expires
                && signer.verify(trust_root)
                && xeddsa::verify(signer.key(), &self.certificate, &self.signature)
        })
    }
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn public_key(bytes: Option<Bytes>) -> Result<EcPublicKey, MalformedCertificate> {
    EcPublicKey::try_from(&bytes.unwrap_or_default()[..]).map_err(malformed)
}

fn malformed<E>(_: E) -> MalformedCertificate {
    MalformedCertificate
}

impl From<prost::DecodeError> for MalformedCertificate {
    fn from(_: prost::DecodeError) -> Self {
        Self
    }
}

/// The messages as they travel.
mod wire {
    use super::{Aci, Bytes, MalformedCertificate, Message, Signature, Uuid, copy, malformed};

    /// Both certificates on the outside.
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Signed {
        #[prost(bytes = "bytes", optional, tag = "1")]
        certificate: Option<Bytes>,
        #[prost(bytes = "bytes", optional, tag = "2")]
        signature: Option<Bytes>,
    }

    impl Signed {
        pub(super) fn new(certificate: &Bytes, signature: &Signature) -> Self {
            Self { certificate: Some(certificate.clone()), signature: Some(copy(signature.as_bytes())) }
        }

        pub(super) fn parse(bytes: Bytes) -> Result<(Bytes, Signature), MalformedCertificate> {
            let signed = Self::decode(bytes)?;
            let signature = signed.signature.unwrap_or_default();
            let signature = Signature::try_from(&signature[..]).map_err(malformed)?;
            Ok((signed.certificate.ok_or(MalformedCertificate)?, signature))
        }
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct ServerCertificateContent {
        #[prost(uint32, optional, tag = "1")]
        pub(super) id: Option<u32>,
        #[prost(bytes = "bytes", optional, tag = "2")]
        pub(super) key: Option<Bytes>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct SenderCertificateContent {
        #[prost(string, optional, tag = "1")]
        pub(super) sender_e164: Option<String>,
        #[prost(uint32, optional, tag = "2")]
        pub(super) sender_device: Option<u32>,
        #[prost(fixed64, optional, tag = "3")]
        pub(super) expires: Option<u64>,
        #[prost(bytes = "bytes", optional, tag = "4")]
        pub(super) identity_key: Option<Bytes>,
        // A message in the schema; the same bytes on the wire, and the signature needs them unchanged.
        #[prost(bytes = "bytes", optional, tag = "5")]
        pub(super) signer_certificate: Option<Bytes>,
        #[prost(string, optional, tag = "6")]
        pub(super) legacy_sender_uuid: Option<String>,
        #[prost(bytes = "bytes", optional, tag = "7")]
        pub(super) sender_uuid: Option<Bytes>,
        #[prost(uint32, optional, tag = "8")]
        pub(super) signer_id: Option<u32>,
    }

    impl SenderCertificateContent {
        pub(super) fn uuid(&self) -> Result<Aci, MalformedCertificate> {
            match (&self.sender_uuid, &self.legacy_sender_uuid) {
                (Some(bytes), _) => Uuid::from_slice(bytes).map(Aci).map_err(malformed),
                (None, Some(text)) => text.parse().map_err(malformed),
                (None, None) => Err(MalformedCertificate),
            }
        }
    }
}
