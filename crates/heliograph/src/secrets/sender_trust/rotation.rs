//! Making trust roots and server certificates: the first ones, and those that follow.

use std::{
    mem,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use protocol::{
    ambient::{Entropy, Timestamp},
    base64,
    certificate::{FORBIDDEN_IDS, ServerCertificate},
    xeddsa::PrivateKey,
};
use vault::Vault;

use super::{Former, Issued, ROOT_KEY, SERVER_KEY, SenderTrust, TrustRoot, files, open, seal};

/// Id of the first server certificate.
const FIRST_ID: u32 = 1;

/// What making keys takes.
pub(in crate::secrets) struct Workshop<'a> {
    /// The secrets folder.
    pub(in crate::secrets) folder: &'a Path,
    /// Seals private halves.
    pub(in crate::secrets) vault: &'a Vault,
    /// The present moment.
    pub(in crate::secrets) now: Timestamp,
    /// Draws keys.
    pub(in crate::secrets) entropy: &'a dyn Entropy,
}

impl Workshop<'_> {
    /// Makes a trust root and a server certificate if there are none.
    pub(in crate::secrets) fn make_missing(&self) -> Result<()> {
        if SenderTrust::file(self.folder).exists() {
            return Ok(());
        }
        let root = PrivateKey::generate(self.entropy);
        let (certificate, key) = self.certify(FIRST_ID, &root);
        self.write_root(1, &root)?;
        self.write(&SenderTrust {
            trust_roots: vec![TrustRoot { key: root.public_key(), made: Some(self.now) }],
            former: Vec::new(),
            current: Issued { certificate, trust_root: 1, at: Some(self.now) },
            sealed_key: seal(self.vault, SERVER_KEY, &key),
        })
    }

    /// Issues a server certificate under the newest trust root, or under the published one whose private
    /// half is in that file.
    pub(in crate::secrets) fn rotate_certificate(&self, root_file: Option<&Path>) -> Result<SenderTrust> {
        let _one_at_a_time = files::lock(self.folder)?;
        let mut trust = SenderTrust::read(self.folder)?;
        let root = self.root_key(&trust, root_file)?;
        let public = root.public_key();
        let (trust_root, _) = trust
            .published(self.now)
            .find(|(_, published)| published.key == public)
            .ok_or_else(|| anyhow!("that is not the private half of a trust root that clients have"))?;
        let (certificate, key) = self.certify(trust.next_id()?, &root);
        trust.sealed_key = seal(self.vault, SERVER_KEY, &key);
        let next = Issued { certificate, trust_root, at: Some(self.now) };
        let issued = mem::replace(&mut trust.current, next);
        trust.former.push(Former { issued, replaced: self.now });
        self.write(&trust)?;
        Ok(trust)
    }

    /// Makes a new trust root and answers where its private half is. Nothing is issued under it yet.
    pub(in crate::secrets) fn rotate_root(&self) -> Result<(SenderTrust, PathBuf)> {
        let _one_at_a_time = files::lock(self.folder)?;
        let mut trust = SenderTrust::read(self.folder)?;
        let root = PrivateKey::generate(self.entropy);
        trust.trust_roots.push(TrustRoot { key: root.public_key(), made: Some(self.now) });
        // First, for nobody can make use of a root whose private half is missing; a file that is left of an
        // interrupted attempt was never told to anybody.
        let path = self.write_root(trust.newest_root(), &root)?;
        self.write(&trust)?;
        Ok((trust, path))
    }

    fn certify(&self, id: u32, root: &PrivateKey) -> (ServerCertificate, PrivateKey) {
        let key = PrivateKey::generate(self.entropy);
        (ServerCertificate::issue(id, &key.public_key(), root, self.entropy), key)
    }

    fn root_key(&self, trust: &SenderTrust, file: Option<&Path>) -> Result<PrivateKey> {
        let number = trust.newest_root();
        let usual = root_file(self.folder, number);
        let path = file.unwrap_or(&usual);
        if file.is_none() && !path.exists() {
            bail!(
                "the private half of trust root {number} is not at {}: say where it is with --trust-root FILE",
                path.display()
            );
        }
        let sealed = files::read(path)?;
        let sealed = base64::decode_lenient(sealed.trim()).unwrap_or_default();
        open(self.vault, ROOT_KEY, &sealed)
            .with_context(|| format!("{} holds no trust root of this server", path.display()))
    }

    fn write_root(&self, number: usize, root: &PrivateKey) -> Result<PathBuf> {
        let path = root_file(self.folder, number);
        let sealed = base64::encode_padded(seal(self.vault, ROOT_KEY, root));
        files::write_secret(&path, sealed.as_bytes())?;
        Ok(path)
    }

    fn write(&self, trust: &SenderTrust) -> Result<()> {
        files::write_secret(&SenderTrust::file(self.folder), trust.to_json()?.as_bytes())
    }
}

impl SenderTrust {
    /// An id that no server certificate has had, and that clients do not know as another's.
    fn next_id(&self) -> Result<u32> {
        let used = self.former.iter().map(|former| &former.issued).chain([&self.current]);
        let highest = used.map(|issued| issued.certificate.id()).max().unwrap_or_default();
        let mut free = (highest..=u32::MAX).skip(1).filter(|id| !FORBIDDEN_IDS.contains(id));
        free.next().context("every id of a server certificate has been used")
    }
}

/// Where the private half of a trust root is, unless it has been moved away.
fn root_file(folder: &Path, number: usize) -> PathBuf {
    match number {
        1 => folder.join("sender-trust-root.key"),
        _ => folder.join(format!("sender-trust-root-{number}.key")),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc, time::Duration};

    use auth::sender_certificate::LIFETIME_MAX;
    use protocol::{ambient::SeededEntropy, keys::EcPublicKey};
    use serde_json::json;
    use tempfile::TempDir;
    use vault::Keyring;

    use super::{super::AFTERLIFE, *};

    const DAY: Duration = Duration::from_hours(24);

    struct World {
        folder: TempDir,
        vault: Vault,
        entropy: Arc<SeededEntropy>,
        now: Timestamp,
    }

    impl World {
        fn new() -> Self {
            let entropy = Arc::new(SeededEntropy::new(1));
            let vault = Vault::new(Keyring::generate(&*entropy), entropy.clone());
            let now = Timestamp::from_millis(1_700_000_000_000);
            Self { folder: tempfile::tempdir().unwrap(), vault, entropy, now }
        }

        fn initialised() -> Self {
            let world = Self::new();
            world.workshop().make_missing().unwrap();
            world
        }

        fn workshop(&self) -> Workshop<'_> {
            let Self { folder, vault, entropy, now } = self;
            Workshop { folder: folder.path(), vault, now: *now, entropy: &**entropy }
        }

        fn trust(&self) -> SenderTrust {
            SenderTrust::read(self.folder.path()).unwrap()
        }

        fn published(&self) -> Vec<usize> {
            self.trust().published(self.now).map(|(number, _)| number).collect()
        }

        /// The id of the certificate that signs, and the number of its root.
        fn signing(&self) -> (u32, usize) {
            let trust = self.trust();
            let signer = trust.signer(&self.vault).unwrap();
            let root = &trust.trust_roots[trust.current.trust_root - 1].key;
            assert!(signer.certificate().verify(root));
            (signer.certificate().id(), trust.current.trust_root)
        }
    }

    #[test]
    fn certificates_follow_one_another_with_ids_that_are_free() {
        let world = World::initialised();
        assert_eq!(world.signing(), (1, 1));
        for id in [4, 5, 6] {
            world.workshop().rotate_certificate(None).unwrap();
            assert_eq!(world.signing(), (id, 1));
        }
        let mut trust = world.trust();
        for (highest, next) in [(0x7357_C356, 0x7357_C358), (0xDEAD_C356, 0xDEAD_C358)] {
            let (certificate, _) = world.workshop().certify(highest, &PrivateKey::generate(&*world.entropy));
            trust.current.certificate = certificate;
            assert_eq!(trust.next_id().unwrap(), next);
        }
        let (last, _) = world.workshop().certify(u32::MAX, &PrivateKey::generate(&*world.entropy));
        trust.current.certificate = last;
        assert!(trust.next_id().is_err());
    }

    #[test]
    fn a_new_root_is_published_at_once_and_signs_with_the_next_certificate() {
        let world = World::initialised();
        world.workshop().rotate_root().unwrap();
        assert_eq!((world.published(), world.signing()), (vec![1, 2], (1, 1)));
        world.workshop().rotate_certificate(None).unwrap();
        assert_eq!((world.published(), world.signing()), (vec![1, 2], (4, 2)));
    }

    #[test]
    fn a_root_is_published_until_nothing_under_it_can_be_good() {
        let mut world = World::initialised();
        world.workshop().rotate_root().unwrap();
        // However long the operator waits, the old root is in use.
        world.now = world.now.saturating_add(400 * DAY);
        assert_eq!(world.published(), [1, 2]);
        world.workshop().rotate_certificate(None).unwrap();
        world.now = world.now.saturating_add(LIFETIME_MAX);
        assert_eq!(world.published(), [1, 2]);
        world.now = world.now.saturating_add(AFTERLIFE.saturating_sub(LIFETIME_MAX));
        assert_eq!(world.published(), [1, 2]);
        world.now = world.now.saturating_add(Duration::from_millis(1));
        assert_eq!(world.published(), [2]);
    }

    #[test]
    fn a_root_that_signed_nothing_goes_when_another_follows_it() {
        let world = World::initialised();
        world.workshop().rotate_root().unwrap();
        world.workshop().rotate_root().unwrap();
        assert_eq!(world.published(), [1, 3]);
        assert!(world.workshop().rotate_certificate(Some(&root_file(world.folder.path(), 2))).is_err());
    }

    #[test]
    fn the_private_half_of_the_root_may_be_elsewhere() {
        let world = World::initialised();
        let (usual, elsewhere) =
            (root_file(world.folder.path(), 1), world.folder.path().join("usb-stick.key"));
        fs::rename(&usual, &elsewhere).unwrap();
        let refused = world.workshop().rotate_certificate(None).unwrap_err().to_string();
        assert!(refused.contains("--trust-root") && refused.contains(usual.to_str().unwrap()), "{refused}");
        assert_eq!(world.signing(), (1, 1));
        world.workshop().rotate_certificate(Some(&elsewhere)).unwrap();
        assert_eq!(world.signing(), (4, 1));
        // A new root needs nothing of the old one, and leaves its file alone.
        world.workshop().rotate_root().unwrap();
        world.workshop().rotate_certificate(Some(&elsewhere)).unwrap();
        assert_eq!(world.signing(), (5, 1));
        world.workshop().rotate_certificate(None).unwrap();
        assert_eq!(world.signing(), (6, 2));
    }

    #[test]
    fn a_file_that_holds_no_root_of_ours_changes_nothing() {
        let world = World::initialised();
        let before = fs::read(SenderTrust::file(world.folder.path())).unwrap();
        let file = world.folder.path().join("other.key");
        let other = World::initialised();
        let foreign = fs::read(root_file(other.folder.path(), 1)).unwrap();
        let stranger = PrivateKey::generate(&*world.entropy);
        let unknown = base64::encode_padded(seal(&world.vault, ROOT_KEY, &stranger)).into_bytes();
        for content in [Vec::new(), b"no key".to_vec(), foreign[..40].to_vec(), unknown] {
            fs::write(&file, content).unwrap();
            assert!(world.workshop().rotate_certificate(Some(&file)).is_err());
        }
        assert_eq!(fs::read(SenderTrust::file(world.folder.path())).unwrap(), before);
    }

    #[test]
    fn the_first_form_of_the_file_is_read_and_rotated() {
        let world = World::new();
        let root = PrivateKey::generate(&*world.entropy);
        let (certificate, key) = world.workshop().certify(1, &root);
        let first = json!({
            "trust_root": root.public_key(),
            "server_certificate": base64::encode_padded(certificate.as_bytes()),
            "sealed_key": base64::encode_padded(seal(&world.vault, SERVER_KEY, &key)),
        });
        fs::write(SenderTrust::file(world.folder.path()), first.to_string()).unwrap();
        world.workshop().write_root(1, &root).unwrap();
        assert_eq!((world.published(), world.signing()), (vec![1], (1, 1)));
        world.workshop().rotate_certificate(None).unwrap();
        assert_eq!((world.published(), world.signing()), (vec![1], (4, 1)));
        let keys: Vec<EcPublicKey> = world.trust().trust_roots().map(|(_, root)| root.key).collect();
        assert_eq!(keys, [root.public_key()]);
    }

    #[test]
    fn a_damaged_file_is_not_believed() {
        let world = World::initialised();
        world.workshop().rotate_certificate(None).unwrap();
        let path = SenderTrust::file(world.folder.path());
        let text = fs::read_to_string(&path).unwrap();
        let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
        let stranger = PrivateKey::generate(&*world.entropy);
        let (foreign, _) = world.workshop().certify(9, &stranger);
        let mut foreign_certificate = whole.clone();
        foreign_certificate["server_certificate"]["certificate"] =
            json!(base64::encode_padded(foreign.as_bytes()));
        let mut no_root = whole.clone();
        no_root["trust_roots"] = json!([]);
        let damaged =
            [foreign_certificate.to_string(), no_root.to_string(), text[..text.len() / 2].to_owned()];
        for text in damaged {
            fs::write(&path, text).unwrap();
            assert!(SenderTrust::read(world.folder.path()).is_err());
        }
        let mut other_key = whole;
        other_key["sealed_key"] = json!(base64::encode_padded(seal(&world.vault, SERVER_KEY, &stranger)));
        fs::write(&path, other_key.to_string()).unwrap();
        assert!(world.trust().signer(&world.vault).is_err());
    }
}
