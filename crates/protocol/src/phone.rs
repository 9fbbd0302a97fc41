//! Phone numbers as Signal writes them: E.164.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ids::InvalidId;

/// A phone number in E.164 form (ITU-T E.164): `+`, then 7 to 15 digits, the first of them not zero.
///
/// Only the form is checked, not whether the number can exist. It identifies a person: it has no
/// `Display`, and its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PhoneNumber(Box<str>);

impl PhoneNumber {
    /// Fewest digits after the `+`: the shortest numbers in use.
    pub const MIN_DIGITS: usize = 7;
    /// Most digits after the `+`, as E.164 limits them.
    pub const MAX_DIGITS: usize = 15;

    /// The number, `+` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PhoneNumber {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = text.strip_prefix('+').ok_or(InvalidId("phone number"))?.as_bytes();
        let well_formed = (Self::MIN_DIGITS..=Self::MAX_DIGITS).contains(&digits.len())
            && digits.iter().all(u8::is_ascii_digit)
            && digits[0] != b'0';
        if well_formed { Ok(Self(text.into())) } else { Err(InvalidId("phone number")) }
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(…)")
    }
}

impl Serialize for PhoneNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PhoneNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_7_to_15_digits_are_taken() {
        for text in ["+1234567", "+15550100001", "+123456789012345"] {
            assert_eq!(text.parse::<PhoneNumber>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let others =
            ["", "+", "+123456", "+1234567890123456", "15550100001", "+05550100001", "+1555-010-0001"];
        for text in others.into_iter().chain(["++1555010000", " +15550100001", "+1555010000１"]) {
            assert!(text.parse::<PhoneNumber>().is_err(), "{text}");
        }
    }

    #[test]
    fn debug_does_not_show_the_number() {
        let number: PhoneNumber = "+15550100001".parse().unwrap();
        assert!(!format!("{number:?}").contains("555"));
    }
}
