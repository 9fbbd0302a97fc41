//! Keys of the parties, and tokens signed with them: made and read here without any code of the server's.

use anyhow::{Context as _, ensure};
use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{self, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::Value;

/// A P-256 key that signs tokens (ES256).
#[derive(Debug)]
pub struct EcKey {
    pem: String,
    public: Vec<u8>,
}

/// An RSA key that signs tokens (RS256).
#[derive(Debug)]
pub struct RsaKey {
    pem: String,
    public: Vec<u8>,
}

impl EcKey {
    /// A fresh one.
    pub fn generate() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref())?;
        Ok(Self { pem: pem(document.as_ref()), public: pair.public_key().as_ref().to_vec() })
    }

    /// The private half, as Apple gives it out.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The public half.
    pub fn public(&self) -> &[u8] {
        &self.public
    }
}

impl RsaKey {
    /// A fresh one.
    pub fn generate() -> anyhow::Result<Self> {
        let pair = rsa::KeyPair::generate(KeySize::Rsa2048)?;
        let document: Pkcs8V1Der<'_> = pair.as_der()?;
        Ok(Self { pem: pem(document.as_ref()), public: pair.public_key().as_ref().to_vec() })
    }

    /// The private half, as it stands in a service account.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The public half.
    pub fn public(&self) -> &[u8] {
        &self.public
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line)).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

/// Header and claims of a token whose signature is right.
pub(super) fn verify(token: &str, algorithm: &str, public: &[u8]) -> anyhow::Result<(Value, Value)> {
    let parts: Vec<_> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { anyhow::bail!("a token has three parts") };
    let json = |part: &str| -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).context("base64url")?)?)
    };
    let parsed = json(header)?;
    ensure!(parsed["alg"] == algorithm, "signed by {}", parsed["alg"]);
    let verifier: &dyn VerificationAlgorithm = match algorithm {
        "ES256" => &ECDSA_P256_SHA256_FIXED,
        _ => &RSA_PKCS1_2048_8192_SHA256,
    };
    let signed = &token[..header.len() + 1 + claims.len()];
    UnparsedPublicKey::new(verifier, public)
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature)?)
        .context("the signature is wrong")?;
    Ok((parsed, json(claims)?))
}

/// Seconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "the other side of the wire has a clock of its own")]
pub(super) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
