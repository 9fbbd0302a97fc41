//! Those who read a file, and how reads follow one another.
//!
//! As many read at once as there are readers; what comes meanwhile waits in a line, and whoever has read takes the next
//! from it. So under load no thread sleeps between two reads, and none is woken for each.

use std::{
    collections::VecDeque,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;
use protocol::ambient::StorageError;
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

/// Reads that may wait in the line. Callers beyond it wait for room.
const LINE_MAX: usize = 1024;

/// A read, to be done on a connection or refused for want of one.
type Read = Box<dyn FnOnce(Result<&Connection, rusqlite::Error>) + Send>;

/// The readers of one file.
pub(super) struct Readers {
    room: Arc<Semaphore>,
    line: Arc<Line>,
}

struct Line {
    /// Opens a connection.
    connect: Box<dyn Fn() -> Result<Connection, rusqlite::Error> + Send + Sync>,
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Read>,
    /// The first is opened with the file; more when as many reads come together: each keeps some 200 KB of pages and
    /// schema.
    idle: Vec<Connection>,
    reading: usize,
}

impl Readers {
    /// Up to `most` readers, each with a connection of its own. The first is opened at once.
    pub(super) fn open<C>(path: &Path, most: usize, connect: C) -> Result<Self, rusqlite::Error>
    where
        C: Fn(&Path) -> Result<Connection, rusqlite::Error> + Send + Sync + 'static,
    {
        let path = path.to_owned();
        let connect = Box::new(move || connect(&path));
        let state = Mutex::new(State { idle: vec![connect()?], ..State::default() });
        let line = Arc::new(Line { connect, most, state });
        Ok(Self { room: Arc::new(Semaphore::new(LINE_MAX)), line })
    }

    /// Runs the closure on a connection, off the async threads. Once in the line it runs to its end even if the caller
    /// goes away.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(StorageError::unavailable)?;
        let (reply, answer) = oneshot::channel();
        self.line.join(Box::new(move |connection| {
            // A bug in one read must not cost the file a reader.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                connection.map_err(StorageError::unavailable).and_then(work)
            }));
            drop(room);
            // A caller that went away does not need its answer.
            let _ =
                reply.send(outcome.unwrap_or_else(|_| Err(StorageError::unavailable("the read panicked"))));
        }));
        answer.await.map_err(StorageError::unavailable)?
    }
}

impl Line {
    fn join(self: &Arc<Self>, read: Read) {
        let mut state = self.state.lock();
        state.waiting.push_back(read);
        if state.reading < self.most {
            state.reading += 1;
            drop(state);
            let reader = Reader { line: Arc::clone(self), connection: None, has_left: false };
            tokio::task::spawn_blocking(move || reader.run());
        }
    }
}

/// One that reads until nobody waits.
struct Reader {
    line: Arc<Line>,
    connection: Option<Connection>,
    has_left: bool,
}

impl Reader {
    fn run(mut self) {
        while let Some(read) = self.next() {
            if let Some(connection) = &self.connection {
                read(Ok(connection));
                continue;
            }
            match (self.line.connect)() {
                Ok(connection) => read(Ok(self.connection.insert(connection))),
                Err(error) => read(Err(error)),
            }
        }
    }

    /// The next of the line, and a connection if one is idle. Who finds the line empty leaves in the same breath: a read
    /// that joins after that starts another reader.
    fn next(&mut self) -> Option<Read> {
        let mut state = self.line.state.lock();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.reading -= 1;
            state.idle.extend(self.connection.take());
            self.has_left = true;
        } else if self.connection.is_none() {
            self.connection = state.idle.pop();
        }
        next
    }
}

impl Drop for Reader {
    /// A runtime that is shutting down drops a reader before it has begun. Nobody waits for one in vain then.
    fn drop(&mut self) {
        if self.has_left {
            return;
        }
        let mut state = self.line.state.lock();
        state.reading -= 1;
        let in_vain = if state.reading == 0 { mem::take(&mut state.waiting) } else { VecDeque::new() };
        drop(state);
        drop(in_vain);
    }
}
