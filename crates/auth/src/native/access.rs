//! Access tokens: JWTs (RFC 7519, RFC 9068) that say for a quarter of an hour which session calls.
//!
//! Signed with Ed25519 and nothing else: what a token says of its own algorithm is compared, never obeyed.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use parking_lot::RwLock;
use protocol::{
    Aci, DeviceAddress, DeviceId,
    ambient::{Clock, Entropy},
    base64,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::session::SessionId;

/// What kind of JWT it is (RFC 9068 §2.1), so that no other kind is taken for one.
const TYPE: &str = "at+jwt";

/// Longest text that is looked at. Ours have about 500 characters.
const TOKEN_MAX: usize = 2048;

/// PKCS#8 in front of the 32 bytes of an Ed25519 private key (RFC 8410 §7).
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Bytes of an Ed25519 key, private or public.
const KEY_LEN: usize = 32;

/// What access tokens are like here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTokenConfig {
    /// Who issues them.
    pub issuer: String,
    /// Whom they are for.
    pub audience: String,
    /// How long they are good for.
    pub lifetime: Duration,
}

/// What signs access tokens.
pub struct SigningKey {
    public: PublicKey,
    encoding: EncodingKey,
}

/// The public half of a [`SigningKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: Box<str>,
    bytes: [u8; KEY_LEN],
}

/// That is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is not an Ed25519 key")]
pub struct InvalidKey;

impl SigningKey {
    /// Bytes of the secret that a key is made of.
    pub const SECRET_LEN: usize = KEY_LEN;

    /// The key of that secret.
    pub fn from_secret(secret: &[u8]) -> Result<Self, InvalidKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).map_err(|_| InvalidKey)?;
        let public = PublicKey::from_bytes(pair.public_key().as_ref())?;
        let pkcs8 = Zeroizing::new([&PKCS8_HEAD[..], secret].concat());
        Ok(Self { public, encoding: EncodingKey::from_ed_der(&pkcs8) })
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl PublicKey {
    /// The key of those bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidKey> {
        let bytes: [u8; KEY_LEN] = bytes.try_into().map_err(|_| InvalidKey)?;
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        Ok(Self { id: base64::encode_url(&digest[..12]).into(), bytes })
    }

    /// Its name in tokens (`kid`): follows from the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.bytes
    }

    fn jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP",
            crv: "Ed25519",
            r#use: "sig",
            alg: "EdDSA",
            kid: self.id.clone(),
            x: base64::encode_url(self.bytes),
        }
    }
}

/// The keys in use: one signs, and those before it are believed until their last token is over.
#[derive(Debug)]
pub struct KeySet {
    /// Signs.
    pub current: SigningKey,
    /// Signed before, and are still believed.
    pub former: Vec<PublicKey>,
}

/// Public keys in the form in which others read them (RFC 7517).
#[derive(Clone, Debug, Serialize)]
pub struct Jwks {
    /// The keys, the present one first.
    pub keys: Vec<Jwk>,
}

/// One of them (RFC 8037).
#[derive(Clone, Debug, Serialize)]
pub struct Jwk {
    kty: &'static str,
    crv: &'static str,
    r#use: &'static str,
    alg: &'static str,
    kid: Box<str>,
    x: String,
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: Aci,
    device_id: DeviceId,
    sid: SessionId,
    jti: String,
    /// Seconds since the epoch, as are the next two.
    iat: u64,
    nbf: u64,
    exp: u64,
}

/// Whom a token that is good speaks for. Whether its session still is has yet to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBearer {
    /// The device.
    pub device: DeviceAddress,
    /// Its session.
    pub session: SessionId,
}

/// The token is not one of ours, or is not good now. Callers are not told more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// It is not signed by one of the keys, not for here, or no access token at all.
    #[error("that is not an access token of this server")]
    Invalid,
    /// It is over.
    #[error("the access token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the access token is not valid yet")]
    NotYet,
}

/// Issues access tokens and tells whose they are.
pub struct AccessTokens {
    config: AccessTokenConfig,
    keys: RwLock<Arc<KeySet>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl AccessTokens {
    /// Issues under those keys.
    pub fn new(
        config: AccessTokenConfig,
        keys: KeySet,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { config, keys: RwLock::new(Arc::new(keys)), clock, entropy }
    }

    /// How long a token is good for.
    pub fn lifetime(&self) -> Duration {
        self.config.lifetime
    }

    /// Uses other keys from now on. Answers whether another one signs.
    pub fn replace_keys(&self, keys: KeySet) -> bool {
        let mut present = self.keys.write();
        let other = present.current.public != keys.current.public;
        *present = Arc::new(keys);
        other
    }

    /// The keys by which tokens are believed.
    pub fn jwks(&self) -> Jwks {
        let keys = self.keys();
        Jwks { keys: keys.believed().map(PublicKey::jwk).collect() }
    }

    /// A token for a session of that device.
    pub fn issue(&self, device: DeviceAddress, session: SessionId) -> Result<String, TokenRefused> {
        let now = self.clock.now().as_secs();
        let claims = Claims {
            iss: self.config.issuer.clone(),
            aud: self.config.audience.clone(),
            sub: device.aci,
            device_id: device.device_id,
            sid: session,
            jti: base64::encode_url(self.entropy.bytes::<16>()),
            iat: now,
            nbf: now,
            exp: now.saturating_add(self.config.lifetime.as_secs()),
        };
        let keys = self.keys();
        let header = Header {
            typ: Some(TYPE.to_owned()),
            kid: Some(keys.current.public.id.to_string()),
            ..Header::new(Algorithm::EdDSA)
        };
        encode(&header, &claims, &keys.current.encoding).map_err(|_| TokenRefused::Invalid)
    }

    /// Whom a token speaks for, if it is good.
    pub fn verify(&self, token: &str) -> Result<TokenBearer, TokenRefused> {
        if token.len() > TOKEN_MAX {
            return Err(TokenRefused::Invalid);
        }
        let header = decode_header(token).map_err(|_| TokenRefused::Invalid)?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TYPE) {
            return Err(TokenRefused::Invalid);
        }
        let keys = self.keys();
        let key = keys.believed().find(|key| Some(&*key.id) == header.kid.as_deref());
        let key = DecodingKey::from_ed_der(&key.ok_or(TokenRefused::Invalid)?.bytes);
        let claims =
            decode::<Claims>(token, &key, &self.validation()).map_err(|_| TokenRefused::Invalid)?.claims;
        let now = self.clock.now().as_secs();
        if now >= claims.exp {
            return Err(TokenRefused::Expired);
        }
        if now < claims.nbf {
            return Err(TokenRefused::NotYet);
        }
        let device = DeviceAddress { aci: claims.sub, device_id: claims.device_id };
        Ok(TokenBearer { device, session: claims.sid })
    }

    fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read())
    }

    fn validation(&self) -> Validation {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        // By our own clock, afterwards.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }
}

impl KeySet {
    fn believed(&self) -> impl Iterator<Item = &PublicKey> {
        std::iter::once(&self.current.public).chain(&self.former)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.public.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokens").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
