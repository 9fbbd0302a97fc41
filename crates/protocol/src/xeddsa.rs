//! `XEdDSA`: Ed25519-like signatures by Curve25519 keys, in the variant that Signal uses.
//!
//! Two things differ from the published `XEdDSA` text: the private scalar is never negated, the sign of
//! the Edwards point travels in the top bit of the signature instead; and verification does not demand
//! that the response scalar is fully reduced.

use std::fmt;

use curve25519_dalek::{EdwardsPoint, MontgomeryPoint, Scalar};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    ambient::Entropy,
    keys::{EcPublicKey, Signature},
};

/// The bit of the last byte that carries a sign: of the point in an encoded point, and of the signer's
/// point in a signature.
const SIGN_BIT: u8 = 0x80;
/// Bits of the last byte of the response scalar that a signature never has set.
const SCALAR_TOO_LARGE: u8 = 0xE0;
/// What the nonce hash begins with, so that it cannot be a challenge hash: the number 2²⁵⁶ − 2 in little
/// endian, which encodes no point.
const NONCE_DOMAIN: [u8; 32] = {
    let mut prefix = [0xFF; 32];
    prefix[0] = 0xFE;
    prefix
};

/// Whether the signature is of that message by the private half of that key.
pub fn verify(public: &EcPublicKey, message: &[u8], signature: &Signature) -> bool {
    let (r, mut s) = halves(signature);
    let sign = s[31] >> 7;
    s[31] &= !SIGN_BIT;
    if s[31] & SCALAR_TOO_LARGE != 0 {
        return false;
    }
    let Some(point) = MontgomeryPoint(public.montgomery()).to_edwards(sign) else {
        return false;
    };
    let h = hash_to_scalar(&[&r, point.compress().as_bytes(), message]);
    let s = Scalar::from_bytes_mod_order(s);
    let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&h, &-point, &s);
    expected.compress().as_bytes().ct_eq(&r).into()
}

fn halves(signature: &Signature) -> ([u8; 32], [u8; 32]) {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    let (left, right) = signature.as_bytes().split_at(32);
    r.copy_from_slice(left);
    s.copy_from_slice(right);
    (r, s)
}

fn hash_to_scalar(parts: &[&[u8]]) -> Scalar {
    let hash = parts.iter().fold(Sha512::new(), Digest::chain_update);
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

/// A Curve25519 private key that signs. Wiped when dropped, and not shown by `Debug`.
pub struct PrivateKey(Zeroizing<[u8; 32]>);

impl PrivateKey {
    /// A fresh key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self::from_bytes(entropy.bytes())
    }

    /// The key of those bytes, after the bits that X25519 fixes are set (RFC 7748, section 5).
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut key = Zeroizing::new(bytes);
        key[0] &= 0xF8;
        key[31] &= 0x7F;
        key[31] |= 0x40;
        Self(key)
    }

    /// The 32 bytes, to be stored in a safe place.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// The public half.
    pub fn public_key(&self) -> EcPublicKey {
        EcPublicKey::from_montgomery(&EdwardsPoint::mul_base(&self.scalar()).to_montgomery().0)
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8], entropy: &dyn Entropy) -> Signature {
        let random: Zeroizing<[u8; 64]> = Zeroizing::new(entropy.bytes());
        let mut a = self.scalar();
        let public = EdwardsPoint::mul_base(&a).compress();
        let mut nonce = hash_to_scalar(&[&NONCE_DOMAIN, &*self.0, message, &*random]);
        let r = EdwardsPoint::mul_base(&nonce).compress();
        let h = hash_to_scalar(&[r.as_bytes(), public.as_bytes(), message]);
        let mut s = (h * a + nonce).to_bytes();
        s[31] |= public.as_bytes()[31] & SIGN_BIT;
        a.zeroize();
        nonce.zeroize();

        let mut signature = [0; Signature::LEN];
        signature[..32].copy_from_slice(r.as_bytes());
        signature[32..].copy_from_slice(&s);
        signature.into()
    }

    fn scalar(&self) -> Scalar {
        Scalar::from_bytes_mod_order(*self.0)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}
