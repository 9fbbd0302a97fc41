//! What is written down of who came in, who did not, and what changed about an account.
//!
//! A service builds an [`AuditEvent`] and hands it to the [`AuditTrail`]; where the trail keeps it, and how that is
//! shown to be whole, is not its business. What an event says is typed: parties, actions, outcomes and details with
//! fixed names. There is no place in it for free text, so that no secret and no content can get there, and the trail
//! replaces numbers and names by blind indexes before anything is written.
//!
//! # When an event cannot be written
//!
//! - **Before a change**, a service asks [`AuditTrail::ready`]. While the trail is known to fail, the change is refused
//!   as it is when the store fails: nobody changes who may come in without a trace of it.
//! - **After it**, [`AuditTrail::record`] returns when the event is on disk. If writing fails just then, the answer is what
//!   it would have been, for the change has been made and cannot be taken back; the log says so, and `ready` refuses
//!   the next one until the trail can be written again. A crash between the change and its event loses the event.
//! - **Failures and sign-ins** wait for nothing. A stranger who guesses is answered at once, whatever state the trail is
//!   in, and cannot fill the disk: equal events are counted together, and there is a bound on all of them.

mod event;
mod origin;

use async_trait::async_trait;
use protocol::{DeviceAddress, ambient::StorageError};

pub use event::{Action, AuditEvent, Detail, Outcome, Party};
pub use origin::{from_peer, peer};

/// Takes events.
#[async_trait]
pub trait AuditTrail: Send + Sync + 'static {
    /// Whether a change may go ahead: an error while events cannot be written. For asking before the first thing that
    /// a change does.
    fn ready(&self) -> Result<(), StorageError>;

    /// Notes that a device showed its password. This happens with every request and with every socket, and waits for
    /// nothing: the first of a device on a day is written down, and one from another network than the one before.
    fn signed_in(&self, device: DeviceAddress, first_today: bool);

    /// Writes an event down. One of a change that was made is on disk when this returns, or the log says why not; any
    /// other is noted without waiting. Nothing that a caller has to do follows from either.
    async fn record(&self, event: AuditEvent);
}

/// Keeps nothing: for services in tests that are about something else.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAuditTrail;

#[async_trait]
impl AuditTrail for NoAuditTrail {
    fn ready(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn signed_in(&self, _: DeviceAddress, _: bool) {}

    async fn record(&self, _: AuditEvent) {}
}
