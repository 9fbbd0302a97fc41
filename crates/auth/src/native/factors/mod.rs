//! Second factors of native accounts: setting them up, being asked for one, and passkeys in place of a password.
//!
//! The factors themselves are in [`second_factor`](crate::second_factor). Here is what they mean for whoever logs in with
//! a name and a password: a right password of an account with a factor leads to a token, and the token with a factor to
//! a session; a passkey that has checked its user leads there alone; and what may take an account over is changed only by
//! somebody who has just shown again who they are, for an access token can be stolen.

mod opaque_token;
mod passkey_login;
mod reauthentication;
mod second_step;
mod setup;

pub use opaque_token::OpaqueToken;
pub use passkey_login::PasskeyLoginError;
pub use reauthentication::{FRESH_LIFE, FreshProof, OwnerProof, ReauthenticateError};
pub use second_step::{SECOND_STEP_LIFE, SecondStep, SecondStepError, TRIES_MAX};
pub use setup::{PasskeySetup, TotpSetup};

pub(super) use reauthentication::FreshProofs;
pub(super) use second_step::HalfwayLogins;
