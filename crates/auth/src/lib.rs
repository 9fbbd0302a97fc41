//! Accounts, registration, credentials.
//!
//! What an account is ([`account`], [`device`]), who may have one ([`admission`]), how a phone number is proved
//! ([`verification`]), how an account comes to be ([`registration`]) and gets more devices ([`linking`], [`devices`]), what one device hands
//! over to another ([`handover`]), what becomes of devices that nobody uses ([`idle`]), how an account gets another
//! number ([`change_number`]), who is calling ([`credentials`]), what it asks for besides ([`second_factor`]), what an
//! account may set about itself ([`settings`]), how it is written to ([`mail`]), how its devices show recipients who they are ([`sender_certificate`]), how it shows that a person is behind it
//! ([`challenge`]), and what is written down of all this ([`audit`]). Accounts of people who log in with a name and a
//! password are in [`native`]. What must be remembered is declared in [`store`].

pub mod account;
pub mod admission;
pub mod attributes;
pub mod audit;
pub mod capabilities;
pub mod challenge;
pub mod change_number;
pub mod credentials;
pub mod device;
pub mod devices;
pub mod handover;
pub mod idle;
pub mod linking;
pub mod mail;
pub mod native;
pub mod registration;
pub mod remote_config;
pub mod revocation;
pub mod second_factor;
pub mod secrets;
pub mod sender_certificate;
pub mod settings;
pub mod store;
pub mod verification;

mod channel;
mod pending;
mod service;
mod symbols;
mod waiters;

pub use account::Account;
pub use device::Device;
pub use service::{AccountService, AuthenticateError, Authenticated};
