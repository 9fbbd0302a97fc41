//! The file `sender-certificate.json`.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use protocol::{ambient::Timestamp, base64, certificate::ServerCertificate, keys::EcPublicKey};
use serde::{Deserialize, Serialize};

use super::{Former, Issued, SenderTrust, TrustRoot};

const FILE: &str = "sender-certificate.json";

/// What the file says, in either form.
#[derive(Deserialize)]
#[serde(untagged)]
enum OnDisk {
    Present(Present),
    First(First),
}

/// The present form. Times are milliseconds since the epoch.
#[derive(Serialize, Deserialize)]
struct Present {
    trust_roots: Vec<RootEntry>,
    former_certificates: Vec<FormerEntry>,
    server_certificate: CertificateEntry,
    /// The private half of the server certificate.
    #[serde(with = "base64::padded")]
    sealed_key: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct RootEntry {
    key: EcPublicKey,
    made: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct CertificateEntry {
    #[serde(with = "base64::padded")]
    certificate: Vec<u8>,
    issued: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct FormerEntry {
    #[serde(flatten)]
    issued: CertificateEntry,
    replaced: Timestamp,
}

/// The form that was written before anything could be rotated: one of each, and no times.
#[derive(Deserialize)]
struct First {
    trust_root: EcPublicKey,
    #[serde(with = "base64::padded")]
    server_certificate: Vec<u8>,
    #[serde(with = "base64::padded")]
    sealed_key: Vec<u8>,
}

impl From<First> for Present {
    fn from(First { trust_root, server_certificate, sealed_key }: First) -> Self {
        Self {
            trust_roots: vec![RootEntry { key: trust_root, made: None }],
            former_certificates: Vec::new(),
            server_certificate: CertificateEntry { certificate: server_certificate, issued: None },
            sealed_key,
        }
    }
}

impl CertificateEntry {
    fn of(Issued { certificate, at, .. }: &Issued) -> Self {
        Self { certificate: certificate.as_bytes().to_vec(), issued: *at }
    }

    /// Reads the certificate, which must be of one of these trust roots.
    fn read(&self, roots: &[TrustRoot]) -> Result<Issued> {
        let certificate = ServerCertificate::from_bytes(&self.certificate)?;
        let trust_root = (1..).zip(roots).find(|(_, root)| certificate.verify(&root.key));
        let (trust_root, _) = trust_root
            .ok_or_else(|| anyhow!("no trust root has signed server certificate {}", certificate.id()))?;
        Ok(Issued { certificate, trust_root, at: self.issued })
    }
}

impl SenderTrust {
    /// Where the file is in the secrets folder.
    pub(in crate::secrets) fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Reads what the file says. No certificate is believed that does not verify.
    pub(super) fn from_json(json: &str) -> Result<Self> {
        let present = match serde_json::from_str(json)? {
            OnDisk::Present(present) => present,
            OnDisk::First(first) => first.into(),
        };
        let root = |RootEntry { key, made }| TrustRoot { key, made };
        let trust_roots: Vec<_> = present.trust_roots.into_iter().map(root).collect();
        let former = present.former_certificates.iter().map(|FormerEntry { issued, replaced }| {
            Ok(Former { issued: issued.read(&trust_roots)?, replaced: *replaced })
        });
        Ok(Self {
            former: former.collect::<Result<_>>()?,
            current: present.server_certificate.read(&trust_roots)?,
            trust_roots,
            sealed_key: present.sealed_key,
        })
    }

    /// What to write into the file.
    pub(super) fn to_json(&self) -> Result<String> {
        let root = |root: &TrustRoot| RootEntry { key: root.key, made: root.made };
        let former = |former: &Former| FormerEntry {
            issued: CertificateEntry::of(&former.issued),
            replaced: former.replaced,
        };
        Ok(serde_json::to_string_pretty(&Present {
            trust_roots: self.trust_roots.iter().map(root).collect(),
            former_certificates: self.former.iter().map(former).collect(),
            server_certificate: CertificateEntry::of(&self.current),
            sealed_key: self.sealed_key.clone(),
        })?)
    }
}
