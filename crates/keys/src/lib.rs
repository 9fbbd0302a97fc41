//! Pre-key distribution: the public keys by which a session starts with somebody who is away.
//!
//! Each device keeps with the server, for each of its account's identities, one signed Curve25519 key and
//! one last-resort Kyber key for repeated use, and up to 100 one-time keys of either kind. A fetch hands out
//! one one-time key of each kind, and each of them only once.

mod error;
mod fetch;
mod ports;
mod service;
mod upload;

pub use error::KeyError;
pub use fetch::{DeviceBundle, DeviceSelector, KeyBundles, Requester};
pub use ports::{
    DeviceKeys, KeyChanges, KeyCounts, KeyFetchLimit, KeyOwners, KeySlot, KeyStore, Owner, OwnerDevice,
    RepeatedUseKey,
};
pub use service::{KeyOwner, KeyService};
pub use upload::{KeyUpload, KeyUploadBody, MAX_ONE_TIME_KEYS};
