//! The one thread that writes to a file, and how it commits in groups.
//!
//! One fsync costs milliseconds on a busy machine and pays for everything committed with it. The writer
//! takes whatever has arrived while the last commit was under way, runs each piece of work in a savepoint
//! of one transaction, commits, and only then answers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use parking_lot::Mutex;
use protocol::ambient::StorageError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::database::commit_failed;

/// Work that may wait for the writer. Callers beyond it wait for room.
const QUEUE_MAX: usize = 4096;

/// Work committed together at most: bounds how long the first of a group waits for the last.
const GROUP_MAX: usize = 512;

/// A piece of work on the writer thread.
trait Job: Send {
    /// Does the work inside a savepoint; an error asks for the savepoint to be undone.
    fn run(&mut self, connection: &Connection) -> Result<(), ()>;
    /// Answers the caller, after the commit.
    fn finish(self: Box<Self>, commit: Result<(), StorageError>);
}

/// Handle to the writer thread.
pub(super) struct Writer {
    jobs: mpsc::Sender<Command>,
    thread: Arc<Mutex<Option<thread::JoinHandle<()>>>>,
}

enum Command {
    Work(Box<dyn Job>),
    Stop,
}

impl Writer {
    pub(super) fn start(connection: Connection, name: String) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let thread = thread::Builder::new().name(name).spawn(move || run(&connection, queue))?;
        Ok(Self { jobs, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    pub(super) async fn submit<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Call { work: Some(work), outcome: None, reply });
        self.jobs.send(Command::Work(job)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    pub(super) async fn close(&self) {
        // A writer that has stopped already has nothing left to commit.
        let _ = self.jobs.send(Command::Stop).await;
        let thread = Arc::clone(&self.thread);
        let joined = tokio::task::spawn_blocking(move || thread.lock().take().map(thread::JoinHandle::join));
        if !matches!(joined.await, Ok(None | Some(Ok(())))) {
            tracing::error!("a store's writer thread ended in a panic");
        }
    }
}

fn stopped() -> StorageError {
    StorageError::unavailable("the store has been closed")
}

/// Work and where its answer goes.
struct Call<T, F> {
    work: Option<F>,
    outcome: Option<Result<T, StorageError>>,
    reply: oneshot::Sender<Result<T, StorageError>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, StorageError> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), ()> {
        let outcome = match self.work.take() {
            // A bug in one piece of work must not take the store down with it.
            Some(work) => catch_unwind(AssertUnwindSafe(|| work(connection)))
                .unwrap_or_else(|_| Err(StorageError::unavailable("the work panicked"))),
            None => Err(StorageError::unavailable("the work was done already")),
        };
        let done = outcome.as_ref().map(drop).map_err(drop);
        self.outcome = Some(outcome);
        done
    }

    fn finish(self: Box<Self>, commit: Result<(), StorageError>) {
        let answer = match (commit, self.outcome) {
            (_, Some(Err(error))) | (Err(error), _) => Err(error),
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(StorageError::unavailable("the work was not done")),
        };
        // A caller that went away does not need its answer.
        let _ = self.reply.send(answer);
    }
}

fn run(connection: &Connection, mut queue: mpsc::Receiver<Command>) {
    let mut group: Vec<Box<dyn Job>> = Vec::new();
    let mut stop = false;
    while !stop {
        match queue.blocking_recv() {
            Some(Command::Work(job)) => group.push(job),
            Some(Command::Stop) | None => stop = true,
        }
        while group.len() < GROUP_MAX {
            match queue.try_recv() {
                Ok(Command::Work(job)) => group.push(job),
                Ok(Command::Stop) => stop = true,
                Err(_) => break,
            }
        }
        commit(connection, &mut group);
    }
    // Leaves one tidy file behind; a failure here costs nothing but the next start's recovery.
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(%error, "the write-ahead log could not be folded in");
    }
}

fn commit(connection: &Connection, group: &mut Vec<Box<dyn Job>>) {
    if group.is_empty() {
        return;
    }
    let outcome = transaction(connection, group);
    if outcome.is_err() && !connection.is_autocommit() {
        // The answer is an error either way; what matters is that the next group starts clean.
        let _ = connection.execute_batch("ROLLBACK");
    }
    for job in group.drain(..) {
        job.finish(outcome.as_ref().copied().map_err(commit_failed));
    }
}

fn transaction(connection: &Connection, group: &mut [Box<dyn Job>]) -> Result<(), rusqlite::Error> {
    execute(connection, "BEGIN IMMEDIATE")?;
    // One that is alone needs no savepoint, which costs a copy of every page it changes: to undo it is to
    // undo everything. The queue's commits, large and one at a time, always are.
    if let [job] = group {
        let finish = if job.run(connection).is_ok() { "COMMIT" } else { "ROLLBACK" };
        return execute(connection, finish);
    }
    for job in group {
        execute(connection, "SAVEPOINT job")?;
        if job.run(connection).is_err() {
            // After an error such as a full disk SQLite may have ended the whole transaction itself;
            // then this fails and the whole group is told.
            execute(connection, "ROLLBACK TO job")?;
        }
        execute(connection, "RELEASE job")?;
    }
    execute(connection, "COMMIT")
}

fn execute(connection: &Connection, statement: &'static str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}
