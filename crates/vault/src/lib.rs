//! Sealing at rest: master key, keyring, blind indexes.
//!
//! What would tell a thief of the database something about people is sealed before it is stored: under a
//! data key, and bound to the column and row it is stored in, so that it opens nowhere else. The data keys
//! lie in a keyring beside the database, wrapped under a master key that the operator keeps elsewhere.
//! Values that must be found again are looked up by a keyed hash.

mod aead;
mod keyring;
mod master;
mod vault;

pub use keyring::{Keyring, KeyringError};
pub use master::{InvalidMasterKey, MasterKey};
pub use vault::{OpenError, Place, Vault};
