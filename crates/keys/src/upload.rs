//! What a device uploads.

use protocol::{
    base64,
    keys::{EcPreKey, EcPublicKey, EcSignedPreKey, KemPublicKey, KemSignedPreKey, KeyId, Signature},
};
use serde::Deserialize;

use crate::error::KeyError;

/// Most one-time keys of one kind that a device can leave with the server.
pub const MAX_ONE_TIME_KEYS: usize = 100;

/// New keys of a device under one identity. A kind that is empty or absent stays as it is on the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUpload {
    /// Curve25519 one-time keys.
    pub one_time: Vec<EcPreKey>,
    /// The signed Curve25519 key.
    pub signed: Option<EcSignedPreKey>,
    /// Kyber one-time keys.
    pub kem_one_time: Vec<KemSignedPreKey>,
    /// The Kyber key for when the one-time keys are used up.
    pub last_resort: Option<KemSignedPreKey>,
}

impl KeyUpload {
    /// Whether there are few enough keys, all signed by that identity key.
    ///
    /// A full upload takes some ten milliseconds of computing.
    pub fn verify(&self, identity: &EcPublicKey) -> Result<(), KeyError> {
        if self.one_time.len() > MAX_ONE_TIME_KEYS || self.kem_one_time.len() > MAX_ONE_TIME_KEYS {
            return Err(KeyError::TooManyKeys);
        }
        let signed = self.signed.iter().all(|key| key.verify(identity))
            && self.last_resort.iter().all(|key| key.verify(identity))
            && self.kem_one_time.iter().all(|key| key.verify(identity));
        if signed { Ok(()) } else { Err(KeyError::InvalidSignature) }
    }
}

/// The JSON form of an upload, before ranges are checked.
///
/// JSON that does not fit this type is malformed, and so is text that is not a public key; a key that is
/// incomplete or out of range comes out as [`KeyError::InvalidKey`]. Clients are told these apart.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyUploadBody {
    pre_keys: Option<Vec<Option<KeyBody<EcPublicKey>>>>,
    signed_pre_key: Option<KeyBody<EcPublicKey>>,
    pq_pre_keys: Option<Vec<Option<KeyBody<KemPublicKey>>>>,
    pq_last_resort_pre_key: Option<KeyBody<KemPublicKey>>,
}

/// Any kind of key. Unsigned kinds ignore a signature.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyBody<K> {
    key_id: Option<i64>,
    public_key: Option<K>,
    signature: Option<SignatureBody>,
}

/// Of any length here: one of the wrong length is not malformed, it does not verify.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct SignatureBody(#[serde(deserialize_with = "base64::unpadded::deserialize")] Vec<u8>);

impl TryFrom<KeyUploadBody> for KeyUpload {
    type Error = KeyError;

    fn try_from(body: KeyUploadBody) -> Result<Self, KeyError> {
        Ok(Self {
            one_time: list(body.pre_keys)?,
            signed: body.signed_pre_key.map(TryInto::try_into).transpose()?,
            kem_one_time: list(body.pq_pre_keys)?,
            last_resort: body.pq_last_resort_pre_key.map(TryInto::try_into).transpose()?,
        })
    }
}

fn list<K, T: TryFrom<KeyBody<K>, Error = KeyError>>(
    keys: Option<Vec<Option<KeyBody<K>>>>,
) -> Result<Vec<T>, KeyError> {
    let keys = keys.unwrap_or_default();
    if keys.len() > MAX_ONE_TIME_KEYS {
        return Err(KeyError::TooManyKeys);
    }
    keys.into_iter().map(|key| key.ok_or(KeyError::InvalidKey)?.try_into()).collect()
}

impl<K> KeyBody<K> {
    fn id_and_key(&mut self) -> Result<(KeyId, K), KeyError> {
        let id = self.key_id.and_then(|id| u32::try_from(id).ok()).and_then(|id| KeyId::try_from(id).ok());
        id.zip(self.public_key.take()).ok_or(KeyError::InvalidKey)
    }

    fn signature(&self) -> Result<Signature, KeyError> {
        let SignatureBody(bytes) = self.signature.as_ref().ok_or(KeyError::InvalidKey)?;
        Signature::try_from(&bytes[..]).map_err(|_| KeyError::InvalidSignature)
    }
}

impl TryFrom<KeyBody<EcPublicKey>> for EcPreKey {
    type Error = KeyError;

    fn try_from(mut body: KeyBody<EcPublicKey>) -> Result<Self, KeyError> {
        let (key_id, public_key) = body.id_and_key()?;
        Ok(Self { key_id, public_key })
    }
}

impl TryFrom<KeyBody<EcPublicKey>> for EcSignedPreKey {
    type Error = KeyError;

    fn try_from(mut body: KeyBody<EcPublicKey>) -> Result<Self, KeyError> {
        let (key_id, public_key) = body.id_and_key()?;
        Ok(Self { key_id, public_key, signature: body.signature()? })
    }
}

impl TryFrom<KeyBody<KemPublicKey>> for KemSignedPreKey {
    type Error = KeyError;

    fn try_from(mut body: KeyBody<KemPublicKey>) -> Result<Self, KeyError> {
        let (key_id, public_key) = body.id_and_key()?;
        Ok(Self { key_id, public_key, signature: body.signature()? })
    }
}
