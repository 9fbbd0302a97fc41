//! Writing secrets so that they are whole, durable and private.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, Result};
use zeroize::Zeroizing;

/// Makes a folder that only its owner can enter.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("the folder {} cannot be made", path.display()))
}

/// Writes a file that only its owner can read, whole or not at all.
pub(super) fn write_secret(path: &Path, content: &[u8]) -> Result<()> {
    write(path, content, 0o600)
}

/// Writes a file that everybody may read, whole or not at all.
pub(super) fn write_public(path: &Path, content: &[u8]) -> Result<()> {
    write(path, content, 0o644)
}

/// Waits until nobody else holds the folder, and holds it until the result is dropped.
pub(super) fn lock(folder: &Path) -> Result<File> {
    let failed = || format!("the folder {} cannot be locked", folder.display());
    let held = File::open(folder).with_context(failed)?;
    held.lock().with_context(failed)?;
    Ok(held)
}

/// Reads a secret text.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Zeroizing::new(text))
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let failed = || format!("{} cannot be written", path.display());
    let unfinished = path.with_extension("new");
    // What an interrupted attempt has left is of no use.
    let _ = fs::remove_file(&unfinished);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished).with_context(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).with_context(failed)?;
    fs::rename(&unfinished, path).with_context(failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)
}
