//! The file `web-push.json`: the key by which push servers know this server.
//!
//! Devices subscribe with its public half. A subscription is good for that key alone, so it is not replaced.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use protocol::{ambient::Entropy, base64};
use push::web_push::VapidKey;
use serde::{Deserialize, Serialize};
use vault::{Place, Vault};
use zeroize::Zeroizing;

use super::files;

const FILE: &str = "web-push.json";

/// Where the vault thinks the private half is.
const KEY: Place<'static> = Place { column: "secrets.web-push-key", row: &[] };

#[derive(Serialize, Deserialize)]
struct OnDisk {
    /// The public half in base64url, as clients take it.
    public_key: String,
    #[serde(with = "base64::padded")]
    sealed_key: Vec<u8>,
}

/// Where the file is in the secrets folder.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Makes the key unless there is one.
pub(super) fn make_missing(folder: &Path, vault: &Vault, entropy: &dyn Entropy) -> Result<()> {
    if file(folder).exists() {
        return Ok(());
    }
    let key = VapidKey::generate(entropy);
    let on_disk = OnDisk { public_key: key.public(), sealed_key: vault.seal(KEY, key.private()) };
    files::write_secret(&file(folder), serde_json::to_string_pretty(&on_disk)?.as_bytes())
}

/// The public half, which clients are told.
pub(super) fn public_key(folder: &Path) -> Result<String> {
    Ok(read(folder)?.public_key)
}

/// The key.
pub(super) fn key(folder: &Path, vault: &Vault) -> Result<VapidKey> {
    let OnDisk { public_key, sealed_key } = read(folder)?;
    let private = vault.open(KEY, &sealed_key).context("the key of Web Push")?;
    let private: [u8; 32] = private[..].try_into().map_err(|_| anyhow!("the key of Web Push is damaged"))?;
    let key = VapidKey::from_private(Zeroizing::new(private))?;
    ensure!(key.public() == public_key, "the two halves of the key of Web Push do not belong together");
    Ok(key)
}

fn read(folder: &Path) -> Result<OnDisk> {
    let path = file(folder);
    serde_json::from_str(&files::read(&path)?).with_context(|| format!("{} is damaged", path.display()))
}
