//! Why something was not done in a session.

use limits::RetryAfter;
use protocol::{PhoneNumber, ambient::StorageError};

use crate::verification::{InvalidSessionId, NotDelivered, SessionView};

/// Why a session was not opened.
#[derive(Debug, thiserror::Error)]
pub enum CreateSessionError {
    /// That cannot be a phone number.
    #[error("not a phone number")]
    ImpossibleNumber,
    /// It is a phone number, but not written in the international form.
    #[error("the number is not normalised")]
    NotNormalized {
        /// What came in.
        original: String,
        /// What it should have been.
        normalized: PhoneNumber,
    },
    /// Too many sessions for this number.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why an operation on a session was not carried out. Where a client is told the state of its session
/// along with that, the state is here.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The id cannot be read.
    #[error("not a session id")]
    InvalidId(InvalidSessionId),
    /// There is no such session, or it has expired.
    #[error("no such session")]
    NotFound,
    /// The captcha or the code is not even one.
    #[error("malformed input")]
    Malformed,
    /// The captcha or the challenge is wrong.
    #[error("the captcha or challenge was rejected")]
    Rejected(SessionView),
    /// The session is verified already, or something else has to happen first.
    #[error("the session is not in a state for this")]
    NotReady(SessionView),
    /// Not by this transport; another may work.
    #[error("this transport is not available")]
    TransportUnavailable(SessionView),
    /// The provider did not take the code.
    #[error("the code was not delivered")]
    NotDelivered {
        /// In whose hands the failure lies.
        reason: NotDelivered,
        /// Trying again is of no use.
        permanent: bool,
    },
    /// Too often or too early. Without a time, waiting does not help.
    #[error("rate limited")]
    RateLimited {
        /// The session.
        session: SessionView,
        /// How long to wait.
        retry_after: Option<RetryAfter>,
    },
    /// The provider that would know whether a code is right does not say.
    #[error("the code cannot be checked")]
    Unchecked,
    /// The captcha provider cannot be reached.
    #[error("captchas cannot be judged")]
    CaptchaUnavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
