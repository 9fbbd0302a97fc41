//! Why something was not done for a native client.

use limits::RetryAfter;
use protocol::ambient::StorageError;

use crate::admission::AdmissionError;

use super::{
    email::{EmailError, ResetError},
    factors::{ReauthenticateError, SecondStep},
    hashing::HashingError,
    password::PasswordRefused,
};

/// Why nobody was registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// That is not a username.
    #[error("that is not a username")]
    InvalidUsername,
    /// The password is not taken.
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    /// Somebody else has that name.
    #[error("the username is taken")]
    UsernameTaken,
    /// Who registers is not let in.
    #[error(transparent)]
    NotAdmitted(#[from] AdmissionError),
    /// The code for the e-mail address is none, used, or over.
    #[error("the code is not good")]
    WrongCode,
    /// An address is to be confirmed, and this server sends no mail.
    #[error("no mail is sent here")]
    NoMail,
    /// A pre-key is not signed by its identity key.
    #[error("a signature is wrong")]
    WrongSignature,
    /// Too many.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// Too much at once; the same again in a moment.
    #[error("too busy")]
    Busy,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The name or the password is wrong. Which one is not said.
    #[error("wrong name or password")]
    Refused,
    /// The password is right, and the account asks for a second factor.
    #[error("a second factor is missing")]
    SecondFactorRequired(Box<SecondStep>),
    /// The account has as many devices as it may, and this one is new.
    #[error("the account has too many devices")]
    TooManyDevices,
    /// Too many attempts.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// Too much at once; the same again in a moment.
    #[error("too busy")]
    Busy,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a refresh token was not traded in.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// It is none, it is over, or it has been traded in before, which has ended its session.
    #[error("the refresh token is not good")]
    Refused,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a bearer was not let in.
#[derive(Debug, thiserror::Error)]
pub enum BearerError {
    /// The token is none of ours, its time is over or has not come, or its session has ended.
    #[error("the access token is not good")]
    Refused,
    /// Nothing can be said about it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why somebody who is logged in did not pass for knowing the present password.
#[derive(Debug, thiserror::Error)]
pub(super) enum PresentPasswordError {
    /// It is another.
    #[error("that is not the present password")]
    Wrong,
    /// Too many attempts.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// It was not looked at.
    #[error(transparent)]
    Hashing(#[from] HashingError),
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangePasswordError {
    /// The present password is another.
    #[error("that is not the present password")]
    WrongPassword,
    /// The new password is not taken.
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    /// Too many attempts.
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

/// Why keys were not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A key is not signed by the identity key.
    #[error("a signature is wrong")]
    WrongSignature,
    /// The account has another identity key.
    #[error("the account has another identity key")]
    OtherIdentity,
    /// Only the primary device gives the account another identity key.
    #[error("only the primary device may replace the identity key")]
    NotPrimary,
    /// The device is gone.
    #[error("the device is gone")]
    Gone,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<PresentPasswordError> for ChangePasswordError {
    fn from(error: PresentPasswordError) -> Self {
        match error {
            PresentPasswordError::Wrong => Self::WrongPassword,
            PresentPasswordError::RateLimited(wait) => Self::RateLimited(wait),
            PresentPasswordError::Hashing(error) => error.into(),
        }
    }
}

/// Why no link code was made, or nobody waits for one.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// The session that asks has ended.
    #[error("the session has ended")]
    Gone,
    /// Too many.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a device was not let in.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The code is none, is over, or has been used.
    #[error("the code is not valid")]
    WrongCode,
    /// The account has as many devices as it may, and this one is new.
    #[error("the account has too many devices")]
    TooManyDevices,
    /// A pre-key is not signed by its identity key.
    #[error("a signature is wrong")]
    WrongSignature,
    /// The account has another identity key.
    #[error("the account has another identity key")]
    OtherIdentity,
    /// Too many attempts.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

macro_rules! from_hashing {
    ($($error:ident),*) => {$(
        impl From<HashingError> for $error {
            fn from(error: HashingError) -> Self {
                match error {
                    HashingError::Overloaded => Self::Busy,
                    HashingError::Failed(cause) => Self::Storage(cause),
                }
            }
        }
    )*};
}

from_hashing!(RegisterError, LoginError, ChangePasswordError, ReauthenticateError, EmailError, ResetError);
