//! What people show of themselves.
//!
//! A profile comes to be with its account, in the transaction that registers it, and goes with it.

use std::fmt;

use async_trait::async_trait;
use protocol::{Aci, ambient::StorageError};

/// The profile of an account.
#[derive(Clone, PartialEq, Eq)]
pub struct Profile {
    /// Whose it is.
    pub aci: Aci,
    /// The name by which the account was registered.
    pub username: String,
}

/// Remembers profiles.
#[async_trait]
pub trait ProfileStore: Send + Sync + 'static {
    /// The profile of that account; none if there is no such account, or it was registered without a name.
    async fn profile(&self, aci: Aci) -> Result<Option<Profile>, StorageError>;
}

// Who is called what must not reach a log.
impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").finish_non_exhaustive()
    }
}
