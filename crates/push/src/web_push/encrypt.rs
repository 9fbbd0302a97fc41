//! Encryption of a message for one subscription (RFC 8291): the content coding `aes128gcm` (RFC 8188) with keys
//! agreed on with the device.

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
};
use hkdf::Hkdf;
use protocol::{WebPushSubscription, ambient::Entropy};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The one record that a message is; what is said in the header (RFC 8188, section 2.1).
const RECORD_SIZE: u32 = 4096;
/// All plaintexts have this length, so that a push server cannot tell one kind from another.
const PADDED_LEN: usize = 128;
/// The end of a last record.
const LAST_RECORD: u8 = 2;
const TAG_LEN: usize = 16;
const SALT_LEN: usize = 16;

/// The subscription's key is no point of the curve, or the plaintext is too long.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be encrypted for this subscription")]
pub struct EncryptError;

/// What makes each message different.
pub(super) struct Fresh {
    pub(super) salt: [u8; SALT_LEN],
    /// The private key of this message: a scalar of P-256.
    pub(super) private_key: Zeroizing<[u8; 32]>,
}

impl Fresh {
    pub(super) fn draw(entropy: &dyn Entropy) -> Self {
        Self { salt: entropy.bytes(), private_key: Zeroizing::new(entropy.bytes()) }
    }
}

/// Encrypts a message, padded so that its length says nothing.
pub(super) fn encrypt(
    subscription: &WebPushSubscription,
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, EncryptError> {
    if plaintext.len() >= PADDED_LEN {
        return Err(EncryptError);
    }
    let mut padded = Zeroizing::new([0; PADDED_LEN]);
    padded[..plaintext.len()].copy_from_slice(plaintext);
    padded[plaintext.len()] = LAST_RECORD;
    seal(subscription, &*padded, &Fresh::draw(entropy))
}

/// Encrypts a record that has its delimiter and padding already.
pub(super) fn seal(
    subscription: &WebPushSubscription,
    record: &[u8],
    fresh: &Fresh,
) -> Result<Vec<u8>, EncryptError> {
    // One scalar in 2^32 is none of the curve's; whoever tries again draws another.
    let private = PrivateKey::from_private_key(&ECDH_P256, &*fresh.private_key).map_err(|_| EncryptError)?;
    let public = private.compute_public_key().map_err(|_| EncryptError)?;
    let peer = UnparsedPublicKey::new(&ECDH_P256, &subscription.public_key()[..]);
    let (key, nonce) = agreement::agree(&private, peer, EncryptError, |shared| {
        derive(subscription, public.as_ref(), &fresh.salt, shared)
    })?;
    let mut out = Vec::with_capacity(SALT_LEN + 4 + 1 + public.as_ref().len() + record.len() + TAG_LEN);
    out.extend_from_slice(&fresh.salt);
    out.extend_from_slice(&RECORD_SIZE.to_be_bytes());
    out.push(u8::try_from(public.as_ref().len()).map_err(|_| EncryptError)?);
    out.extend_from_slice(public.as_ref());
    let body = out.len();
    out.extend_from_slice(record);
    let key = UnboundKey::new(&AES_128_GCM, &*key).map(LessSafeKey::new).map_err(|_| EncryptError)?;
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[body..]);
    out.extend_from_slice(tag.map_err(|_| EncryptError)?.as_ref());
    Ok(out)
}

type KeyAndNonce = (Zeroizing<[u8; 16]>, [u8; 12]);

/// The key and the nonce of the record (RFC 8291, section 3.4).
fn derive(
    subscription: &WebPushSubscription,
    server_key: &[u8],
    salt: &[u8],
    shared: &[u8],
) -> Result<KeyAndNonce, EncryptError> {
    let device_key = &subscription.public_key()[..];
    let mut ikm = Zeroizing::new([0; 32]);
    let info = [b"WebPush: info\0", device_key, server_key].concat();
    Hkdf::<Sha256>::new(Some(subscription.auth()), shared)
        .expand(&info, &mut *ikm)
        .map_err(|_| EncryptError)?;
    let expand = Hkdf::<Sha256>::new(Some(salt), &*ikm);
    let (mut key, mut nonce) = (Zeroizing::new([0; 16]), [0; 12]);
    expand.expand(b"Content-Encoding: aes128gcm\0", &mut *key).map_err(|_| EncryptError)?;
    expand.expand(b"Content-Encoding: nonce\0", &mut nonce).map_err(|_| EncryptError)?;
    Ok((key, nonce))
}

#[cfg(test)]
mod tests {
    use protocol::{ambient::SeededEntropy, base64};

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        base64::decode_url_lenient(text).unwrap()
    }

    /// The subscription of RFC 8291, appendix A.
    fn subscription() -> WebPushSubscription {
        let key = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        WebPushSubscription::new("https://push.example.net/", key, "BTBZMqHH6r4Tts7J_aSIgg").unwrap()
    }

    #[test]
    fn the_example_of_rfc_8291_appendix_a() {
        let fresh = Fresh {
            salt: bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap(),
            private_key: Zeroizing::new(
                bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw").try_into().unwrap(),
            ),
        };
        let record = [b"When I grow up, I want to be a watermelon", &[LAST_RECORD][..]].concat();
        let expected = concat!(
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml",
            "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT",
            "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
        );
        assert_eq!(base64::encode_url(seal(&subscription(), &record, &fresh).unwrap()), expected);
    }

    #[test]
    fn every_message_has_the_same_length_and_looks_different() {
        let entropy = SeededEntropy::new(1);
        let made: Vec<_> = [&b""[..], b"x", &[b'x'; PADDED_LEN - 1]]
            .map(|plain| encrypt(&subscription(), plain, &entropy).unwrap())
            .into();
        assert!(made.iter().all(|message| message.len() == made[0].len()));
        assert_ne!(made[0][..SALT_LEN], made[1][..SALT_LEN]);
        assert_ne!(made[0][21..86], made[1][21..86], "a key of its own");
        assert_eq!(encrypt(&subscription(), &[0; PADDED_LEN], &entropy), Err(EncryptError));
    }

    #[test]
    fn a_key_that_is_no_point_is_an_error() {
        let key = base64::encode_url([[4].as_slice(), &[7; 64]].concat());
        let bad = WebPushSubscription::new("https://a/", &key, "BTBZMqHH6r4Tts7J_aSIgg").unwrap();
        assert_eq!(encrypt(&bad, b"x", &SeededEntropy::new(1)), Err(EncryptError));
    }
}
