//! Asked before a message of a sender who says who it is is taken: whether the sender must first show that
//! it is a person. Sealed messages are not asked about; clients do not understand the question there.

use std::time::Duration;

use protocol::Aci;

/// The sender must answer a challenge first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeRequired {
    /// Comes back with the answer.
    pub token: String,
    /// What may be answered.
    pub options: Vec<ChallengeOption>,
    /// After this time the same message would be taken without an answer, where that is known.
    pub retry_after: Option<Duration>,
}

/// The kinds of answer that clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeOption {
    /// A captcha.
    Captcha,
    /// What a push has brought to the primary device.
    PushChallenge,
}

/// Lets senders through, or asks them something.
pub trait SendGate: Send + Sync + 'static {
    /// Whether one more message of that account, to whomever, is let through. It is counted if so.
    fn admit(&self, sender: Aci) -> Result<(), ChallengeRequired>;
}
