//! Passkeys: Web Authentication Level 3, the part of a relying party.
//!
//! What an authenticator says is read and judged here, without I/O. Ours and not a crate's, since Signal's calls
//! register a passkey without a challenge of the server's, which no crate provides for. Attestation is
//! neither asked for nor looked at: anybody's authenticator will do, and what counts is that the same one comes
//! back (section 7.1, step 22, "none").

mod assertion;
mod attestation;
mod authenticator_data;
mod cbor;
mod client_data;
mod public_key;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use assertion::AssertionResponse;
pub use attestation::{AttestationResponse, RegistrationResponse};
pub use public_key::{Algorithm, PublicKey};

use authenticator_data::AuthenticatorData;
use client_data::{CeremonyType, ClientData};

/// Most bytes of a credential's id (section 4).
pub const CREDENTIAL_ID_MAX: usize = 1023;

/// Bytes of a challenge. Sixteen would do (section 13.4.3).
pub const CHALLENGE_LEN: usize = 32;

/// A challenge that an authenticator signs.
pub type Challenge = [u8; CHALLENGE_LEN];

/// Who asks: the server, as browsers and authenticators know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    /// The domain that passkeys belong to.
    pub id: String,
    /// Where a passkey may be used from: `https://` origins, and those that apps have instead.
    pub origins: Vec<String>,
}

/// A passkey as the server remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Names it; chosen by the authenticator.
    pub id: CredentialId,
    /// What its signatures are checked by.
    pub public_key: PublicKey,
    /// The authenticator has checked who its user is when it was made, and must do so whenever it stands alone.
    pub user_verified: bool,
}

/// Names a passkey.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct CredentialId(Vec<u8>);

impl CredentialId {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for CredentialId {
    type Error = Rejected;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Rejected> {
        if (1..=CREDENTIAL_ID_MAX).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(Rejected::Malformed)
        }
    }
}

impl From<CredentialId> for Vec<u8> {
    fn from(id: CredentialId) -> Self {
        id.0
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialId(…)")
    }
}

/// What is asked of an authenticator.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Who asks.
    pub relying_party: &'a RelyingParty,
    /// What was to be signed. Signal's calls register without one.
    pub challenge: Option<&'a Challenge>,
    /// The authenticator must have checked who its user is, not only that there is one.
    pub user_verification: bool,
}

/// Why an authenticator's word is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is not of the form that the standard gives it.
    #[error("malformed")]
    Malformed,
    /// It is the answer to another kind of question.
    #[error("of another ceremony")]
    WrongCeremony,
    /// It signs another challenge.
    #[error("of another challenge")]
    WrongChallenge,
    /// It was given to another site or app, or inside a page of another site.
    #[error("of another origin")]
    WrongOrigin,
    /// The passkey belongs to another domain.
    #[error("of another relying party")]
    WrongRelyingParty,
    /// Nobody was there, or the authenticator did not check who it was.
    #[error("the user was not present or not verified")]
    NoUser,
    /// The key is of a kind that was not asked for.
    #[error("the algorithm was not offered")]
    UnsupportedAlgorithm,
    /// The passkey is not the one that is asked for.
    #[error("another credential")]
    WrongCredential,
    /// The signature does not verify.
    #[error("the signature is wrong")]
    WrongSignature,
}

impl Expected<'_> {
    /// Checks what the browser or app says of itself.
    fn check_client_data(&self, data: &ClientData, ceremony: CeremonyType) -> Result<(), Rejected> {
        if data.ceremony != ceremony {
            return Err(Rejected::WrongCeremony);
        }
        if self.challenge.is_some_and(|challenge| data.challenge != challenge[..]) {
            return Err(Rejected::WrongChallenge);
        }
        if data.cross_origin || !self.relying_party.origins.contains(&data.origin) {
            return Err(Rejected::WrongOrigin);
        }
        Ok(())
    }

    /// Checks what the authenticator says of itself.
    fn check_authenticator(&self, data: &AuthenticatorData) -> Result<(), Rejected> {
        if !data.is_for(&self.relying_party.id) {
            return Err(Rejected::WrongRelyingParty);
        }
        if !data.user_present || (self.user_verification && !data.user_verified) {
            return Err(Rejected::NoUser);
        }
        Ok(())
    }
}
