//! Accounts, registration, credentials.
//!
//! What an account is ([`account`], [`device`]), how a phone number is proved ([`verification`]), how an
//! account comes to be ([`registration`]), who is calling ([`credentials`]), and what an account may set
//! about itself ([`settings`]). What must be remembered is declared in [`store`].

pub mod account;
pub mod attributes;
pub mod capabilities;
pub mod credentials;
pub mod device;
pub mod registration;
pub mod remote_config;
pub mod revocation;
pub mod secrets;
pub mod settings;
pub mod store;
pub mod verification;

mod service;

pub use account::Account;
pub use device::Device;
pub use service::{AccountService, AuthenticateError, Authenticated};
