//! Delivery of verification codes through other people's servers, behind [`auth::verification::CodeSender`].
//!
//! [`webhook`] hands each code to a server of the operator's choice, which sends it by whatever means it has. [`twilio`]
//! speaks to Twilio Verify, which draws, sends and checks codes itself.

mod patience;
pub mod twilio;
pub mod webhook;

pub use patience::Patience;
