//! Public keys of passkeys, and checking signatures with them (RFC 9053, COSE).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};

use super::{
    Rejected,
    cbor::{Map, Value},
};

/// Kinds of signature that are taken, by their number at IANA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256: what nearly all authenticators have.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256: what the chips of many Windows machines have.
    Rs256,
}

impl Algorithm {
    /// All of them, the preferred first.
    pub const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    /// The number.
    pub const fn cose_id(self) -> i64 {
        match self {
            Self::EdDsa => -8,
            Self::Es256 => -7,
            Self::Rs256 => -257,
        }
    }
}

/// The public key of a passkey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PublicKey {
    /// A point on P-256: both coordinates.
    Es256([u8; 32], [u8; 32]),
    /// An Ed25519 key.
    EdDsa([u8; 32]),
    /// An RSA key: modulus and exponent, big endian.
    Rs256(Vec<u8>, Vec<u8>),
}

/// Bytes of the largest RSA modulus that is taken: 4096 bits. Checking a larger one takes longer, and nobody has one.
const MODULUS_MAX: usize = 512;
/// Bytes of the smallest: 2048 bits.
const MODULUS_MIN: usize = 256;
/// Bytes of the largest exponent; nearly all are 65537.
const EXPONENT_MAX: usize = 4;

impl PublicKey {
    /// Reads a key of one of the kinds in [`Algorithm`].
    pub(super) fn from_cose(key: Map<'_>) -> Result<Self, Rejected> {
        // Labels of RFC 9052, section 7: 1 is the kind of key, 3 the algorithm, -1 and below belong to the kind.
        let label = Value::Integer;
        let kind = key.integer(&label(1)).ok_or(Rejected::Malformed)?;
        let algorithm = key.integer(&label(3)).ok_or(Rejected::Malformed)?;
        let algorithm = Algorithm::ALL.into_iter().find(|known| known.cose_id() == algorithm);
        let bytes = |number| key.bytes(&label(number)).ok_or(Rejected::Malformed);
        let bytes_32 = |number| bytes(number)?.try_into().map_err(|_| Rejected::Malformed);
        let curve = || key.integer(&label(-1));
        match (algorithm.ok_or(Rejected::UnsupportedAlgorithm)?, kind) {
            (Algorithm::Es256, 2) if curve() == Some(1) => Ok(Self::Es256(bytes_32(-2)?, bytes_32(-3)?)),
            (Algorithm::EdDsa, 1) if curve() == Some(6) => Ok(Self::EdDsa(bytes_32(-2)?)),
            (Algorithm::Rs256, 3) => {
                let (modulus, exponent) = (bytes(-1)?, bytes(-2)?);
                let sizes_fit = (MODULUS_MIN..=MODULUS_MAX).contains(&modulus.len())
                    && (1..=EXPONENT_MAX).contains(&exponent.len());
                if !sizes_fit {
                    return Err(Rejected::UnsupportedAlgorithm);
                }
                Ok(Self::Rs256(modulus.to_vec(), exponent.to_vec()))
            }
            _ => Err(Rejected::Malformed),
        }
    }

    /// Checks a signature.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Rejected> {
        let verified = match self {
            Self::Es256(x, y) => {
                let point = [&[4], &x[..], y].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Self::EdDsa(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Self::Rs256(n, e) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        };
        verified.map_err(|_| Rejected::WrongSignature)
    }
}
