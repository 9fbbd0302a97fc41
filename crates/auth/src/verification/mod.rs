//! Proving that somebody holds a phone number: open a session, request a code, hand it in.

mod captcha;
mod code;
mod id;
mod outbox;
mod provider;
mod service;
mod session;
mod store;

pub use captcha::{AcceptAnyCaptcha, CaptchaError, CaptchaVerdict, CaptchaVerifier};
pub use code::Code;
pub use id::{InvalidSessionId, SessionId};
pub use outbox::Outbox;
pub use provider::{
    CodeMessage, CodeSender, CodeVerdict, NotDelivered, SendCodeError, ShownToOperator, Transport,
};
pub(crate) use service::{CAPTCHA_LEN_MAX, Proof};
pub use service::{
    CodeRequest, CreateSessionError, SessionError, SessionUpdate, VerificationParts, VerificationService,
};
pub use session::{
    GUESSES_PER_CODE, IDLE_LIFE, RequestedInformation, Session, SessionView, VerificationPolicy, WaitingCode,
};
pub use store::{SessionStore, StoredSession};
