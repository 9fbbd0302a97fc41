//! Stand-ins for push providers that speak the real protocols: they check what they are sent as the real ones do,
//! answer what they are told to, and note who was woken when.

mod apns;
mod fcm;
mod keys;
mod server;
mod web_push;

pub use apns::{ApnsPush, ApnsStandIn};
pub use fcm::{FcmPush, FcmStandIn};
pub use keys::{EcKey, RsaKey};
pub use server::{Answer, Received, StandIn};
pub use web_push::{Subscriber, WebPushMessage, WebPushStandIn};
