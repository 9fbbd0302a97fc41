//! Push challenges: a secret that only the account's own phone is shown.

use std::fmt;

use async_trait::async_trait;
use protocol::{DeviceAddress, PhoneNumber, PushService, ambient::Entropy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{device::PushToken, secrets::hex};

/// The secret of a push challenge: 32 lower-case hexadecimal digits of 16 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct PushChallenge(Zeroizing<String>);

impl PushChallenge {
    /// A fresh one.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(Zeroizing::new(hex(&entropy.bytes::<16>())))
    }

    /// The digits, for the phone alone.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether that is the answer. Takes as long for every text of the right length.
    pub(crate) fn is_answered_by(&self, answer: &str) -> bool {
        self.0.as_bytes().ct_eq(answer.as_bytes()).into()
    }
}

/// For what is sealed before it is stored, and for nothing else.
impl Serialize for PushChallenge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PushChallenge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|digits| Self(Zeroizing::new(digits)))
    }
}

impl fmt::Debug for PushChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushChallenge(…)")
    }
}

/// A push challenge on its way to a phone.
#[derive(Clone, Debug)]
pub struct PushChallengeMessage {
    /// Whose it is.
    pub to: PushChallengeTo,
    /// Where a push reaches it.
    pub token: PushToken,
    /// The secret.
    pub challenge: PushChallenge,
}

/// Who is challenged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushChallengeTo {
    /// The primary device of an account.
    Device(DeviceAddress),
    /// Somebody who is registering that number.
    Newcomer(PhoneNumber),
}

/// The push was not taken by whoever delivers it.
#[derive(Debug, thiserror::Error)]
#[error("the push challenge was not sent")]
pub struct PushUndelivered(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Delivers push challenges.
#[async_trait]
pub trait PushChallenges: Send + Sync + 'static {
    /// Whether tokens of that service can be pushed to.
    fn reaches(&self, service: PushService) -> bool;

    /// Sends one. When this answers, whoever delivers pushes has taken it.
    async fn send(&self, message: PushChallengeMessage) -> Result<(), PushUndelivered>;
}

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn only_the_same_digits_are_the_answer() {
        let challenge = PushChallenge::random(&SeededEntropy::new(1));
        let digits = challenge.as_str();
        assert_eq!(digits.len(), 32);
        assert!(digits.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit)));
        assert!(challenge.is_answered_by(digits));
        for wrong in ["", &digits[1..], &format!("{digits}0"), &"0".repeat(32)] {
            assert!(!challenge.is_answered_by(wrong), "{wrong}");
        }
        assert!(!format!("{challenge:?}").contains(digits));
    }
}
