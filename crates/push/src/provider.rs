//! What a provider delivers, and what it can say about it.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use protocol::{PushToken, ambient::Timestamp};
use zeroize::Zeroizing;

/// What is pushed.
#[derive(Clone, Debug)]
pub enum Push {
    /// Something is waiting.
    Wake {
        /// A person may be waiting for it. What is not urgent must not light up a screen.
        urgent: bool,
    },
    /// A secret that only this device is to see.
    Challenge(Challenge, ChallengeSecret),
}

impl Push {
    /// Whether the device should hear of it at once, whatever it costs its battery.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::Wake { urgent } => *urgent,
            Self::Challenge(..) => true,
        }
    }
}

/// What a challenge is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// To go on sending.
    RateLimit,
    /// To go on registering.
    Registration,
}

impl Challenge {
    /// What apps look for it under.
    pub fn key(self) -> &'static str {
        match self {
            Self::RateLimit => "rateLimitChallenge",
            Self::Registration => "challenge",
        }
    }
}

/// The secret of a challenge.
#[derive(Clone)]
pub struct ChallengeSecret(Zeroizing<String>);

impl ChallengeSecret {
    /// That secret.
    pub fn new(secret: &str) -> Self {
        Self(Zeroizing::new(secret.to_owned()))
    }

    /// For the device alone.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ChallengeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChallengeSecret(…)")
    }
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What to do about it.
    pub verdict: Verdict,
    /// What the provider said, for an operator: a status and a reason, never a token.
    pub answer: String,
}

impl Delivery {
    /// That verdict, on that answer.
    pub fn new(verdict: Verdict, answer: impl Into<String>) -> Self {
        Self { verdict, answer: answer.into() }
    }
}

/// What a provider's answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The provider delivers it.
    Accepted,
    /// The token reaches nobody any more.
    Unregistered {
        /// Since when, if the provider says. One that was given later is good.
        since: Option<Timestamp>,
    },
    /// Too many for this device.
    Slower {
        /// How long to wait.
        retry_after: Option<Duration>,
    },
    /// The provider takes this push for no good one, and will not take it a second time either: a setting is
    /// wrong, or this program.
    Refused,
    /// The provider takes our credentials for no good ones: nothing will be taken before they are mended.
    Unauthorized,
    /// The provider fails, is overloaded or cannot be reached.
    Unavailable {
        /// How long to leave it alone.
        retry_after: Option<Duration>,
    },
}

/// Delivers pushes to one kind of token.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Delivers a push. The token is of this provider's kind.
    async fn deliver(&self, token: &PushToken, push: &Push) -> Delivery;

    /// Whom the token is delivered through, for telling those apart that fail: a host, or always the same.
    fn lane(&self, _token: &PushToken) -> String {
        String::new()
    }
}
