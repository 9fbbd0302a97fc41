//! What a sender may cost: asked through a trait, answered by whoever keeps the buckets.

use std::time::Duration;

use protocol::{Aci, ServiceId};

/// How many envelopes one connection may have unanswered. Lower makes a drain wait for round trips;
/// higher lets a reader that never answers hold more in memory.
pub const WINDOW: usize = 256;

/// Envelopes read from the store at once.
pub const PAGE_MESSAGES: usize = 100;

/// Envelope bytes read from the store at once; a page always holds at least one envelope.
pub const PAGE_BYTES: usize = 1024 * 1024;

/// Latest timestamp a client may put on a message: the last millisecond that a JavaScript `Date` can hold.
pub const TIMESTAMP_MAX: u64 = 8_640_000_000_000_000;

/// How long a message for connected devices only may wait to be read.
pub const EPHEMERAL_LIFETIME: Duration = Duration::from_secs(10);

/// Asks whether a sender may go on. An `Err` says how long to wait.
pub trait SendLimits: Send + Sync + 'static {
    /// One more message from that account to that recipient.
    fn message(&self, sender: Aci, recipient: Aci) -> Result<(), Duration>;
    /// One more part of a story for that recipient.
    fn story(&self, recipient: Aci) -> Result<(), Duration>;
    /// That many more bytes of content for that recipient.
    fn inbound_bytes(&self, recipient: ServiceId, bytes: usize) -> Result<(), Duration>;
}
