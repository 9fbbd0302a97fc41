//! How sockets end: close codes and their reasons (RFC 6455 §7.4; from 4000 on, Signal's).

use messages::CloseReason;
use protocol::websocket::Violation;

/// A close code and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending(pub(super) u16, pub(super) &'static str);

pub(super) const IDLE: Ending = Ending(1000, "Timeout");
pub(super) const GOING_AWAY: Ending = Ending(1001, "Server is stopping");
const VIOLATION: Ending = Ending(1002, "Protocol error");
pub(super) const MALFORMED: Ending = Ending(1007, "Badly formatted");
const TOO_LARGE: Ending = Ending(1009, "Frame too large");
pub(super) const READ_FAILED: Ending = Ending(1011, "Failed to retrieve messages");
pub(super) const REVOKED: Ending = Ending(4401, "Reauthentication required");
const CONNECTED_ELSEWHERE: Ending = Ending(4409, "Connected elsewhere");

/// Why the loop of a socket stops: with a word to the client, with the answer to the client's own last word,
/// or because nobody is there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Close(Ending),
    Closed(Option<u16>),
    Gone,
}

impl From<CloseReason> for Ending {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::ConnectedElsewhere => CONNECTED_ELSEWHERE,
            CloseReason::CredentialsRevoked => REVOKED,
            CloseReason::ShuttingDown => GOING_AWAY,
        }
    }
}

impl From<Violation> for Ending {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::Protocol(_) => VIOLATION,
            Violation::NotUtf8 => MALFORMED,
            Violation::TooLong => TOO_LARGE,
        }
    }
}
