//! What can go wrong with keys.

use std::time::Duration;

use protocol::ambient::StorageError;

/// Why keys were not stored or handed out. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A key, key id or signature is missing, or out of its range.
    #[error("a key is incomplete or out of range")]
    InvalidKey,
    /// A signature is not by the identity key.
    #[error("a signature does not verify")]
    InvalidSignature,
    /// More one-time keys of one kind than a device may leave.
    #[error("too many one-time keys")]
    TooManyKeys,
    /// A group send token together with another credential.
    #[error("credentials exclude each other")]
    ContradictoryCredentials,
    /// No credential, one that does not fit, or one that does not entitle to know whether the target exists.
    #[error("not authorised")]
    Unauthorized,
    /// There is no such account or device, or it has left no keys.
    #[error("no keys there")]
    NotFound,
    /// The caller fetches too often; the wait after which the same request would pass.
    #[error("too many fetches")]
    RateLimited(Duration),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
