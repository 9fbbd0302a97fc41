//! An envelope as it lies in a queue: bytes of its own, and perhaps an end that many envelopes share.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};

use crate::store::Position;

/// A serialized envelope: `head`, then the bytes of `shared`.
///
/// A protobuf message may have its fields in any order. The content comes last in an envelope of a
/// multi-recipient message, so that what all recipients get alike is an end that can be cut off, kept once,
/// and put back by writing one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedEnvelope {
    /// The bytes of this envelope alone.
    pub head: Bytes,
    /// What follows them.
    pub shared: Option<SharedBody>,
}

impl QueuedEnvelope {
    /// Length of the whole envelope.
    pub fn len(&self) -> usize {
        self.head.len() + self.shared.as_ref().map_or(0, |shared| shared.bytes.len())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole envelope in one piece; a copy if it has a shared end.
    pub fn to_bytes(&self) -> Bytes {
        let Some(shared) = &self.shared else { return self.head.clone() };
        let mut whole = BytesMut::with_capacity(self.len());
        whole.extend_from_slice(&self.head);
        whole.extend_from_slice(&shared.bytes);
        whole.freeze()
    }
}

impl From<Bytes> for QueuedEnvelope {
    fn from(head: Bytes) -> Self {
        Self { head, shared: None }
    }
}

/// The end that many envelopes share, kept once. Cheap to clone.
#[derive(Clone)]
pub struct SharedBody {
    /// Names it, like a position that no envelope has.
    pub id: Position,
    /// The bytes.
    pub bytes: Bytes,
    /// What it counts among the bytes that are not stored yet, for as long as anybody holds it.
    _reserved: Option<Arc<Reservation>>,
}

impl SharedBody {
    /// One that was read back, and hence takes no room that is not the store's.
    pub fn stored(id: Position, bytes: Bytes) -> Self {
        Self { id, bytes, _reserved: None }
    }

    pub(crate) fn reserved(id: Position, bytes: Bytes, reservation: Reservation) -> Self {
        Self { id, bytes, _reserved: Some(Arc::new(reservation)) }
    }
}

impl PartialEq for SharedBody {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.bytes == other.bytes
    }
}

impl Eq for SharedBody {}

impl fmt::Debug for SharedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBody")
            .field("id", &self.id)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Room taken among the bytes that are not stored yet; dropping it gives the room back.
#[derive(Debug)]
pub(crate) struct Reservation {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Reservation {
    /// Takes that much room, if there is so much below the limit.
    pub(crate) fn take(total: &Arc<AtomicUsize>, bytes: usize, limit: usize) -> Option<Self> {
        let before = total.fetch_add(bytes, Ordering::Relaxed);
        let reservation = Self { total: Arc::clone(total), bytes };
        (before.saturating_add(bytes) <= limit).then_some(reservation)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
