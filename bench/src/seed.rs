//! Accounts and messages written straight into the files of a stopped server, to make a store large that
//! would take hours to fill through the API.
//!
//! This is the one place that knows the server's tables (crates/store/src/sqlite/migrations). Columns that
//! it does not name are copied from a row that the server wrote.

use std::path::Path;

use anyhow::Context as _;
use rusqlite::{Connection, params};

const ACCOUNTS: &str = "accounts.sqlite";
const MESSAGES: &str = "messages.sqlite";
/// Rows of one transaction.
const CHUNK: u64 = 500_000;
/// Accounts among which the messages are spread, a row each in turn: as uneven as an index sees it.
const QUEUES: u64 = 100_000;
/// Bytes of a sealed envelope with a short text in it.
const ENVELOPE_LEN: u32 = 400;
/// Microseconds between two messages.
const SPACING_US: u64 = 1_000;

/// What a column of a new row gets; all others are copied.
type Column<'a> = (&'a str, &'a str);

/// No one knows these accounts: other identities, no number and no access key, for those are sealed for
/// their own row. Keys are left out: no message goes to them.
const ACCOUNT: [Column<'_>; 6] = [
    ("id", "NULL"),
    ("aci", "randomblob(16)"),
    ("pni", "randomblob(16)"),
    ("number", "NULL"),
    ("access_key", "NULL"),
    ("recovery_password", "NULL"),
];

/// Adds so many accounts of one device, after the example of the first one.
pub(crate) fn accounts(data: &Path, count: u64) -> anyhow::Result<()> {
    let mut connection = open(&data.join(ACCOUNTS))?;
    let first: i64 = connection.query_row("SELECT min(id) FROM auth_accounts", [], |row| row.get(0))?;
    let last: i64 = connection.query_row("SELECT max(id) FROM auth_accounts", [], |row| row.get(0))?;
    let accounts = copying(&connection, "auth_accounts", &ACCOUNT, "one.id = ?1, numbers")?;
    let devices = copying(
        &connection,
        "auth_devices",
        &[("account", "new.id")],
        "one.account = ?1, auth_accounts new",
    )?;
    let accounts = format!(
        "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ?2) {accounts}"
    );
    let transaction = connection.transaction()?;
    transaction.execute(&accounts, params![first, signed(count)])?;
    transaction.execute(&format!("{devices} WHERE new.id > ?2"), params![first, last])?;
    transaction.commit()?;
    close(connection)
}

/// An `INSERT` that copies the row which `source` picks as `one`, but for these columns.
fn copying(connection: &Connection, table: &str, own: &[Column<'_>], source: &str) -> anyhow::Result<String> {
    let (condition, others) = source.split_once(", ").context("source")?;
    let mut columns = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names: Vec<String> = columns.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let values = names.iter().map(|name| {
        own.iter()
            .find(|(column, _)| column == name)
            .map_or_else(|| format!("one.{name}"), |(_, value)| (*value).to_owned())
    });
    let values: Vec<String> = values.collect();
    Ok(format!(
        "INSERT INTO {table} ({}) SELECT {} FROM (SELECT * FROM {table} one WHERE {condition}) one, {others}",
        names.join(", "),
        values.join(", "),
    ))
}

/// Adds so many messages of random bytes, accepted within the last hours, for accounts that do not exist.
pub(crate) fn messages(data: &Path, count: u64) -> anyhow::Result<()> {
    let mut connection = open(&data.join(MESSAGES))?;
    connection.execute_batch("CREATE TEMP TABLE seed (i INTEGER PRIMARY KEY, aci BLOB NOT NULL)")?;
    connection.execute(
        "WITH RECURSIVE numbers(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < ?1)
         INSERT INTO temp.seed SELECT i, randomblob(16) FROM numbers",
        [signed(QUEUES)],
    )?;
    let now: i64 =
        connection
            .query_row("SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)", [], |row| row.get(0))?;
    let first = now - signed(count * SPACING_US);
    for start in (0..count).step_by(usize::try_from(CHUNK)?) {
        let end = count.min(start + CHUNK);
        let transaction = connection.transaction()?;
        transaction.execute(
            "WITH RECURSIVE numbers(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < ?2)
             INSERT INTO messages_queue (position, aci, device, envelope, size)
             SELECT ?3 + numbers.i * ?4, seed.aci, 1, randomblob(?5), ?5
             FROM numbers JOIN temp.seed ON seed.i = numbers.i % ?6",
            params![signed(start), signed(end), first, signed(SPACING_US), ENVELOPE_LEN, signed(QUEUES)],
        )?;
        transaction.commit()?;
    }
    connection.execute_batch("DROP TABLE temp.seed")?;
    close(connection)
}

/// Without a log and without waiting for the disk: a store that breaks here is thrown away.
fn open(path: &Path) -> anyhow::Result<Connection> {
    anyhow::ensure!(path.is_file(), "no store at {}", path.display());
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; PRAGMA foreign_keys = OFF;",
    )?;
    Ok(connection)
}

/// Leaves the file as the server left it, and on disk, so that nothing of it is written while measuring.
fn close(connection: Connection) -> anyhow::Result<()> {
    connection.execute_batch("PRAGMA main.journal_mode = WAL; PRAGMA main.wal_checkpoint(TRUNCATE);")?;
    let path = connection.path().context("the store has no path")?.to_owned();
    connection.close().map_err(|(_, error)| error)?;
    Ok(std::fs::File::open(path)?.sync_all()?)
}

/// Counts and times here stay far below 2^63.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
