//! Starts the real server and speaks to it, for tests and the load generator.
//!
//! The client side is written for this purpose and shares no code with the server: its frame, envelope
//! and websocket codecs are its own, so that a mistake in the server's does not go unnoticed here, and
//! lean, because the load generator runs beside the server it measures.

pub mod account;
pub mod authenticator;
pub mod https;
pub mod mail_server;
pub mod multi_recipient;
pub mod native;
pub mod outbox;
pub mod pipe;
pub mod process;
pub mod push;
pub mod server;
pub mod socket;
pub mod tls;
pub mod totp;
mod upgrade;
pub mod websocket;
pub mod wire;

pub use account::{Account, KeySet, link_over, register, register_many, register_with};
pub use authenticator::Authenticator;
pub use https::{Answer, Call, HttpVersion, Https};
pub use native::{NativeAccount, NativeStream};
pub use outbox::Outbox;
pub use pipe::{Carrier, Pipe};
pub use server::{Server, ServerOptions};
pub use socket::{ChatSocket, Event, SocketAnswer};
pub use tls::Target;
pub use totp::Generator;
pub use upgrade::Refused;
