//! Signal's formats: ids, keys, envelopes, websocket frames, `XEdDSA`, certificates.
//!
//! Nothing here does I/O or remembers anything. What a service needs from outside itself, time and
//! randomness, is declared in [`ambient`].

pub mod access;
pub mod ambient;
pub mod base64;
pub mod certificate;
pub mod envelope;
pub mod frame;
pub mod ids;
pub mod keys;
pub mod phone;
pub mod xeddsa;

pub use access::AccessKey;
pub use ids::{Aci, DeviceAddress, DeviceId, IdentityKind, Pni, RegistrationId, ServiceId};
pub use phone::PhoneNumber;
