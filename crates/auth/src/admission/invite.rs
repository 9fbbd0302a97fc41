//! Invitations.

use std::{fmt, time::Duration};

use protocol::{
    Aci, PhoneNumber,
    ambient::{Entropy, Timestamp},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Names an invitation for the operator. Knowing it lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InviteId(pub Uuid);

/// What somebody shows to be let in: digits, so that it can be typed where a client asks for a verification code.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct InviteCode(String);

/// What an invitation is to be like.
#[derive(Clone, Debug)]
pub struct InviteTerms {
    /// The only number that can be registered with it.
    pub number: Option<PhoneNumber>,
    /// How many accounts it makes, 1 or more; one that is bound to a number makes that one.
    pub uses: u32,
    /// How long it is good for.
    pub life: Duration,
    /// What the operator wants to remember about it.
    pub note: Option<String>,
}

/// An invitation as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Names it.
    pub id: InviteId,
    /// Whether it is bound to a number.
    pub bound: bool,
    /// How many accounts it makes.
    pub uses: u32,
    /// How many it has made.
    pub used: u32,
    /// Wrong codes that were handed in for its number.
    pub wrong_codes: u32,
    /// When it was made.
    pub created: Timestamp,
    /// When it is over.
    pub expires: Timestamp,
    /// When it was taken back.
    pub revoked: Option<Timestamp>,
    /// What the operator wanted to remember.
    pub note: Option<String>,
    /// The accounts it has made.
    pub accounts: Vec<Aci>,
}

/// An invitation to be kept.
#[derive(Clone, Debug)]
pub struct NewInvite {
    /// What the operator sees of it.
    pub invite: Invite,
    /// Its code, of which only a keyed hash is kept.
    pub code: InviteCode,
    /// The number it is bound to.
    pub number: Option<PhoneNumber>,
}

impl InviteCode {
    /// Digits of a code that is bound to a number: as many as clients have room for.
    pub const BOUND_DIGITS: usize = 6;

    /// Digits of one that is not.
    pub const FREE_DIGITS: usize = 12;

    /// A code drawn uniformly.
    pub fn random(bound: bool, entropy: &dyn Entropy) -> Self {
        let digits = if bound { Self::BOUND_DIGITS } else { Self::FREE_DIGITS };
        let mut code = String::with_capacity(digits);
        while code.len() < digits {
            let [byte] = entropy.bytes();
            // 250 is the last multiple of ten: what is above would favour low digits.
            if byte < 250 {
                code.push(char::from(b'0' + byte % 10));
            }
        }
        Self(code)
    }

    /// What somebody typed, with or without spaces and hyphens; nothing if it is no code.
    pub fn parse(text: &str) -> Option<Self> {
        /// Longest text taken for a code with decoration.
        const TEXT_MAX: usize = 32;

        if text.len() > TEXT_MAX {
            return None;
        }
        let code: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        let digits = code.bytes().all(|byte| byte.is_ascii_digit());
        let known_length = [Self::BOUND_DIGITS, Self::FREE_DIGITS].contains(&code.len());
        (digits && known_length).then_some(Self(code))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one that is bound to a number.
    pub fn is_bound(&self) -> bool {
        self.0.len() == Self::BOUND_DIGITS
    }
}

impl fmt::Debug for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn codes_are_read_as_people_write_them() {
        for (text, code) in [
            ("123456", Some("123456")),
            ("1234 5678 9012", Some("123456789012")),
            ("1234-5678-9012", Some("123456789012")),
            ("12345", None),
            ("1234567", None),
            ("12345a", None),
            ("", None),
            ("１２３４５６", None),
        ] {
            assert_eq!(InviteCode::parse(text).as_ref().map(InviteCode::as_str), code, "{text}");
        }
        assert!(InviteCode::parse(&" ".repeat(1000)).is_none());
    }

    #[test]
    fn codes_differ_and_have_their_length() {
        let entropy = SeededEntropy::new(3);
        let codes: Vec<_> = (0..100).map(|i| InviteCode::random(i % 2 == 0, &entropy)).collect();
        assert!(codes.iter().enumerate().all(|(i, code)| code.is_bound() == (i % 2 == 0)));
        assert!(codes.iter().all(|code| InviteCode::parse(code.as_str()).as_ref() == Some(code)));
        assert!(codes.windows(3).all(|codes| codes[0] != codes[2]));
    }
}
