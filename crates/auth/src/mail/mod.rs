//! E-mail: what is sent to people, and how it gets there.

mod address;
mod post;
mod smtp;

use async_trait::async_trait;

pub use address::{InvalidAddress, MailAddress};
pub use post::{Post, Slot};
pub use smtp::{Security, SmtpMailer, SmtpSettings, SmtpSettingsError};

/// A message to somebody: plain text, in English.
#[derive(Clone)]
pub struct MailMessage {
    /// Whom it is for.
    pub to: MailAddress,
    /// What it is about: one line.
    pub subject: String,
    /// What it says. It may hold a secret, hence it is not shown by `Debug`.
    pub text: String,
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The mail server cannot be reached, does not take our word for who we are, or fails; later it may not.
    #[error("the mail server is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The mail server refuses this message for good, for instance since there is no such address.
    #[error("the mail server refuses the message")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl MailError {
    /// The number with which the mail server refused, if it came to that (RFC 5321, section 4.2).
    pub fn code(&self) -> Option<u16> {
        let (Self::Unavailable(source) | Self::Refused(source)) = self;
        source.downcast_ref::<lettre::transport::smtp::Error>()?.status().map(u16::from)
    }
}

/// Sends e-mail.
#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    /// Sends a message. When this answers, a mail server has taken it and said so in these words.
    async fn send(&self, message: MailMessage) -> Result<String, MailError>;
}

impl std::fmt::Debug for MailMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailMessage").field("subject", &self.subject).finish_non_exhaustive()
    }
}
