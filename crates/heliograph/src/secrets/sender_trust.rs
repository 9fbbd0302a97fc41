//! The sealed-sender trust root and the server certificate it signs.
//!
//! Clients are built with the public half of the trust root. Its private half signs server certificates
//! and nothing else: once one is issued the server does not need it, and the file may be moved away.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use protocol::{
    ambient::Entropy, base64, certificate::ServerCertificate, keys::EcPublicKey, xeddsa::PrivateKey,
};
use serde::{Deserialize, Serialize};
use vault::{Place, Vault};

use super::files;

const FILE: &str = "sender-certificate.json";
const TRUST_ROOT_FILE: &str = "sender-trust-root.key";

/// Id of the first server certificate. Clients have some ids built in and refuse others; 1 is free.
const FIRST_CERTIFICATE_ID: u32 = 1;

/// What clients and the server know of the trust in sender certificates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SenderTrust {
    /// The trust root's public key.
    trust_root: EcPublicKey,
    /// The certificate of the key that signs sender certificates.
    #[serde(with = "base64::padded")]
    server_certificate: Vec<u8>,
    /// That key's private half, sealed.
    #[serde(with = "base64::padded")]
    sealed_key: Vec<u8>,
}

impl SenderTrust {
    /// The file in the secrets folder.
    pub(super) fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Makes a trust root and a server certificate if there are none.
    pub(super) fn make_missing(folder: &Path, vault: &Vault, entropy: &dyn Entropy) -> Result<()> {
        if Self::file(folder).exists() {
            return Ok(());
        }
        let trust_root = PrivateKey::generate(entropy);
        let key = PrivateKey::generate(entropy);
        let certificate =
            ServerCertificate::issue(FIRST_CERTIFICATE_ID, &key.public_key(), &trust_root, entropy);
        let trust = Self {
            trust_root: trust_root.public_key(),
            server_certificate: certificate.as_bytes().to_vec(),
            sealed_key: vault.seal(place("secrets.sender-certificate-key"), &key.to_bytes()[..]),
        };
        let sealed_root = vault.seal(place("secrets.sender-trust-root"), &trust_root.to_bytes()[..]);
        files::write_secret(&folder.join(TRUST_ROOT_FILE), base64::encode_padded(sealed_root).as_bytes())?;
        files::write_secret(&Self::file(folder), serde_json::to_string_pretty(&trust)?.as_bytes())
    }

    /// Reads the file.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let file = Self::file(folder);
        let json = files::read(&file)?;
        serde_json::from_str(&json).with_context(|| format!("{} is damaged", file.display()))
    }

    /// The public keys under which clients accept server certificates.
    pub(crate) fn trust_roots(&self) -> Vec<EcPublicKey> {
        vec![self.trust_root]
    }
}

fn place(column: &'static str) -> Place<'static> {
    Place { column, row: &[] }
}
