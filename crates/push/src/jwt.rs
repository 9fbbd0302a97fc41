//! Signed tokens (RFC 7519) as providers want them: ES256 and RS256.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256},
};
use protocol::base64;
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::Serialize;

/// Why a key is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not a private key in PEM (PKCS #8).
    #[error("not a private key in PEM (PKCS #8)")]
    NotPem,
    /// It is a key, but of another kind.
    #[error("a key of another kind")]
    WrongKind,
}

/// What signs tokens.
pub(crate) enum Signer {
    Es256(EcdsaKeyPair),
    Rs256(rsa::KeyPair),
}

/// The token was not signed; the key or the memory is at fault.
#[derive(Debug, thiserror::Error)]
#[error("a token was not signed")]
pub(crate) struct SigningFailed;

impl Signer {
    /// A P-256 key in PEM, such as Apple's `.p8`.
    pub(crate) fn es256_pem(pem: &str) -> Result<Self, KeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NotPem)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der());
        key.map(Self::Es256).map_err(|_| KeyError::WrongKind)
    }

    /// An RSA key in PEM, such as that of a service account.
    pub(crate) fn rs256_pem(pem: &str) -> Result<Self, KeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NotPem)?;
        let key = rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der());
        key.map(Self::Rs256).map_err(|_| KeyError::WrongKind)
    }

    /// The token that says these claims.
    pub(crate) fn sign(
        &self,
        key_id: Option<&str>,
        claims: &impl Serialize,
    ) -> Result<String, SigningFailed> {
        let header = Header { alg: self.algorithm(), typ: "JWT", kid: key_id };
        let part = |json: Result<Vec<u8>, _>| {
            json.map(base64::encode_url).map_err(|_: serde_json::Error| SigningFailed)
        };
        let mut token = part(serde_json::to_vec(&header))? + "." + &part(serde_json::to_vec(claims))?;
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        token.push_str(&base64::encode_url(signature));
        Ok(token)
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(_) => "RS256",
        }
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(key) => key
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SigningFailed),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| SigningFailed)?;
                Ok(signature)
            }
        }
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_told_apart() {
        assert_eq!(Signer::es256_pem("nothing").err(), Some(KeyError::NotPem));
        let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(Signer::es256_pem(pem).err(), Some(KeyError::WrongKind));
        assert_eq!(Signer::rs256_pem(pem).err(), Some(KeyError::WrongKind));
    }
}
