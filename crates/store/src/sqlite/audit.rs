//! The audit log in SQLite: a file of its own with its own writer, so that many sign-ins do not slow accounts.

use std::{fmt, path::Path, sync::Arc};

use ::audit::{
    AuditStore,
    chain::{ChainKey, Head, Mac, Purpose},
    record::{Entry, Record},
    verify::Cut,
};
use async_trait::async_trait;
use protocol::ambient::{StorageError, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use vault::{Place, Vault};

use super::{Database, OpenError, Schema, database, sql};

/// Names the key of the chain among those that a vault derives.
const CHAIN_KEY: &str = "audit.chain";

/// The key of the chain of whoever has that vault.
pub fn audit_chain_key(vault: &Vault) -> ChainKey {
    ChainKey::new(vault.index(CHAIN_KEY, &[]))
}

/// The audit log kept in one [`Database`]. What records say is sealed; how many there are, and when, shows.
#[derive(Clone)]
pub struct SqliteAudit {
    database: Arc<Database>,
    keys: Keys,
}

/// The audit log of a file that a server may be using, to be read and nothing else. It shows one moment, however long
/// reading takes.
pub struct AuditReader {
    connection: Connection,
    keys: Keys,
}

#[derive(Clone)]
struct Keys {
    vault: Vault,
    chain: ChainKey,
}

impl Keys {
    fn new(vault: Vault) -> Self {
        let chain = audit_chain_key(&vault);
        Self { vault, chain }
    }
}

impl SqliteAudit {
    /// The log in that file, sealed and chained with those keys.
    pub fn new(database: Arc<Database>, vault: Vault) -> Self {
        Self { database, keys: Keys::new(vault) }
    }
}

impl AuditReader {
    /// Opens the file.
    pub fn open(path: &Path, vault: Vault) -> Result<Self, OpenError> {
        let connection = database::open_to_read(path, Schema::Audit)?;
        connection.execute_batch("BEGIN")?;
        Ok(Self { connection, keys: Keys::new(vault) })
    }

    /// The key of the chain.
    pub fn key(&self) -> &ChainKey {
        &self.keys.chain
    }

    /// As [`AuditStore::cut`].
    pub fn cut(&self) -> Result<Option<Cut>, StorageError> {
        select_cut(&self.connection)
    }

    /// As [`AuditStore::head`].
    pub fn head(&self) -> Result<Head, StorageError> {
        select_head(&self.connection, &self.keys.chain)
    }

    /// As [`AuditStore::read`].
    pub fn read(&self, after: u64, limit: usize) -> Result<Vec<Record>, StorageError> {
        select_records(&self.connection, &self.keys.vault, after, limit)
    }
}

#[async_trait]
impl AuditStore for SqliteAudit {
    async fn append(&self, entries: Vec<Entry>) -> Result<Head, StorageError> {
        let keys = self.keys.clone();
        self.database.write(move |connection| append(connection, &keys, &entries)).await
    }

    async fn head(&self) -> Result<Head, StorageError> {
        let chain = self.keys.chain.clone();
        self.database.read(move |connection| select_head(connection, &chain)).await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<Record>, StorageError> {
        let vault = self.keys.vault.clone();
        self.database.read(move |connection| select_records(connection, &vault, after, limit)).await
    }

    async fn cut(&self) -> Result<Option<Cut>, StorageError> {
        self.database.read(select_cut).await
    }

    async fn expire(&self, before: Timestamp, now: Timestamp, limit: usize) -> Result<usize, StorageError> {
        let chain = self.keys.chain.clone();
        self.database.write(move |connection| expire(connection, &chain, before, now, limit)).await
    }
}

/// The head is read in the transaction that adds to it: another process may have added to the chain in between.
fn append(connection: &Connection, keys: &Keys, entries: &[Entry]) -> Result<Head, StorageError> {
    let mut head = select_head(connection, &keys.chain)?;
    let mut insert = connection
        .prepare_cached("INSERT INTO audit_records (seq, at, data, mac) VALUES (?1, ?2, ?3, ?4)")
        .map_err(sql)?;
    for entry in entries {
        let bytes = entry.to_bytes();
        head = keys.chain.link(head, &bytes);
        let row = head.seq.to_be_bytes();
        let sealed = keys.vault.seal(place(&row), &bytes);
        insert
            .execute(params![integer(head.seq), millis(entry.at), sealed, head.mac.as_bytes()])
            .map_err(sql)?;
    }
    Ok(head)
}

fn select_head(connection: &Connection, chain: &ChainKey) -> Result<Head, StorageError> {
    let last = connection
        .prepare_cached("SELECT seq, mac FROM audit_records ORDER BY seq DESC LIMIT 1")
        .and_then(|mut select| select.query_row([], seq_and_mac).optional())
        .map_err(sql)?;
    match last {
        Some((seq, mac)) => head("audit_records", seq, &mac),
        None => Ok(select_cut(connection)?.map_or_else(|| chain.genesis(), |cut| cut.head)),
    }
}

fn select_cut(connection: &Connection) -> Result<Option<Cut>, StorageError> {
    let found = connection
        .prepare_cached("SELECT seq, mac, at, signature FROM audit_cut")
        .and_then(|mut select| {
            let row = select.query_row([], |row| {
                let (seq, mac) = seq_and_mac(row)?;
                Ok((seq, mac, row.get::<_, i64>(2)?, row.get::<_, Vec<u8>>(3)?))
            });
            row.optional()
        })
        .map_err(sql)?;
    let Some((seq, mac, at, signature)) = found else { return Ok(None) };
    let head = head("audit_cut", seq, &mac)?;
    let at = u64::try_from(at).map(Timestamp::from_millis).map_err(|_| corrupt("audit_cut", "at", seq))?;
    let signature = Mac::from_bytes(&signature).ok_or_else(|| corrupt("audit_cut", "signature", seq))?;
    Ok(Some(Cut { head, at, signature }))
}

fn select_records(
    connection: &Connection,
    vault: &Vault,
    after: u64,
    limit: usize,
) -> Result<Vec<Record>, StorageError> {
    let mut select = connection
        .prepare_cached("SELECT seq, mac, data FROM audit_records WHERE seq > ?1 ORDER BY seq LIMIT ?2")
        .map_err(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = select.query(params![integer(after), limit]).map_err(sql)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let (seq, mac) = seq_and_mac(row).map_err(sql)?;
        let head = head("audit_records", seq, &mac)?;
        let sealed: Vec<u8> = row.get(2).map_err(sql)?;
        let unreadable = || corrupt("audit_records", "data", seq);
        let plain = vault.open(place(&head.seq.to_be_bytes()), &sealed).map_err(|_| unreadable())?;
        let entry = Entry::from_bytes(&plain).ok_or_else(unreadable)?;
        records.push(Record { seq: head.seq, entry, mac: head.mac });
    }
    Ok(records)
}

fn expire(
    connection: &Connection,
    chain: &ChainKey,
    before: Timestamp,
    now: Timestamp,
    limit: usize,
) -> Result<usize, StorageError> {
    // Only from the front, and only up to the first that is to stay: times need not follow each other exactly.
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let last = connection
        .prepare_cached(
            "SELECT seq, mac FROM audit_records
             WHERE seq < coalesce((SELECT min(seq) FROM audit_records WHERE at >= ?1), 9223372036854775807)
                 AND seq < (SELECT min(seq) FROM audit_records) + ?2
             ORDER BY seq DESC LIMIT 1",
        )
        .and_then(|mut select| select.query_row(params![millis(before), limit], seq_and_mac).optional())
        .map_err(sql)?;
    let Some((seq, mac)) = last else { return Ok(0) };
    let cut = head("audit_records", seq, &mac)?;
    let signature = chain.sign(Purpose::Cut, cut, now.as_millis());
    connection
        .prepare_cached(
            "INSERT INTO audit_cut (id, seq, mac, at, signature) VALUES (1, ?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET
                 seq = excluded.seq, mac = excluded.mac, at = excluded.at, signature = excluded.signature",
        )
        .and_then(|mut write| {
            write.execute(params![seq, cut.mac.as_bytes(), millis(now), signature.as_bytes()])
        })
        .map_err(sql)?;
    connection
        .prepare_cached("DELETE FROM audit_records WHERE seq <= ?1")
        .and_then(|mut delete| delete.execute([seq]))
        .map_err(sql)
}

fn seq_and_mac(row: &Row<'_>) -> Result<(i64, Vec<u8>), rusqlite::Error> {
    Ok((row.get(0)?, row.get(1)?))
}

fn head(table: &'static str, seq: i64, mac: &[u8]) -> Result<Head, StorageError> {
    let mac = Mac::from_bytes(mac).ok_or_else(|| corrupt(table, "mac", seq))?;
    Ok(Head { seq: u64::try_from(seq).map_err(|_| corrupt(table, "seq", seq))?, mac })
}

fn place(row: &[u8; 8]) -> Place<'_> {
    Place { column: "audit_records.data", row }
}

fn corrupt(table: &'static str, column: &'static str, seq: i64) -> StorageError {
    StorageError::Corrupt { table, column, row: seq.to_string() }
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn millis(at: Timestamp) -> i64 {
    integer(at.as_millis())
}

impl fmt::Debug for SqliteAudit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteAudit").finish_non_exhaustive()
    }
}

impl fmt::Debug for AuditReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditReader").finish_non_exhaustive()
    }
}
