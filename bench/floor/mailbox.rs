//! What is to be written to a connection, and who is connected.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Waker},
};

use floor_frame::Frame;
use parking_lot::{Mutex, RwLock};

/// Bytes that may wait for one connection: more than any load of the generator's. Beyond it the connection
/// is broken off.
const WAITING_MAX: usize = 64 * 1024 * 1024;

/// Frames on their way to one connection. Whoever has one appends it and wakes the connection's task.
#[derive(Debug, Default)]
pub(crate) struct Mailbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    waker: Option<Waker>,
}

/// Too much waits for a connection that takes nothing.
#[derive(Debug)]
pub(crate) struct Overfull;

impl Mailbox {
    pub(crate) fn push(&self, frame: &Frame<'_>) {
        let waker = {
            let mut waiting = self.0.lock();
            if waiting.bytes.len() < WAITING_MAX {
                frame.put(&mut waiting.bytes);
            }
            waiting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Exchanges the empty buffer for what waits. If nothing does, the task is woken when something comes.
    pub(crate) fn swap(&self, empty: &mut Vec<u8>, cx: &Context<'_>) -> Result<(), Overfull> {
        let mut waiting = self.0.lock();
        std::mem::swap(&mut waiting.bytes, empty);
        if empty.is_empty() {
            waiting.waker = Some(cx.waker().clone());
        }
        if empty.len() < WAITING_MAX { Ok(()) } else { Err(Overfull) }
    }
}

/// The connected clients.
#[derive(Debug, Default)]
pub(crate) struct Registry(RwLock<HashMap<u32, Arc<Mailbox>>>);

impl Registry {
    pub(crate) fn connected(&self, client: u32, mailbox: &Arc<Mailbox>) {
        self.0.write().insert(client, Arc::clone(mailbox));
    }

    pub(crate) fn gone(&self, client: u32, mailbox: &Arc<Mailbox>) {
        let mut clients = self.0.write();
        if clients.get(&client).is_some_and(|current| Arc::ptr_eq(current, mailbox)) {
            clients.remove(&client);
        }
    }

    pub(crate) fn find(&self, client: u32) -> Option<Arc<Mailbox>> {
        self.0.read().get(&client).cloned()
    }
}
