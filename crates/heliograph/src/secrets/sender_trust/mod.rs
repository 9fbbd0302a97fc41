//! The trust in sender certificates: the trust roots that clients have built in, and the server
//! certificates that those signed.
//!
//! The private half of a trust root signs server certificates and nothing else: once one is issued the
//! server does not need it, and the file may be moved away.
//!
//! Neither kind expires by itself. What ends one is the next: a server certificate that has been replaced
//! counts for another [`AFTERLIFE`], in which the last sender certificate issued under it expires. Clients
//! are told of a trust root as long as it is the newest or a server certificate under it counts.

mod file;
mod rotation;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, anyhow};
use auth::sender_certificate::{LIFETIME_MAX, Signer};
use protocol::{ambient::Timestamp, certificate::ServerCertificate, keys::EcPublicKey, xeddsa::PrivateKey};
use vault::{Place, Vault};

use super::files;

pub(super) use rotation::Workshop;

/// How long a server certificate counts after it has been replaced. Sender certificates live no longer
/// than their longest life; the day more is for a running server that learns late that it is to use another.
const AFTERLIFE: Duration = LIFETIME_MAX.saturating_add(Duration::from_hours(24));

/// Everything that is known of the trust in sender certificates.
#[derive(Clone, Debug)]
pub(crate) struct SenderTrust {
    /// Every trust root there ever was, the newest last. Never empty.
    trust_roots: Vec<TrustRoot>,
    /// Server certificates that have been replaced, the last one last.
    former: Vec<Former>,
    /// The server certificate under which sender certificates are issued.
    current: Issued,
    /// Its private half, sealed. That of a former certificate is not kept.
    sealed_key: Vec<u8>,
}

/// A key that clients have built in.
#[derive(Clone, Debug)]
pub(crate) struct TrustRoot {
    pub(crate) key: EcPublicKey,
    /// Not known of those from before it was noted.
    pub(crate) made: Option<Timestamp>,
}

/// A server certificate.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) certificate: ServerCertificate,
    /// Which trust root signed it, counting from 1.
    pub(crate) trust_root: usize,
    /// Not known of those from before it was noted.
    pub(crate) at: Option<Timestamp>,
}

/// A server certificate that has been replaced.
#[derive(Clone, Debug)]
pub(crate) struct Former {
    pub(crate) issued: Issued,
    pub(crate) replaced: Timestamp,
}

impl Former {
    /// Until when sender certificates issued under it may be good.
    pub(crate) fn counts_until(&self) -> Timestamp {
        self.replaced.saturating_add(AFTERLIFE)
    }
}

impl SenderTrust {
    /// Reads the file in the secrets folder.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = Self::file(folder);
        let json = files::read(&path)?;
        Self::from_json(&json).with_context(|| format!("{} is damaged", path.display()))
    }

    /// The trust roots that clients must have at that moment, each with its number.
    pub(crate) fn published(&self, at: Timestamp) -> impl Iterator<Item = (usize, &TrustRoot)> {
        self.trust_roots().filter(move |(number, _)| self.is_published(*number, at))
    }

    /// Every trust root there ever was, each with its number.
    pub(crate) fn trust_roots(&self) -> impl Iterator<Item = (usize, &TrustRoot)> {
        (1..).zip(&self.trust_roots)
    }

    /// Whether clients must have that trust root at that moment.
    pub(crate) fn is_published(&self, number: usize, at: Timestamp) -> bool {
        let counts = |former: &Former| former.issued.trust_root == number && at <= former.counts_until();
        number == self.newest_root() || number == self.current.trust_root || self.former.iter().any(counts)
    }

    /// The number of the trust root that signs the next server certificate.
    pub(crate) fn newest_root(&self) -> usize {
        self.trust_roots.len()
    }

    /// The server certificates that have been replaced, the last one last.
    pub(crate) fn former(&self) -> &[Former] {
        &self.former
    }

    /// The server certificate under which sender certificates are issued.
    pub(crate) fn current(&self) -> &Issued {
        &self.current
    }

    /// What signs sender certificates.
    pub(super) fn signer(&self, vault: &Vault) -> Result<Signer> {
        let key = open(vault, SERVER_KEY, &self.sealed_key).context("the server's signing key")?;
        Signer::new(self.current.certificate.clone(), key)
            .ok_or_else(|| anyhow!("the server's signing key is not that of its certificate"))
    }
}

/// Where the vault thinks the private half of a server certificate is.
const SERVER_KEY: &str = "secrets.sender-certificate-key";
/// And that of a trust root.
const ROOT_KEY: &str = "secrets.sender-trust-root";

fn seal(vault: &Vault, column: &'static str, key: &PrivateKey) -> Vec<u8> {
    vault.seal(Place { column, row: &[] }, &key.to_bytes()[..])
}

fn open(vault: &Vault, column: &'static str, sealed: &[u8]) -> Result<PrivateKey> {
    let bytes = vault.open(Place { column, row: &[] }, sealed)?;
    Ok(PrivateKey::from_bytes(bytes[..].try_into()?))
}
