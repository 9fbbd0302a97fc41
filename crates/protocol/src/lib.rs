//! Signal's formats: ids, keys, envelopes, multi-recipient messages, websockets and their frames, `XEdDSA`,
//! certificates.
//!
//! Nothing here does I/O or remembers anything. What a service needs from outside itself, time and
//! randomness, is declared in [`ambient`].

pub mod access;
pub mod ambient;
pub mod base64;
pub mod certificate;
pub mod envelope;
pub mod frame;
pub mod group_send;
pub mod ids;
pub mod keys;
pub mod multi_recipient;
pub mod phone;
pub mod push_token;
pub mod websocket;
pub mod xeddsa;

pub use access::{AccessKey, UnidentifiedAccess, UnidentifiedCredential};
pub use ids::{Aci, DeviceAddress, DeviceId, IdentityKind, Pni, RegistrationId, ServiceId};
pub use phone::PhoneNumber;
pub use push_token::{PushService, PushToken, WebPushSubscription};
