//! Saying who pushes (RFC 8292): a key of the server's, and tokens signed with it, one for each push server.

use std::{collections::HashMap, fmt, time::Duration};

use aws_lc_rs::{
    agreement::{ECDH_P256, PrivateKey},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use http::HeaderValue;
use parking_lot::Mutex;
use protocol::{
    ambient::{Entropy, Timestamp},
    base64,
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::jwt::Signer;

/// How long a token is good. Push servers refuse more than 24 hours.
const TOKEN_LIFE: Duration = Duration::from_hours(12);
/// A token is replaced so long before it ends, for clocks that differ.
const RENEW_BEFORE: Duration = Duration::from_hours(1);
/// Tokens kept. Beyond it all are forgotten and made anew as they are needed.
const TOKENS_MAX: usize = 1024;

/// The server's key: devices subscribe with its public half, and push servers take messages from its owner alone.
pub struct VapidKey {
    private: Zeroizing<[u8; 32]>,
    public: Vec<u8>,
}

/// That is no private key of P-256.
#[derive(Debug, thiserror::Error)]
#[error("that is not a private key of P-256")]
pub struct InvalidVapidKey;

impl VapidKey {
    /// A fresh one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        loop {
            // One scalar in 2^32 is none of the curve's.
            if let Ok(key) = Self::from_private(Zeroizing::new(entropy.bytes())) {
                return key;
            }
        }
    }

    /// The key of that private half: the scalar, big endian.
    pub fn from_private(private: Zeroizing<[u8; 32]>) -> Result<Self, InvalidVapidKey> {
        let key = PrivateKey::from_private_key(&ECDH_P256, &*private).map_err(|_| InvalidVapidKey)?;
        let public = key.compute_public_key().map_err(|_| InvalidVapidKey)?;
        Ok(Self { private, public: public.as_ref().to_vec() })
    }

    /// The private half.
    pub fn private(&self) -> &[u8; 32] {
        &self.private
    }

    /// The public half in base64url, as clients take it (`applicationServerKey`).
    pub fn public(&self) -> String {
        base64::encode_url(&self.public)
    }

    fn signer(&self) -> Result<Signer, InvalidVapidKey> {
        let alg = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(alg, &*self.private, &self.public);
        pair.map(Signer::Es256).map_err(|_| InvalidVapidKey)
    }
}

impl fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VapidKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

/// Signs for push servers.
pub(super) struct Vapid {
    signer: Signer,
    public: String,
    /// How the operator of a push server reaches ours.
    contact: Option<String>,
    /// By origin.
    tokens: Mutex<HashMap<String, Issued>>,
}

struct Issued {
    header: HeaderValue,
    renew: Timestamp,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
}

impl Vapid {
    pub(super) fn new(key: &VapidKey, contact: Option<String>) -> Result<Self, InvalidVapidKey> {
        Ok(Self { signer: key.signer()?, public: key.public(), contact, tokens: Mutex::default() })
    }

    /// The public half of the key, as clients take it.
    pub(super) fn public_key(&self) -> &str {
        &self.public
    }

    /// The `authorization` header for a push server; nothing if it could not be signed.
    pub(super) fn header(&self, origin: &str, now: Timestamp) -> Option<HeaderValue> {
        let mut tokens = self.tokens.lock();
        if let Some(issued) = tokens.get(origin).filter(|issued| now < issued.renew) {
            return Some(issued.header.clone());
        }
        let claims = Claims {
            aud: origin,
            exp: now.saturating_add(TOKEN_LIFE).as_secs(),
            sub: self.contact.as_deref(),
        };
        let token = self.signer.sign(None, &claims).ok()?;
        let mut header = HeaderValue::from_str(&format!("vapid t={token}, k={}", self.public)).ok()?;
        header.set_sensitive(true);
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        let renew = now.saturating_add(TOKEN_LIFE.saturating_sub(RENEW_BEFORE));
        tokens.insert(origin.to_owned(), Issued { header: header.clone(), renew });
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn a_key_comes_back_and_does_not_print() {
        let key = VapidKey::generate(&SeededEntropy::new(1));
        let again = VapidKey::from_private(Zeroizing::new(*key.private())).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(base64::decode_url_lenient(&key.public()).unwrap().len(), 65);
        assert!(!format!("{key:?}").contains(&base64::encode_url(key.private())));
        assert!(VapidKey::from_private(Zeroizing::new([0; 32])).is_err());
        assert!(VapidKey::from_private(Zeroizing::new([0xff; 32])).is_err());
    }

    #[test]
    fn one_token_for_each_server_until_it_is_old() {
        let vapid = Vapid::new(&VapidKey::generate(&SeededEntropy::new(1)), None).unwrap();
        let at = |hours: u64| Timestamp::from_millis(hours * 3_600_000);
        let first = vapid.header("https://a", at(0)).unwrap();
        assert_eq!(vapid.header("https://a", at(10)).unwrap(), first);
        assert_ne!(vapid.header("https://b", at(10)).unwrap(), first);
        assert_ne!(vapid.header("https://a", at(11)).unwrap(), first);
        for server in 0..2 * TOKENS_MAX {
            vapid.header(&format!("https://{server}"), at(11));
        }
        assert!(vapid.tokens.lock().len() <= TOKENS_MAX);
    }
}
