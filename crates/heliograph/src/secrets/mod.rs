//! The secrets folder: what must exist before the server can start, how it is made and read.
//!
//! `DATA/secrets/` holds the master key (unless it is configured to be elsewhere), the keyring wrapped under
//! it, what signs sender certificates, access tokens and pushes, sealed under the keyring, and, if this program made
//! one, a private CA with the server's certificate.

mod access_keys;
mod certificate_authority;
mod files;
mod sender_trust;
mod web_push;

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use auth::{native::access::KeySet, sender_certificate::Signer};
use protocol::ambient::{Clock, Entropy, SystemClock, SystemEntropy};
use push::web_push::VapidKey;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use vault::{Keyring, MasterKey, Vault};

use crate::config::Config;

use access_keys::Forge;
use sender_trust::Workshop;

pub(crate) use access_keys::AccessKeys;
pub(crate) use sender_trust::{Former, Issued, SenderTrust, TrustRoot};

/// The folder inside the data folder.
const FOLDER: &str = "secrets";

/// Names the certificate of a development server covers.
pub(crate) const DEVELOPMENT_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    files::write_secret(path, content)
}

/// Where each secret lies.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    folder: PathBuf,
    config: Config,
}

impl Secrets {
    /// The secrets of that configuration.
    pub(crate) fn of(config: &Config) -> Self {
        Self { folder: config.data.join(FOLDER), config: config.clone() }
    }

    /// Makes what is missing and leaves alone what is there. With names, also a private CA and a certificate
    /// for them.
    pub(crate) fn make_missing(&self, names: &[String]) -> Result<()> {
        files::make_folder(&self.folder)?;
        let entropy = SystemEntropy;
        if self.config.master_key.env.is_empty() && !self.master_key_file().exists() {
            if self.keyring_file().exists() {
                bail!("there is a keyring but no master key; a new one could not open it");
            }
            files::write_secret(&self.master_key_file(), MasterKey::generate(&entropy).to_text().as_bytes())?;
        }
        if !self.keyring_file().exists() {
            let keyring = Keyring::generate(&entropy).to_json(&self.master_key()?, &entropy);
            files::write_secret(&self.keyring_file(), keyring.as_bytes())?;
        }
        let vault = self.vault()?;
        self.workshop(&vault).make_missing()?;
        web_push::make_missing(&self.folder, &vault, &entropy)?;
        self.forge(&vault).read_or_make()?;
        if !names.is_empty() && !self.certificate_file().exists() {
            certificate_authority::make(&self.folder, names)?;
        }
        Ok(())
    }

    /// Whether everything is there that a server needs; if not, what to do about it.
    pub(crate) fn check(&self) -> Result<()> {
        for file in [self.keyring_file(), SenderTrust::file(&self.folder), web_push::file(&self.folder)] {
            if !file.exists() {
                bail!("{} is missing: run `heliograph init` first", file.display());
            }
        }
        if !self.certificate_file().exists() {
            bail!(
                "there is no certificate: set tls.certificate and tls.key, or run `heliograph init --name NAME` \
                 to make one under a private CA"
            );
        }
        Ok(())
    }

    /// What seals data at rest.
    pub(crate) fn vault(&self) -> Result<Vault> {
        let json = files::read(&self.keyring_file())?;
        let keyring =
            Keyring::from_json(&self.master_key()?, &json).context("the keyring cannot be opened")?;
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        Ok(Vault::new(keyring, entropy))
    }

    /// The trust in sender certificates, without the keys.
    pub(crate) fn sender_trust(&self) -> Result<SenderTrust> {
        SenderTrust::read(&self.folder)
    }

    /// What signs pushes of Web Push.
    pub(crate) fn vapid_key(&self, vault: &Vault) -> Result<VapidKey> {
        web_push::key(&self.folder, vault)
    }

    /// Its public half, for clients.
    pub(crate) fn vapid_public_key(&self) -> Result<String> {
        web_push::public_key(&self.folder)
    }

    /// What signs sender certificates.
    pub(crate) fn sender_signer(&self, vault: &Vault) -> Result<Signer> {
        self.sender_trust()?.signer(vault)
    }

    /// Issues a new server certificate: under the newest trust root, or the one whose private half is in
    /// that file.
    pub(crate) fn rotate_sender_certificate(&self, trust_root: Option<&Path>) -> Result<SenderTrust> {
        self.workshop(&self.vault()?).rotate_certificate(trust_root)
    }

    /// Makes a new trust root, and answers where its private half is.
    pub(crate) fn rotate_sender_trust_root(&self) -> Result<(SenderTrust, PathBuf)> {
        self.workshop(&self.vault()?).rotate_root()
    }

    /// The keys of access tokens that are in use now; the first is made if there is none.
    pub(crate) fn access_keys(&self, vault: &Vault) -> Result<KeySet> {
        self.forge(vault).read_or_make()?.key_set(vault, SystemClock.now())
    }

    /// The keys of access tokens, without the private ones.
    pub(crate) fn access_key_list(&self) -> Result<AccessKeys> {
        self.forge(&self.vault()?).read_or_make()
    }

    /// Makes another key for access tokens. What the former ones signed is no longer believed if it is to be over at
    /// once.
    pub(crate) fn rotate_access_key(&self, at_once: bool) -> Result<AccessKeys> {
        self.forge(&self.vault()?).rotate(at_once)
    }

    /// Makes another key for access tokens if the present one has been in use for so long. Answers whether it was.
    pub(crate) fn rotate_old_access_key(&self, vault: &Vault, age: Duration) -> Result<bool> {
        let forge = self.forge(vault);
        let old = forge.read_or_make()?.is_older_than(age, forge.now);
        if old {
            forge.rotate(false)?;
        }
        Ok(old)
    }

    fn forge<'a>(&'a self, vault: &'a Vault) -> Forge<'a> {
        Forge { folder: &self.folder, vault, now: SystemClock.now(), entropy: &SystemEntropy }
    }

    fn workshop<'a>(&'a self, vault: &'a Vault) -> Workshop<'a> {
        Workshop { folder: &self.folder, vault, now: SystemClock.now(), entropy: &SystemEntropy }
    }

    /// The certificate chain and its key.
    pub(crate) fn tls(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let (certificate, key) = (self.certificate_file(), self.certificate_key_file());
        let chain = CertificateDer::pem_file_iter(&certificate)
            .and_then(Iterator::collect)
            .with_context(|| format!("{} holds no certificate", certificate.display()))?;
        let key = PrivateKeyDer::from_pem_file(&key)
            .with_context(|| format!("{} holds no private key", key.display()))?;
        Ok((chain, key))
    }

    /// The private CA's certificate in PEM, if this program made one.
    pub(crate) fn ca_pem(&self) -> Option<String> {
        fs::read_to_string(certificate_authority::ca_file(&self.folder)).ok()
    }

    fn master_key(&self) -> Result<MasterKey> {
        let source = &self.config.master_key;
        let text = if source.env.is_empty() {
            files::read(&self.master_key_file())?
        } else {
            env::var(&source.env)
                .map(Into::into)
                .with_context(|| format!("the environment variable {} holds no master key", source.env))?
        };
        MasterKey::from_text(&text).context("that is not a master key")
    }

    fn master_key_file(&self) -> PathBuf {
        self.or_in_folder(&self.config.master_key.file, "master.key")
    }

    fn keyring_file(&self) -> PathBuf {
        self.folder.join("keyring.json")
    }

    fn certificate_file(&self) -> PathBuf {
        self.or_in_folder(&self.config.tls.certificate, certificate_authority::CERTIFICATE)
    }

    fn certificate_key_file(&self) -> PathBuf {
        self.or_in_folder(&self.config.tls.key, certificate_authority::CERTIFICATE_KEY)
    }

    fn or_in_folder(&self, configured: &Path, name: &str) -> PathBuf {
        if configured.as_os_str().is_empty() { self.folder.join(name) } else { configured.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(directory: &tempfile::TempDir) -> Secrets {
        Secrets::of(&Config { data: directory.path().to_owned(), ..Config::default() })
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = secrets(&directory);
        let names = DEVELOPMENT_NAMES.map(str::to_owned);
        secrets.make_missing(&names).unwrap();
        secrets.check().unwrap();
        let sealed = secrets.vault().unwrap().index("test", b"x");
        let root = secrets.sender_trust().unwrap();
        secrets.make_missing(&names).unwrap();
        assert_eq!(secrets.vault().unwrap().index("test", b"x"), sealed);
        let keys = |trust: &SenderTrust| trust.trust_roots().map(|(_, root)| root.key).collect::<Vec<_>>();
        assert_eq!(keys(&secrets.sender_trust().unwrap()), keys(&root));
        secrets.tls().unwrap();
    }

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = secrets(&directory);
        assert!(secrets.check().unwrap_err().to_string().contains("heliograph init"));
        secrets.make_missing(&[]).unwrap();
        assert!(secrets.check().unwrap_err().to_string().contains("--name"));
    }

    #[test]
    fn a_lost_master_key_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = secrets(&directory);
        secrets.make_missing(&[]).unwrap();
        fs::remove_file(secrets.master_key_file()).unwrap();
        assert!(secrets.make_missing(&[]).is_err());
        assert!(!secrets.master_key_file().exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_them() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let secrets = secrets(&directory);
        secrets.make_missing(&["localhost".to_owned()]).unwrap();
        let folder = directory.path().join(FOLDER);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        for file in ["master.key", "keyring.json", certificate_authority::CERTIFICATE_KEY] {
            assert_eq!(
                fs::metadata(folder.join(file)).unwrap().permissions().mode() & 0o777,
                0o600,
                "{file}"
            );
        }
    }
}
