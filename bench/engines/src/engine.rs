//! What the queue asks of an engine, and who is measured.

use std::path::Path;

use crate::{
    fjall::Fjall,
    redb::Redb,
    sqlite::{Layout, Sqlite},
};

/// A device's address as it begins the keys of ordered engines: 16 bytes of account, one of device number.
pub(crate) type Device = [u8; 17];

/// A device's address and a position, big endian: keys of a device lie together, in order.
pub(crate) type Key = [u8; 25];

/// One message for one device.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) device: Device,
    /// Grows with every message, whoever it is for.
    pub(crate) position: u64,
    pub(crate) value: Vec<u8>,
}

/// An open engine. Writes return when they are durable.
pub(crate) trait Engine {
    /// Appends all of them in one commit.
    fn append(&mut self, batch: &[Message]) -> anyhow::Result<()>;

    /// The first messages of a device beyond the position, in order, at most `limit`.
    fn read(&mut self, device: Device, after: u64, limit: usize) -> anyhow::Result<Vec<Message>>;

    /// Deletes all of them in one commit.
    fn delete(&mut self, batch: &[Message]) -> anyhow::Result<()>;
}

/// An engine and how it lays out the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Contestant {
    Sqlite(Layout),
    Fjall,
    Redb,
}

impl Contestant {
    pub(crate) const ALL: [Self; 6] = [
        Self::Sqlite(Layout::Covering),
        Self::Sqlite(Layout::Narrow),
        Self::Sqlite(Layout::Clustered),
        Self::Sqlite(Layout::LargePages),
        Self::Fjall,
        Self::Redb,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite(Layout::Covering) => "SQLite, ours",
            Self::Sqlite(Layout::Narrow) => "SQLite, index (aci, device)",
            Self::Sqlite(Layout::Clustered) => "SQLite, clustered",
            Self::Sqlite(Layout::LargePages) => "SQLite, ours, 8 KiB pages",
            Self::Fjall => "fjall",
            Self::Redb => "redb",
        }
    }

    /// Opens its files in that folder, or makes them.
    pub(crate) fn open(self, folder: &Path) -> anyhow::Result<Box<dyn Engine>> {
        Ok(match self {
            Self::Sqlite(layout) => Box::new(Sqlite::open(folder, layout)?),
            Self::Fjall => Box::new(Fjall::open(folder)?),
            Self::Redb => Box::new(Redb::open(folder)?),
        })
    }
}

/// The key of a message in engines that have nothing but keys.
pub(crate) fn key(device: Device, position: u64) -> Key {
    let mut key = [0; 25];
    key[..17].copy_from_slice(&device);
    key[17..].copy_from_slice(&position.to_be_bytes());
    key
}

/// The position in a key.
pub(crate) fn position(key: &[u8]) -> anyhow::Result<u64> {
    let key = Key::try_from(key)?;
    let (_, position) = key.split_at(17);
    Ok(u64::from_be_bytes(position.try_into()?))
}
