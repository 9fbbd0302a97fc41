//! Message delivery: who must get a message, the queue it waits in, waking the reader, acknowledgement.
//!
//! A sender's `Ok` is a promise: every copy of the message is durable, or the device it was for has
//! acknowledged it. [`queue`] keeps that promise cheaply; [`session`] is what one connected device sees.

pub mod fetch;
pub mod gate;
pub mod limits;
pub mod metrics;
pub mod queue;
pub mod queued;
pub mod receipt;
pub mod recipients;
pub mod report;
pub mod send;
pub mod session;
pub mod store;
pub mod wake;

pub use fetch::FetchError;
pub use gate::{ChallengeOption, ChallengeRequired, SendGate};
pub use limits::SendLimits;
pub use metrics::MessageMetrics;
pub use queue::{CloseReason, MessageQueue, QueueConfig, QueueError, QueueParts, Subscription, Watch};
pub use queued::{QueuedEnvelope, SharedBody};
pub use recipients::{Recipients, Roster, RosterDevice};
pub use report::{ReportService, ReportTokens};
pub use send::{
    DeviceMismatch, IndividualMessage, MessageParts, MessageService, MultiRecipientCredential,
    NumberChangeMessage, OutgoingMessage, SendError, SendManyError, SendOptions, Sender, Sent, SentAlike,
};
pub use session::{DeliverySession, Outbound};
pub use store::{Append, Batch, Page, Position, QueueStore, StoredEnvelope, Volume};
pub use wake::{Urgency, WakeUpConfig, WakeUps, Waker, Woken};
