//! What an authenticator says of itself and what it signs (section 6.1).

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use super::{CredentialId, PublicKey, Rejected, cbor};

const USER_PRESENT: u8 = 1 << 0;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const HAS_CREDENTIAL: u8 = 1 << 6;
const HAS_EXTENSIONS: u8 = 1 << 7;

/// Bytes of the authenticator's model.
const AAGUID_LEN: usize = 16;

/// The authenticator's data, read.
#[derive(Debug)]
pub(super) struct AuthenticatorData {
    relying_party_hash: [u8; SHA256_OUTPUT_LEN],
    /// Somebody was there.
    pub(super) user_present: bool,
    /// The authenticator has checked who.
    pub(super) user_verified: bool,
    /// Counts signatures, or stays zero.
    pub(super) counter: u32,
    /// The passkey that was made, where one was.
    pub(super) credential: Option<(CredentialId, PublicKey)>,
}

impl AuthenticatorData {
    /// Reads it whole: nothing may be left over.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Rejected> {
        let (relying_party_hash, rest) = bytes.split_first_chunk().ok_or(Rejected::Malformed)?;
        let (flags, rest) = rest.split_first().ok_or(Rejected::Malformed)?;
        let (counter, mut rest) = rest.split_first_chunk().ok_or(Rejected::Malformed)?;
        let has = |flag| flags & flag != 0;
        if has(BACKED_UP) && !has(BACKUP_ELIGIBLE) {
            return Err(Rejected::Malformed);
        }
        let mut credential = None;
        if has(HAS_CREDENTIAL) {
            let (read, after) = read_credential(rest)?;
            (credential, rest) = (Some(read), after);
        }
        if has(HAS_EXTENSIONS) {
            let (extensions, after) = cbor::read(rest).map_err(|_| Rejected::Malformed)?;
            if !matches!(extensions, cbor::Value::Map(_)) {
                return Err(Rejected::Malformed);
            }
            rest = after;
        }
        if !rest.is_empty() {
            return Err(Rejected::Malformed);
        }
        Ok(Self {
            relying_party_hash: *relying_party_hash,
            user_present: has(USER_PRESENT),
            user_verified: has(USER_VERIFIED),
            counter: u32::from_be_bytes(*counter),
            credential,
        })
    }

    /// Whether it was made for the relying party of that domain.
    pub(super) fn is_for(&self, relying_party: &str) -> bool {
        digest(&SHA256, relying_party.as_bytes()).as_ref() == self.relying_party_hash
    }
}

/// Attested credential data (section 6.5.1), and what follows it.
fn read_credential(bytes: &[u8]) -> Result<((CredentialId, PublicKey), &[u8]), Rejected> {
    let (_, rest) = bytes.split_at_checked(AAGUID_LEN).ok_or(Rejected::Malformed)?;
    let (len, rest) = rest.split_first_chunk().ok_or(Rejected::Malformed)?;
    let len = usize::from(u16::from_be_bytes(*len));
    let (id, rest) = rest.split_at_checked(len).ok_or(Rejected::Malformed)?;
    let id = CredentialId::try_from(id.to_vec())?;
    let (key, rest) = cbor::read(rest).map_err(|_| Rejected::Malformed)?;
    let cbor::Value::Map(key) = key else { return Err(Rejected::Malformed) };
    Ok(((id, PublicKey::from_cose(key)?), rest))
}
