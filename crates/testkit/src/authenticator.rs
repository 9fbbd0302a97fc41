//! An authenticator in software: makes passkeys and uses them, as Web Authentication Level 3 has it.

use anyhow::{Context as _, anyhow};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;
use serde_json::{Value, json};

const USER_PRESENT: u8 = 1 << 0;
const USER_VERIFIED: u8 = 1 << 2;
const HAS_CREDENTIAL: u8 = 1 << 6;

/// One passkey, and the browser around it. What it says can be changed, to see that it is noticed.
pub struct Authenticator {
    key: Key,
    /// Names the passkey.
    pub credential_id: Vec<u8>,
    /// The domain it takes itself to be of.
    pub relying_party: String,
    /// The page that the browser is on.
    pub origin: String,
    /// Whether it says that it has checked who its user is.
    pub user_verified: bool,
    /// Whether it says that somebody was there.
    pub user_present: bool,
    /// What it counts up with each use; one that does not count stays at zero.
    pub counter: Option<u32>,
    /// Whom it takes its owner for.
    pub user_handle: Option<Vec<u8>>,
}

enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// A passkey that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// What the browser says of itself: JSON.
    pub client_data: Vec<u8>,
    /// What the authenticator says.
    pub attestation_object: Vec<u8>,
}

impl Created {
    /// As `RegistrationResponseJSON` (section 5.1).
    pub fn to_json(&self, credential_id: &[u8]) -> Value {
        let id = URL_SAFE_NO_PAD.encode(credential_id);
        json!({
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": URL_SAFE_NO_PAD.encode(&self.client_data),
                "attestationObject": URL_SAFE_NO_PAD.encode(&self.attestation_object),
            },
        })
    }
}

impl Authenticator {
    /// One with a key on P-256, which counts.
    pub fn es256(relying_party: &str, origin: &str) -> anyhow::Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        Ok(Self::new(Key::Es256(key), relying_party, origin))
    }

    /// One with an Ed25519 key.
    pub fn eddsa(relying_party: &str, origin: &str) -> anyhow::Result<Self> {
        Ok(Self::new(Key::EdDsa(Ed25519KeyPair::generate()?), relying_party, origin))
    }

    fn new(key: Key, relying_party: &str, origin: &str) -> Self {
        Self {
            key,
            credential_id: rand::rng().random::<[u8; 32]>().to_vec(),
            relying_party: relying_party.to_owned(),
            origin: origin.to_owned(),
            user_verified: true,
            user_present: true,
            counter: Some(0),
            user_handle: None,
        }
    }

    /// Makes the passkey.
    pub fn create(&self, challenge: &[u8]) -> Created {
        let data = self.authenticator_data(HAS_CREDENTIAL);
        let len = u16::try_from(self.credential_id.len()).unwrap_or(u16::MAX);
        // A model of all zeros: none is told.
        let data = [&data[..], &[0; 16], &len.to_be_bytes(), &self.credential_id, &self.cose_key()].concat();
        let attestation_object = [
            &[0xA3][..],
            &text("fmt"),
            &text("none"),
            &text("attStmt"),
            &[0xA0],
            &text("authData"),
            &byte_string(&data),
        ]
        .concat();
        Created { client_data: self.client_data("webauthn.create", challenge), attestation_object }
    }

    /// Uses it: `AuthenticationResponseJSON` (section 5.1).
    pub fn get(&mut self, challenge: &[u8]) -> anyhow::Result<Value> {
        self.counter = self.counter.map(|counter| counter + 1);
        let data = self.authenticator_data(0);
        let client_data = self.client_data("webauthn.get", challenge);
        let signed = [&data[..], digest(&SHA256, &client_data).as_ref()].concat();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let id = encode(&self.credential_id);
        Ok(json!({
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encode(&client_data),
                "authenticatorData": encode(&data),
                "signature": encode(&self.sign(&signed)?),
                "userHandle": self.user_handle.as_deref().map(encode),
            },
        }))
    }

    fn client_data(&self, ceremony: &str, challenge: &[u8]) -> Vec<u8> {
        let challenge = URL_SAFE_NO_PAD.encode(challenge);
        json!({"type": ceremony, "challenge": challenge, "origin": self.origin, "crossOrigin": false})
            .to_string()
            .into_bytes()
    }

    fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        let present = if self.user_present { USER_PRESENT } else { 0 };
        let verified = if self.user_verified { USER_VERIFIED } else { 0 };
        let relying_party = digest(&SHA256, self.relying_party.as_bytes());
        let counter = self.counter.unwrap_or_default();
        [relying_party.as_ref(), &[flags | present | verified], &counter.to_be_bytes()].concat()
    }

    /// The public key (RFC 9053).
    fn cose_key(&self) -> Vec<u8> {
        match &self.key {
            Key::Es256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                // Kind 2, algorithm -7, curve 1, and both coordinates.
                let head = [0xA5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21];
                [&head[..], &byte_string(x), &[0x22], &byte_string(y)].concat()
            }
            Key::EdDsa(key) => {
                // Kind 1, algorithm -8, curve 6, and the key.
                let head = [0xA4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21];
                [&head[..], &byte_string(key.public_key().as_ref())].concat()
            }
        }
    }

    fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        match &self.key {
            Key::Es256(key) => {
                let signature = key.sign(&SystemRandom::new(), message);
                signature.map(|signature| signature.as_ref().to_vec()).map_err(|_| anyhow!("not signed"))
            }
            Key::EdDsa(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

/// Reads the text form of a challenge or a passkey's id.
pub fn from_base64url(text: &str) -> anyhow::Result<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).context("not base64url")
}

fn text(text: &str) -> Vec<u8> {
    with_head(0x60, text.as_bytes())
}

fn byte_string(bytes: &[u8]) -> Vec<u8> {
    with_head(0x40, bytes)
}

/// Bytes with CBOR's head of that major type before them.
fn with_head(major: u8, bytes: &[u8]) -> Vec<u8> {
    let head = match bytes.len() {
        len @ 0..24 => vec![major | u8::try_from(len).unwrap_or_default()],
        len @ 24..256 => vec![major | 0x18, u8::try_from(len).unwrap_or_default()],
        len => {
            let [high, low] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
            vec![major | 0x19, high, low]
        }
    };
    [&head[..], bytes].concat()
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("origin", &self.origin).finish_non_exhaustive()
    }
}
