//! Starts the real server and speaks to it, for tests and the load generator.
//!
//! The client side is written for this purpose and shares no code with the server: its frame, envelope
//! and websocket codecs are its own, so that a mistake in the server's does not go unnoticed here, and
//! lean, because the load generator runs beside the server it measures.

pub mod account;
pub mod https;
pub mod outbox;
pub mod process;
pub mod server;
pub mod socket;
pub mod tls;
pub mod websocket;
pub mod wire;

pub use account::{Account, KeySet, register, register_many, register_with};
pub use https::{Answer, Call, HttpVersion, Https};
pub use outbox::Outbox;
pub use server::{Server, ServerOptions};
pub use socket::{ChatSocket, Event, Refused};
pub use tls::Target;
