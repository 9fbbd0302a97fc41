//! Requests to other people's servers: one HTTP client, and which addresses it may reach.
//!
//! Where a request goes may be somebody else's choice, such as the endpoint of a push subscription, or that of
//! whoever answers for a name. So a [`Client`] asks its [`AddressPolicy`] about every address it is about to
//! connect to, and connects to that very address; it follows no redirection, takes no proxy from the
//! environment, and reads no more of an answer than it was told to.

mod address;
mod client;
mod resolve;

pub use address::{AddressPolicy, InvalidNetwork};
pub use client::{Answer, Client, ClientSettings, SendError};
