//! Signal's formats: ids, keys, envelopes, websocket frames, XEdDSA, certificates.
//!
//! Nothing here does I/O or remembers anything. What a service needs from outside itself, time and
//! randomness, is declared in [`ambient`].

pub mod ambient;
pub mod ids;

pub use ids::{Aci, DeviceAddress, DeviceId, IdentityKind, Pni, RegistrationId, ServiceId};
