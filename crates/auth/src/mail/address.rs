//! Addresses of e-mail.

use std::{fmt, str::FromStr};

/// Most characters of an address (RFC 5321, section 4.5.3.1.3, without the brackets).
const LEN_MAX: usize = 254;
/// Most characters before the `@` (section 4.5.3.1.1).
const LOCAL_LEN_MAX: usize = 64;
/// Most characters between two dots of a domain.
const LABEL_LEN_MAX: usize = 63;

/// An address, in the one form by which it is compared: in lower case.
///
/// Only the common form is taken: no quotes, comments or literals, and no letters beyond ASCII, which many mail
/// servers do not take either. No server in use tells upper from lower case before the `@`, and people do not.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MailAddress(String);

/// Text that is no address, or not in the common form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address")]
pub struct InvalidAddress;

impl MailAddress {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the `@`.
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

impl FromStr for MailAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim();
        let (local, domain) = text.split_once('@').ok_or(InvalidAddress)?;
        let good = text.len() <= LEN_MAX && is_local(local) && is_domain(domain);
        if good { Ok(Self(text.to_ascii_lowercase())) } else { Err(InvalidAddress) }
    }
}

fn is_local(local: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    local.len() <= LOCAL_LEN_MAX && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(allowed))
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_LEN_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.split('.').count() >= 2 && domain.split('.').all(is_label)
}

impl fmt::Debug for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailAddress(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_have_one_form() {
        let address: MailAddress = " Ann.Smith+chat@Example.ORG ".parse().unwrap();
        assert_eq!((address.as_str(), address.domain()), ("ann.smith+chat@example.org", "example.org"));
        assert_eq!(format!("{address:?}"), "MailAddress(…)");
    }

    #[test]
    fn what_is_no_address_or_could_be_two_is_refused() {
        let long_local = format!("{}@example.org", "a".repeat(65));
        let long = format!("a@{}example.org", "b.".repeat(130));
        for text in [
            "",
            "ann",
            "@example.org",
            "ann@",
            "ann@example",
            "ann@@example.org",
            "a@b@example.org",
            "ann smith@example.org",
            "ann@example.org\r\nBcc: eve@example.org",
            "ann@-example.org",
            "ann@example..org",
            ".ann@example.org",
            "ann.@example.org",
            "a..n@example.org",
            "<ann@example.org>",
            "ann,eve@example.org",
            "ann@[127.0.0.1]",
            "\"ann\"@example.org",
            "änn@example.org",
            &long_local,
            &long,
        ] {
            assert_eq!(text.parse::<MailAddress>(), Err(InvalidAddress), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_one_line_of_printable_ascii(text in "\\PC*@\\PC*|[ -~\\r\\n]{0,80}") {
            if let Ok(address) = text.parse::<MailAddress>() {
                prop_assert!(address.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(address.as_str().matches('@').count(), 1);
                prop_assert_eq!(address.as_str().parse::<MailAddress>(), Ok(address.clone()));
            }
        }
    }
}
