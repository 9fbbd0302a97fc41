//! Why something about an address or a reset was not done.

use limits::RetryAfter;
use protocol::ambient::StorageError;

use crate::{
    admission::AdmissionError,
    native::{
        email::NoErrand,
        error::{PresentPasswordError, RegisterError},
        password::PasswordRefused,
    },
};

/// Why the address of an account was not changed, or not proved.
#[derive(Debug, thiserror::Error)]
pub enum EmailError {
    /// This server sends no mail.
    #[error("no mail is sent here")]
    NoMail,
    /// The present password is another.
    #[error("that is not the present password")]
    WrongPassword,
    /// The code is none, used, or over.
    #[error("the code is not good")]
    WrongCode,
    /// Somebody with that address may not register.
    #[error(transparent)]
    NotAdmitted(AdmissionError),
    /// Too often.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// Too much at once; the same again in a moment.
    #[error("too busy")]
    Busy,
    /// The account is gone.
    #[error("the account is gone")]
    Gone,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a password was not reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// This server sends no mail.
    #[error("no mail is sent here")]
    NoMail,
    /// The code is none, used, over, or void.
    #[error("the code is not good")]
    WrongCode,
    /// The new password is not taken. The code is still good.
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    /// Too often.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// Too much at once; the same again in a moment.
    #[error("too busy")]
    Busy,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

macro_rules! from_no_errand {
    ($($error:ident),*) => {$(
        impl From<NoErrand> for $error {
            fn from(error: NoErrand) -> Self {
                match error {
                    NoErrand::NoMail => Self::NoMail,
                    NoErrand::Busy => Self::Busy,
                }
            }
        }
    )*};
}

from_no_errand!(EmailError, ResetError, RegisterError);

impl From<PresentPasswordError> for EmailError {
    fn from(error: PresentPasswordError) -> Self {
        match error {
            PresentPasswordError::Wrong => Self::WrongPassword,
            PresentPasswordError::RateLimited(wait) => Self::RateLimited(wait),
            PresentPasswordError::Hashing(error) => error.into(),
        }
    }
}
