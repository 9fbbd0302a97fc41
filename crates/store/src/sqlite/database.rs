//! One SQLite file: one writer with group commit, several readers.

use std::{
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use protocol::ambient::StorageError;
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{migrations, readers::Readers, writer::Writer};

/// Reader connections per file: one for each processor, within these bounds. Reads are short and nearly always of what is
/// in memory; with more than there are processors they keep one another, and everybody else, from their turn.
const READERS: RangeInclusive<usize> = 2..=8;

/// How long a connection waits for another's lock. Only a checkpoint or a backup can hold one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages the writer keeps, in KiB: those of the indexes, which every commit changes, and of the rows that are
/// deleted soon after. With SQLite's 2 MB it read a third of them again from the operating system.
const WRITER_CACHE_KIB: i64 = 8 * 1024;

/// Pages after which the log is folded into the file, 16 MB. Commit after commit changes the same pages of the indexes:
/// with SQLite's 1000 they were written to their place four times as often.
const CHECKPOINT_PAGES: i64 = 4000;

/// Prepared statements each connection keeps; every statement of a file fits.
const STATEMENT_CACHE: usize = 128;

/// Which of the engine's files this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Accounts, devices and keys.
    Accounts,
    /// Message queues.
    Messages,
    /// The audit log.
    Audit,
}

/// Why a file was not opened. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no store where one was expected.
    #[error("there is no store here")]
    Missing,
    /// The file holds something else.
    #[error("the file is not a store of this program")]
    Foreign,
    /// A later release has changed the file.
    #[error("the store was written by a newer release; run that one")]
    Newer,
    /// The server of this release has not used the file yet.
    #[error("the store was written by an older release; start the server of this one first")]
    Older,
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date: {0}")]
    Migration(String),
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The writer thread could not be started.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// One SQLite file in WAL mode with full synchronisation.
pub struct Database {
    writer: Writer,
    readers: Readers,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the file and brings its schema up to date. With `create`, a missing file is made; without, it
    /// is [`OpenError::Missing`], so that a wrong path never starts an empty server.
    pub fn open(path: &Path, schema: Schema, create: bool) -> Result<Self, OpenError> {
        if !create && !path.exists() {
            return Err(OpenError::Missing);
        }
        let mut connection = connect(path, true)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        migrations::migrate(&mut connection, schema)?;
        let readers = Readers::open(path, readers(), |path| connect(path, false))?;
        Ok(Self { writer: Writer::start(connection, thread_name(path))?, readers })
    }

    /// Opens a file that a server may be using, to write to it too: as a command does. It is neither made nor brought up
    /// to date, and must have the schema of this release.
    pub fn open_beside(path: &Path, schema: Schema) -> Result<Self, OpenError> {
        drop(open_to_read(path, schema)?);
        Self::open(path, schema, false)
    }

    /// Runs the closure in a savepoint of a group-committed transaction, on the writer thread.
    ///
    /// Resolves `Ok` only when the commit is durable. An `Err` undoes what this closure did and nothing
    /// else. Once submitted it runs to its end even if the caller goes away.
    pub async fn write<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    {
        self.writer.submit(work).await
    }

    /// Runs the closure on a reader connection, off the async threads.
    pub async fn read<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    {
        self.readers.read(work).await
    }

    /// Waits until everything submitted has been committed, then stops the writer.
    pub async fn close(&self) {
        self.writer.close().await;
    }
}

/// Why a file was not read that a server may be using.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It was not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It was, and could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Opens a file that a server may be using, to read it and nothing else: it is neither made nor brought up to
/// date.
pub(super) fn open_to_read(path: &Path, schema: Schema) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing);
    }
    let mut connection = connect(path, false)?;
    migrations::check(&mut connection, schema)?;
    Ok(connection)
}

fn connect(path: &Path, writable: bool) -> Result<Connection, rusqlite::Error> {
    let access = if writable {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // Otherwise a statement is compiled anew whenever a value is bound that its plan might depend on, a `LIMIT` for one.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

fn readers() -> usize {
    thread::available_parallelism()
        .map_or(*READERS.start(), |n| n.get().clamp(*READERS.start(), *READERS.end()))
}

fn thread_name(path: &Path) -> String {
    let stem = path.file_stem().map_or_else(|| PathBuf::from("store"), PathBuf::from);
    format!("{}-writer", stem.display())
}

/// The commit itself failed: nothing of the group was kept.
pub(super) fn commit_failed(error: &rusqlite::Error) -> StorageError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StorageError::Full,
        _ => StorageError::unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::Arc,
        task::{Context, Poll, Waker},
    };

    use rusqlite::StatementStatus;

    use super::{super::sql, *};

    fn count(connection: &Connection) -> Result<u32, StorageError> {
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).map_err(sql)
    }

    async fn database(directory: &tempfile::TempDir) -> Database {
        let database = Database::open(&directory.path().join("m.sqlite"), Schema::Messages, true).unwrap();
        database
            .write(|c| c.execute_batch("CREATE TABLE t(x INTEGER PRIMARY KEY)").map_err(sql))
            .await
            .unwrap();
        database
    }

    #[tokio::test]
    async fn a_failing_write_undoes_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let database = Arc::new(database(&directory).await);
        let writes = (0..50).map(|i| {
            let database = Arc::clone(&database);
            tokio::spawn(async move {
                database
                    .write(move |c| {
                        c.execute("INSERT INTO t VALUES (?1)", [i]).map_err(sql)?;
                        if i % 2 == 0 { Ok(()) } else { Err(StorageError::unavailable("on purpose")) }
                    })
                    .await
            })
        });
        for (i, write) in writes.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(write.await.unwrap().is_ok(), i % 2 == 0);
        }
        assert_eq!(database.read(count).await.unwrap(), 25);
    }

    #[tokio::test]
    async fn a_panicking_write_fails_alone_and_the_writer_lives_on() {
        let directory = tempfile::tempdir().unwrap();
        let database = database(&directory).await;
        let panicked: Result<(), _> = database.write(|_| panic!("on purpose")).await;
        assert!(panicked.is_err());
        database.write(|c| c.execute("INSERT INTO t VALUES (1)", []).map_err(sql)).await.unwrap();
        assert_eq!(database.read(count).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn panicking_reads_cost_no_reader() {
        let directory = tempfile::tempdir().unwrap();
        let database = database(&directory).await;
        for _ in 0..=readers() {
            let panicked: Result<(), _> = database.read(|_| panic!("on purpose")).await;
            assert!(panicked.is_err());
        }
        assert_eq!(database.read(count).await.unwrap(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn every_read_of_a_crowd_is_answered() {
        let directory = tempfile::tempdir().unwrap();
        let database = Arc::new(database(&directory).await);
        let reads = (0..5_000_u32).map(|i| {
            let database = Arc::clone(&database);
            tokio::spawn(async move {
                // Now and then the line is empty, and a reader leaves while another read joins.
                if i % 50 == 0 {
                    tokio::time::sleep(Duration::from_micros(u64::from(i))).await;
                }
                match i % 3 {
                    0 => database.read(|_| panic!("on purpose")).await,
                    1 => database.read(|_| Err(StorageError::unavailable("on purpose"))).await,
                    _ => database.read(move |c| count(c).map(|count| count + i)).await,
                }
            })
        });
        for (i, read) in (0..).zip(reads.collect::<Vec<_>>()) {
            let read = tokio::time::timeout(Duration::from_secs(30), read).await.unwrap().unwrap();
            assert_eq!(read.ok(), (i % 3 == 2).then_some(i));
        }
    }

    #[test]
    fn a_runtime_that_ends_leaves_no_reader_behind() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let database = first.block_on(database(&directory));
        let handle = first.handle().clone();
        first.shutdown_background();
        // Work for a runtime that has ended is dropped before it has begun.
        let entered = handle.enter();
        let in_vain = pin!(database.read(count)).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(in_vain, Poll::Ready(Err(_))), "{in_vain:?}");
        drop(entered);
        for _ in 0..=readers() {
            assert_eq!(runtime().block_on(database.read(count)).unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn a_bound_limit_does_not_have_a_statement_compiled_anew() {
        let directory = tempfile::tempdir().unwrap();
        let compiled_anew = |connection: &Connection| {
            let mut select = connection.prepare_cached("SELECT x FROM t ORDER BY x LIMIT ?1").map_err(sql)?;
            for limit in [1, 2, 3] {
                let mut rows = select.query([limit]).map_err(sql)?;
                while rows.next().map_err(sql)?.is_some() {}
            }
            Ok(select.get_status(StatementStatus::RePrepare))
        };
        assert_eq!(database(&directory).await.read(compiled_anew).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn stores_that_are_not_ours_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sqlite");
        assert!(matches!(Database::open(&path, Schema::Messages, false), Err(OpenError::Missing)));

        Connection::open(&path).unwrap().execute_batch("CREATE TABLE other(x)").unwrap();
        assert!(matches!(Database::open(&path, Schema::Messages, true), Err(OpenError::Foreign)));

        let path = directory.path().join("messages.sqlite");
        Database::open(&path, Schema::Messages, true).unwrap().close().await;
        assert!(matches!(Database::open(&path, Schema::Accounts, false), Err(OpenError::Foreign)));
        assert!(matches!(open_to_read(&path, Schema::Accounts), Err(OpenError::Foreign)));
        open_to_read(&path, Schema::Messages).unwrap();
        Connection::open(&path)
            .unwrap()
            .execute_batch(
                "INSERT INTO refinery_schema_history SELECT 999, 'future', applied_on, checksum
                 FROM refinery_schema_history WHERE version = 1",
            )
            .unwrap();
        assert!(matches!(Database::open(&path, Schema::Messages, false), Err(OpenError::Newer)));
        assert!(matches!(open_to_read(&path, Schema::Messages), Err(OpenError::Newer)));
    }
}
