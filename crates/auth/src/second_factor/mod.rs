//! Second factors: what an account asks for besides its password or its number.
//!
//! One-time passwords by time ([`totp`], RFC 6238) and passkeys ([`webauthn`], Web Authentication Level 3). An
//! account has a handful of them, each under a small number ([`FactorId`]), and codes for the day they are lost
//! ([`recovery`]). Wrong answers are counted where
//! everything else is remembered ([`attempts`]), and a right one-time password is good once.

pub mod attempts;
mod passkeys;
mod proof;
pub mod recovery;
mod service;
pub mod store;
pub mod totp;
pub mod webauthn;

use std::fmt;

use protocol::ambient::Timestamp;
use serde::{Deserialize, Serialize};

pub use passkeys::{Ceremony, PasskeyOffer, PasskeyOptions};
pub use proof::FactorProof;
pub use service::{
    CHALLENGE_LIFE, FactorError, PENDING_LIFE, SecondFactorParts, SecondFactors, VerificationOffer,
};

use totp::TotpKey;
use webauthn::Credential;

/// Factors of all kinds that an account may have. Signal's ids would allow 128; nobody needs to look after
/// more than a few.
pub const FACTORS_MAX: usize = 8;

/// Keys for one-time passwords among them, as in Signal's service: every one of them makes guessing easier.
pub const TOTP_KEYS_MAX: usize = 2;

/// Which of an account's factors is meant: from 0 to 127.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactorId(u8);

/// A number that names no factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("factors are numbered from 0 to 127")]
pub struct InvalidFactorId;

impl FactorId {
    /// The largest.
    pub const MAX: u8 = 127;

    /// The id as a number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The smallest that is not among those.
    pub fn first_free(taken: &[Self]) -> Option<Self> {
        (0..=Self::MAX).map(Self).find(|id| !taken.contains(id))
    }
}

impl TryFrom<u32> for FactorId {
    type Error = InvalidFactorId;

    fn try_from(id: u32) -> Result<Self, InvalidFactorId> {
        u8::try_from(id).ok().filter(|id| *id <= Self::MAX).map(Self).ok_or(InvalidFactorId)
    }
}

/// The kinds of factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorKind {
    /// One-time passwords by time.
    Totp,
    /// A passkey.
    Passkey,
}

/// What is known of a factor's holder, by which a proof is checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FactorSecret {
    /// The key that makes one-time passwords.
    Totp(TotpKey),
    /// The public key of a passkey and what belongs to it.
    Passkey(Credential),
}

impl FactorSecret {
    /// The kind of factor it is of.
    pub const fn kind(&self) -> FactorKind {
        match self {
            Self::Totp(_) => FactorKind::Totp,
            Self::Passkey(_) => FactorKind::Passkey,
        }
    }
}

/// A factor that an account has.
#[derive(Clone, Debug)]
pub struct Factor {
    /// Its number.
    pub id: FactorId,
    /// What a proof is checked by.
    pub secret: FactorSecret,
    /// Of a one-time-password key the last step that was used, of a passkey its last counter.
    pub counter: u64,
    /// What its owner calls it.
    pub label: Label,
    /// When it was added.
    pub created: Timestamp,
}

/// What an owner notes about a factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// A name that the owner's devices have encrypted; the server cannot read it.
    Encrypted(EncryptedLabel),
    /// A name in clear, given by a client that does not encrypt it. At rest it is sealed.
    Plain(PlainLabel),
}

/// A name that the owner's devices have encrypted, always of the same length.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptedLabel(Box<[u8]>);

impl EncryptedLabel {
    /// Its bytes.
    pub const LEN: usize = 160;

    /// Takes the bytes; nothing if they are not [`LEN`](Self::LEN).
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == Self::LEN).then(|| Self(bytes.into()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for EncryptedLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptedLabel(…)")
    }
}

/// A name of a factor in clear.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainLabel(String);

impl PlainLabel {
    /// Most bytes it may have, as in Signal's client.
    pub const LEN_MAX: usize = 98;

    /// Takes the text; nothing if it is empty, too long or has control characters.
    pub fn new(text: String) -> Option<Self> {
        let fits = (1..=Self::LEN_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        fits.then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PlainLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainLabel(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_smallest_free_number() {
        let id = |number: u32| FactorId::try_from(number).unwrap();
        assert_eq!(FactorId::first_free(&[]), Some(id(0)));
        assert_eq!(FactorId::first_free(&[id(0), id(2)]), Some(id(1)));
        let all: Vec<_> = (0..=127).map(id).collect();
        assert_eq!(FactorId::first_free(&all), None);
        assert_eq!(FactorId::try_from(128), Err(InvalidFactorId));
    }

    #[test]
    fn labels_are_bounded_and_do_not_print() {
        assert!(EncryptedLabel::new(&[1; 159]).is_none() && EncryptedLabel::new(&[1; 161]).is_none());
        let encrypted = EncryptedLabel::new(&[1; 160]).unwrap();
        assert!(PlainLabel::new(String::new()).is_none() && PlainLabel::new("a\0b".to_owned()).is_none());
        assert!(PlainLabel::new("x".repeat(99)).is_none());
        let plain = PlainLabel::new("x".repeat(98)).unwrap();
        assert_eq!(format!("{encrypted:?} {plain:?}"), "EncryptedLabel(…) PlainLabel(…)");
    }
}
