//! AES-256-GCM-SIV (RFC 8452) with a random nonce in front.
//!
//! A repeated nonce reveals no more than that two plaintexts are equal. It can happen: a virtual machine
//! that is restored from a snapshot may draw the same random numbers twice.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use protocol::ambient::Entropy;

/// Length of a key.
pub(crate) const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// A key that seals and opens.
pub(crate) struct Aead(LessSafeKey);

impl Aead {
    #[expect(clippy::expect_used, reason = "the type of the argument is the condition")]
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).expect("the key has the right length")))
    }

    /// `head ‖ nonce ‖ ciphertext ‖ tag`, in one allocation.
    #[expect(clippy::expect_used, reason = "the cipher's limit is 64 GiB, beyond any buffer that comes here")]
    pub(crate) fn seal(&self, head: &[u8], aad: &[u8], plaintext: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = entropy.bytes();
        let mut out = Vec::with_capacity(head.len() + NONCE_LEN + plaintext.len() + TAG_LEN);
        out.extend_from_slice(head);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plaintext);
        let message = &mut out[head.len() + NONCE_LEN..];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), message);
        out.extend_from_slice(tag.expect("the plaintext fits the cipher").as_ref());
        out
    }

    /// Opens `nonce ‖ ciphertext ‖ tag`; `None` when anything differs from what was sealed.
    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>()?;
        let mut out = vec![0; ciphertext.len()];
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.open_separate_gather(nonce, Aad::from(aad), ciphertext, tag, &mut out).ok()?;
        Some(out)
    }
}
