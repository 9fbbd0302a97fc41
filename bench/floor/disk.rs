//! The queue on disk: one SQLite writer thread that commits whatever has arrived, and readers by pages.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Context as _;
use floor_frame::Frame;
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, params};

use crate::mailbox::Mailbox;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS queue (
        position INTEGER PRIMARY KEY,
        recipient INTEGER NOT NULL,
        payload BLOB NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS queue_by_recipient ON queue (recipient);
";
/// Messages read at once.
const PAGE: i64 = 100;
/// Jobs that may wait for the writer. The load is a closed loop, or far below what the writer does.
const JOBS_MAX: usize = 1 << 20;

/// The queue of all clients.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    jobs: Arc<Jobs>,
    next: AtomicU64,
    readers: Mutex<Vec<Connection>>,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: Mutex<Vec<Job>>,
    arrived: Condvar,
}

#[derive(Debug)]
enum Job {
    Insert { position: u64, recipient: u32, payload: Vec<u8>, sender: Arc<Mailbox>, number: u64 },
    Delete { position: u64 },
}

/// Messages in the order they were stored, by position.
pub(crate) type Page = Vec<(u64, Vec<u8>)>;

impl Disk {
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("floor.sqlite");
        let connection = Connection::open(&path)?;
        connection.execute_batch(SCHEMA)?;
        let last: Option<i64> =
            connection.query_row("SELECT max(position) FROM queue", [], |row| row.get(0))?;
        let next = AtomicU64::new(last.unwrap_or(0).unsigned_abs() + 1);
        let jobs = Arc::new(Jobs::default());
        let queue = Arc::clone(&jobs);
        thread::Builder::new().name("floor-writer".to_owned()).spawn(move || write(&connection, &queue))?;
        Ok(Self { path, jobs, next, readers: Mutex::default() })
    }

    /// Stores a message and gives it its position. The sender is answered when it is committed.
    pub(crate) fn insert(&self, recipient: u32, payload: &[u8], sender: &Arc<Mailbox>, number: u64) -> u64 {
        let position = self.next.fetch_add(1, Ordering::Relaxed);
        let (payload, sender) = (payload.to_vec(), Arc::clone(sender));
        self.submit(Job::Insert { position, recipient, payload, sender, number });
        position
    }

    pub(crate) fn delete(&self, position: u64) {
        self.submit(Job::Delete { position });
    }

    fn submit(&self, job: Job) {
        let first = {
            let mut waiting = self.jobs.waiting.lock();
            if waiting.len() >= JOBS_MAX {
                return;
            }
            waiting.push(job);
            waiting.len() == 1
        };
        if first {
            self.jobs.arrived.notify_one();
        }
    }

    /// Reads the client's next messages. Blocks.
    pub(crate) fn read(&self, recipient: u32, after: u64) -> anyhow::Result<Page> {
        let idle = self.readers.lock().pop();
        let connection = idle.map_or_else(|| Connection::open(&self.path), Ok)?;
        let page = read_page(&connection, recipient, after)?;
        self.readers.lock().push(connection);
        Ok(page)
    }
}

fn read_page(connection: &Connection, recipient: u32, after: u64) -> rusqlite::Result<Page> {
    connection
        .prepare_cached(
            "SELECT position, payload FROM queue WHERE recipient = ?1 AND position > ?2
             ORDER BY position LIMIT ?3",
        )?
        .query_map(params![recipient, signed(after), PAGE], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
        })?
        .collect()
}

fn write(connection: &Connection, jobs: &Jobs) {
    let mut batch = Vec::new();
    loop {
        {
            let mut waiting = jobs.waiting.lock();
            while waiting.is_empty() {
                jobs.arrived.wait(&mut waiting);
            }
            std::mem::swap(&mut *waiting, &mut batch);
        }
        let committed = commit(connection, &batch).context("the floor cannot write");
        for job in batch.drain(..) {
            // Whoever hears nothing has no promise: the generator ends with an error.
            if let (Job::Insert { sender, number, .. }, Ok(())) = (job, &committed) {
                sender.push(&Frame::Answer { number });
            }
        }
    }
}

fn commit(connection: &Connection, batch: &[Job]) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    {
        let mut insert = connection.prepare_cached("INSERT INTO queue VALUES (?1, ?2, ?3)")?;
        let mut delete = connection.prepare_cached("DELETE FROM queue WHERE position = ?1")?;
        for job in batch {
            match job {
                Job::Insert { position, recipient, payload, .. } => {
                    insert.execute(params![signed(*position), recipient, payload])?;
                }
                Job::Delete { position } => {
                    delete.execute([signed(*position)])?;
                }
            }
        }
    }
    transaction.commit()
}

/// Positions count from 1 and never come near 2^63.
fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
