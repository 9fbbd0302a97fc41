//! The name by which somebody logs in.

use std::fmt;

use precis_profiles::{UsernameCaseMapped, precis_core::profile::PrecisFastInvocation};

/// Longest text that is looked at, in bytes. What is longer cannot become a name.
const INPUT_MAX: usize = 512;

/// A name in the one form in which it is kept and compared: RFC 8265's profile `UsernameCaseMapped`, so that
/// letters are small, of one width and composed, and there are neither spaces nor invisible characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Username(Box<str>);

/// That is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a username has 1 to 64 letters, digits or ASCII characters without spaces")]
pub struct InvalidUsername;

impl Username {
    /// Longest name in characters.
    pub const MAX_CHARS: usize = 64;

    /// The name that the text is a way to write.
    pub fn new(text: &str) -> Result<Self, InvalidUsername> {
        if text.len() > INPUT_MAX {
            return Err(InvalidUsername);
        }
        let name = enforce(text)?;
        // The rules may lead on from their own result (RFC 8264 §7); what then does not rest is no name.
        let again = enforce(&name)?;
        if again != name || name.chars().count() > Self::MAX_CHARS {
            return Err(InvalidUsername);
        }
        Ok(Self(name.into_boxed_str()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn enforce(text: &str) -> Result<String, InvalidUsername> {
    UsernameCaseMapped::enforce(text).map(std::borrow::Cow::into_owned).map_err(|_| InvalidUsername)
}

// Who logs in must not reach a log.
impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Username(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_write_a_name_are_one_name() {
        let name = |text| Username::new(text).unwrap().as_str().to_owned();
        assert_eq!(name("Alice"), "alice");
        assert_eq!(name("\u{FF21}lice"), "alice", "full width");
        assert_eq!(name("Andre\u{301}"), "andr\u{e9}", "composed");
        assert_eq!(name("\u{3A3}"), name("\u{3C3}"), "Greek");
        assert_eq!(name("a.b-c_d@example.org"), "a.b-c_d@example.org");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(65);
        for text in ["", " ", "two words", "a\u{200B}b", "a\0", "\u{265A}", "a\u{5D0}", "\u{FB01}", &long] {
            assert!(Username::new(text).is_err(), "{text:?}");
        }
        assert!(Username::new(&"a".repeat(64)).is_ok());
        assert!(Username::new(&"a".repeat(1 << 20)).is_err());
    }
}
