//! Message delivery: who must get a message, the queue it waits in, waking the reader, acknowledgement.
//!
//! A sender's `Ok` is a promise: every copy of the message is durable, or the device it was for has
//! acknowledged it. [`queue`] keeps that promise cheaply; [`session`] is what one connected device sees.

pub mod limits;
pub mod queue;
pub mod receipt;
pub mod recipients;
pub mod send;
pub mod session;
pub mod store;

pub use limits::SendLimits;
pub use queue::{CloseReason, MessageQueue, QueueConfig, QueueError, Subscription};
pub use recipients::{Recipients, Roster, RosterDevice};
pub use send::{DeviceMismatch, IndividualMessage, MessageService, OutgoingMessage, SendError, Sender, Sent};
pub use session::{DeliverySession, Outbound};
pub use store::{Append, Batch, Page, Position, QueueStore, StoredEnvelope};
