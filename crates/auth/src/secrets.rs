//! Secrets that clients choose, and the form in which the server keeps them.

use std::fmt;

use hkdf::Hkdf;
use protocol::ambient::Entropy;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;

/// What a secret is kept as: a random salt and HKDF-SHA256 of the secret under it.
///
/// Clients draw these secrets at random with at least 128 bits, so a hash that is slow on purpose would
/// cost every connection and win nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaltedHash {
    salt: [u8; SALT_LEN],
    hash: [u8; HASH_LEN],
}

impl SaltedHash {
    /// Bytes of the stored form.
    pub const LEN: usize = SALT_LEN + HASH_LEN;

    /// The hash of a secret under a fresh salt.
    pub fn new(secret: &[u8], entropy: &dyn Entropy) -> Self {
        let salt = entropy.bytes();
        Self { salt, hash: derive(secret, &salt) }
    }

    /// Whether this is the hash of that secret; takes the same time for any other.
    pub fn matches(&self, secret: &[u8]) -> bool {
        derive(secret, &self.salt).ct_eq(&self.hash).into()
    }

    /// The stored form: salt, then hash.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..SALT_LEN].copy_from_slice(&self.salt);
        bytes[SALT_LEN..].copy_from_slice(&self.hash);
        bytes
    }

    /// Reads the stored form; nothing if it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (salt, hash) = bytes.split_first_chunk()?;
        Some(Self { salt: *salt, hash: hash.try_into().ok()? })
    }
}

fn derive(secret: &[u8], salt: &[u8; SALT_LEN]) -> [u8; HASH_LEN] {
    let mut hash = [0; HASH_LEN];
    match Hkdf::<Sha256>::new(Some(salt), secret).expand(b"authtoken", &mut hash) {
        Ok(()) => hash,
        Err(_) => unreachable!("HKDF-SHA256 gives up to 8160 bytes"),
    }
}

impl fmt::Debug for SaltedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltedHash(…)")
    }
}

/// The password of a device: opaque text that its client chose.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Password(String);

impl Password {
    /// That password.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// What is hashed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The token that proves knowledge of the PIN of an account with registration lock: 64 characters, in
/// practice the hex form of 32 bytes.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RegistrationLockToken(String);

impl RegistrationLockToken {
    /// Characters in a token.
    pub const LEN: usize = 64;

    /// The token as its text form (JSON); nothing if it has another length.
    pub fn from_text(text: String) -> Option<Self> {
        (text.len() == Self::LEN).then_some(Self(text))
    }

    /// The token from its binary form (gRPC), which is the same token as its hex text.
    pub fn from_binary(bytes: &[u8; 32]) -> Self {
        Self(hex(bytes))
    }

    /// What is hashed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The password by which a number's owner registers again without a verification code: 32 bytes.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RecoveryPassword([u8; Self::LEN]);

impl RecoveryPassword {
    /// Bytes in a recovery password.
    pub const LEN: usize = 32;

    /// Its salted hash.
    pub fn hash(&self, entropy: &dyn Entropy) -> SaltedHash {
        SaltedHash::new(&self.0, entropy)
    }

    /// Whether the hash is of this password.
    pub fn matches(&self, hash: &SaltedHash) -> bool {
        hash.matches(&self.0)
    }
}

impl From<[u8; RecoveryPassword::LEN]> for RecoveryPassword {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0F])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Has types say in `Debug` what they are and not what they hold.
macro_rules! debug_without_content {
    ($($name:ident),*) => {$(
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

pub(crate) use debug_without_content;

debug_without_content!(Password, RegistrationLockToken, RecoveryPassword);

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn a_hash_knows_its_secret_and_no_other() {
        let entropy = SeededEntropy::new(1);
        let hash = SaltedHash::new(b"secret", &entropy);
        assert!(hash.matches(b"secret"));
        for other in [&b""[..], b"Secret", b"secret "] {
            assert!(!hash.matches(other));
        }
        assert_ne!(hash, SaltedHash::new(b"secret", &entropy), "each hash has its own salt");
    }

    #[test]
    fn the_stored_form_comes_back() {
        let hash = SaltedHash::new(b"secret", &SeededEntropy::new(1));
        assert_eq!(SaltedHash::from_bytes(&hash.to_bytes()), Some(hash));
        assert_eq!(SaltedHash::from_bytes(&hash.to_bytes()[1..]), None);
        assert_eq!(SaltedHash::from_bytes(&[]), None);
    }

    #[test]
    fn both_forms_of_a_lock_token_are_the_same_token() {
        let text = "45b43bb819964ad8ba1c7bcb42a3175eeaf7dd8d2f95728f811517c20dfe72e0";
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        }
        assert!(
            RegistrationLockToken::from_text(text.to_owned()).unwrap()
                == RegistrationLockToken::from_binary(&bytes)
        );
        assert!(RegistrationLockToken::from_text(text[1..].to_owned()).is_none());
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Password::new("hunter2".to_owned())), "Password(…)");
        assert_eq!(format!("{:?}", RecoveryPassword::from([7; 32])), "RecoveryPassword(…)");
    }
}
