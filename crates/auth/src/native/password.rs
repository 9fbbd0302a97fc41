//! Passwords that people choose, and which of them are taken.

use std::{cmp::Ordering, fmt};

use precis_profiles::{OpaqueString, precis_core::profile::PrecisFastInvocation};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::username::Username;

/// Passwords that are guessed first; see `common_passwords.md` for where they come from.
const COMMON: &str = include_str!("common_passwords.txt");

/// A password as a person chose it, in the form in which it is hashed: RFC 8265's profile `OpaqueString`, by
/// which the same password typed on another keyboard is the same bytes. Nothing is ever cut off.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LoginPassword(String);

/// That cannot be a password: it is empty, too long to be looked at, or has control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that cannot be a password")]
pub struct NotAPassword;

/// Why a password is not taken as a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// It has fewer characters than the policy asks for.
    #[error("the password is too short")]
    TooShort,
    /// It has more characters than the policy allows.
    #[error("the password is too long")]
    TooLong,
    /// It is one of those that are guessed first.
    #[error("the password is one of those that are guessed first")]
    TooCommon,
    /// It is the username.
    #[error("the password is the username")]
    IsUsername,
    /// It has control characters or is empty.
    #[error("that cannot be a password")]
    NotAPassword,
}

/// Which passwords are taken as new ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Fewest characters.
    pub length_min: usize,
    /// Most characters.
    pub length_max: usize,
    /// Words of the deployment's own, such as its name, in small letters. A password is none of them, also not with digits
    /// and signs around it.
    pub words: Vec<String>,
}

impl PasswordPolicy {
    /// The shortest that may be configured as shortest.
    pub const LENGTH_MIN_FLOOR: usize = 8;

    /// The shortest that may be configured as longest: passphrases must fit.
    pub const LENGTH_MAX_FLOOR: usize = 64;

    /// The longest that may be configured as longest.
    pub const LENGTH_MAX_CEILING: usize = 1024;
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self { length_min: Self::LENGTH_MIN_FLOOR, length_max: 256, words: Vec::new() }
    }
}

impl LoginPassword {
    /// The password of that text.
    pub fn new(text: &str) -> Result<Self, NotAPassword> {
        // A character is at most four bytes long, and a policy allows only so many.
        if text.len() > 4 * PasswordPolicy::LENGTH_MAX_CEILING {
            return Err(NotAPassword);
        }
        let normal = OpaqueString::enforce(text).map_err(|_| NotAPassword)?;
        Ok(Self(normal.into_owned()))
    }

    /// What is hashed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl PasswordPolicy {
    /// Whether somebody of that name may take that password.
    pub fn check(&self, password: &LoginPassword, username: &Username) -> Result<(), PasswordRefused> {
        let length = password.0.chars().count();
        if length < self.length_min {
            return Err(PasswordRefused::TooShort);
        }
        if length > self.length_max {
            return Err(PasswordRefused::TooLong);
        }
        let folded = Zeroizing::new(password.0.to_lowercase());
        if *folded == username.as_str() {
            return Err(PasswordRefused::IsUsername);
        }
        let word = folded.trim_matches(|c: char| !c.is_alphabetic());
        if is_common(&folded) || self.words.iter().any(|own| own == word) {
            return Err(PasswordRefused::TooCommon);
        }
        Ok(())
    }
}

/// Whether a password in small letters is one of [`COMMON`], which is in order: a binary search over its bytes.
fn is_common(password: &str) -> bool {
    let (mut low, mut high) = (0, COMMON.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        let begin =
            COMMON.as_bytes()[..middle].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = COMMON.as_bytes()[begin..].split(|byte| *byte == b'\n').next().unwrap_or_default();
        match line.cmp(password.as_bytes()) {
            Ordering::Equal => return true,
            Ordering::Less => low = begin + line.len() + 1,
            Ordering::Greater => high = begin,
        }
    }
    false
}

impl fmt::Debug for LoginPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginPassword(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> Result<(), PasswordRefused> {
        let username = Username::new("correcthorse").unwrap();
        PasswordPolicy::default().check(&LoginPassword::new(password).unwrap(), &username)
    }

    #[test]
    fn every_password_of_the_list_is_found_and_no_other() {
        let lines: Vec<_> = COMMON.lines().collect();
        assert!(lines.len() > 10_000);
        assert!(lines.is_sorted());
        assert!(lines.iter().all(|line| is_common(line)));
        for other in ["", "a", "correct horse battery staple", "\u{10FFFF}", "passwor", "passwordd0"] {
            assert!(!is_common(other), "{other}");
        }
    }

    #[test]
    fn the_deployments_own_words_are_refused_with_anything_around_them() {
        let policy = PasswordPolicy { words: vec!["acmecorp".to_owned()], ..PasswordPolicy::default() };
        let username = Username::new("somebody").unwrap();
        let check = |text| policy.check(&LoginPassword::new(text).unwrap(), &username);
        for text in ["acmecorp", "AcmeCorp2026!", "#1 acmecorp"] {
            assert_eq!(check(text), Err(PasswordRefused::TooCommon), "{text}");
        }
        for text in ["acmecorporation", "our acmecorp", "12345678!?#"] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn the_policy_refuses_what_is_guessed_first() {
        assert_eq!(check("pas5wrd"), Err(PasswordRefused::TooShort));
        assert_eq!(check("PassWord"), Err(PasswordRefused::TooCommon));
        assert_eq!(check("iloveyou"), Err(PasswordRefused::TooCommon));
        assert_eq!(check("CorrectHorse"), Err(PasswordRefused::IsUsername));
        assert_eq!(check(&"ab".repeat(129)), Err(PasswordRefused::TooLong));
        assert_eq!(check(&"ä€".repeat(128)), Ok(()), "characters count, not bytes");
        assert_eq!(check("a sentence is fine"), Ok(()));
    }

    #[test]
    fn a_password_is_the_same_from_every_keyboard_and_never_cut() {
        let same = |a: &str, b: &str| {
            LoginPassword::new(a).unwrap().as_bytes() == LoginPassword::new(b).unwrap().as_bytes()
        };
        assert!(same("caf\u{e9} au lait", "cafe\u{301} au lait"));
        assert!(same("two\u{3000}words", "two words"));
        assert!(!same("Password", "password"));
        let long = "x".repeat(1024);
        assert!(!same(&long, &long[1..]));
        assert!(LoginPassword::new("").is_err());
        assert!(LoginPassword::new("tab\there").is_err());
        assert!(LoginPassword::new(&"x".repeat(4097)).is_err());
    }

    #[test]
    fn passwords_do_not_print() {
        assert_eq!(format!("{:?}", LoginPassword::new("hunter22").unwrap()), "LoginPassword(…)");
    }
}
