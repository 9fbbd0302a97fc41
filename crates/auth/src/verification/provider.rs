//! How a verification code reaches the phone.

use std::time::Duration;

use async_trait::async_trait;
use protocol::PhoneNumber;
use serde::{Deserialize, Serialize};

use super::Code;

/// The ways a code can travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A text message.
    Sms,
    /// A call that speaks the code.
    Voice,
}

impl Transport {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Voice => "voice",
        }
    }
}

/// A code on its way to a phone.
#[derive(Clone, Debug)]
pub struct CodeMessage {
    /// The phone.
    pub to: PhoneNumber,
    /// The way.
    pub transport: Transport,
    /// The code, unless the provider draws it.
    pub code: Code,
    /// What the client calls itself (`ios`, `android-2021-03`, …), which decides how a text message is
    /// written for the app to read it by itself.
    pub client: Option<String>,
    /// The languages the person reads, as `Accept-Language` has them.
    pub languages: Option<String>,
}

/// Why a code was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendCodeError {
    /// Not by this transport; another may work.
    #[error("this transport is not available")]
    TransportUnavailable,
    /// The provider refuses or fails.
    #[error("the provider did not take the code")]
    NotDelivered {
        /// In whose hands the failure lies.
        reason: NotDelivered,
        /// Trying again is of no use.
        permanent: bool,
    },
    /// The provider wants us to wait.
    #[error("the provider limits us")]
    RateLimited(Option<Duration>),
}

/// Why a provider did not take a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDelivered {
    /// It cannot be reached, or failed.
    ProviderUnavailable,
    /// It refuses this number.
    ProviderRejected,
    /// It does not understand the request.
    IllegalArgument,
}

impl NotDelivered {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProviderUnavailable => "providerUnavailable",
            Self::ProviderRejected => "providerRejected",
            Self::IllegalArgument => "illegalArgument",
        }
    }
}

/// What a provider that checks codes says of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeVerdict {
    /// It is right.
    Right,
    /// It is wrong; another may be tried.
    Wrong,
    /// No code is right any more: another must be sent.
    Over,
}

/// Sends verification codes.
#[async_trait]
pub trait CodeSender: Send + Sync + 'static {
    /// Sends a code. When this answers, the provider has taken it.
    async fn send(&self, message: CodeMessage) -> Result<(), SendCodeError>;

    /// Whether the provider draws and checks codes itself; the code of a message then means nothing.
    fn checks_codes(&self) -> bool {
        false
    }

    /// What a provider that checks codes says of one. It is asked once for each that is handed in.
    async fn check(&self, _number: &PhoneNumber, _guess: &Code) -> Result<CodeVerdict, SendCodeError> {
        Ok(CodeVerdict::Wrong)
    }
}

/// Sends nothing: the operator looks codes up and passes them on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShownToOperator;

#[async_trait]
impl CodeSender for ShownToOperator {
    async fn send(&self, _: CodeMessage) -> Result<(), SendCodeError> {
        Ok(())
    }
}
