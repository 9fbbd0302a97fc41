//! The `Authorization` header: a user and a password.

use protocol::{Aci, DeviceAddress, DeviceId, base64};

use crate::secrets::Password;

/// A user and a password as they came in. The user is an account and device in most calls, and a phone
/// number when registering.
#[derive(Clone, Debug)]
pub struct BasicCredentials {
    user: String,
    password: Password,
}

/// The header is not one of Basic credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed credentials")]
pub struct MalformedCredentials;

impl BasicCredentials {
    /// Reads a header value of the form `Basic base64(user:password)` (RFC 7617). Neither part may be
    /// empty.
    pub fn from_header(value: &str) -> Result<Self, MalformedCredentials> {
        let (scheme, token) = value.split_once(' ').ok_or(MalformedCredentials)?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(MalformedCredentials);
        }
        let decoded = base64::decode_lenient(token.trim()).ok_or(MalformedCredentials)?;
        Self::from_text(&String::from_utf8(decoded).map_err(|_| MalformedCredentials)?)
    }

    /// Reads `user:password`, split at the first colon.
    pub fn from_text(text: &str) -> Result<Self, MalformedCredentials> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                Ok(Self { user: user.to_owned(), password: Password::new(password.to_owned()) })
            }
            _ => Err(MalformedCredentials),
        }
    }

    /// The user as text.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password.
    pub fn password(&self) -> &Password {
        &self.password
    }

    /// The device that the user names: `{aci}` for the primary or `{aci}.{device}`.
    pub fn device(&self) -> Option<DeviceAddress> {
        let (aci, device_id) = match self.user.split_once('.') {
            Some((aci, device_id)) => (aci, device_id.parse().ok()?),
            None => (self.user.as_str(), DeviceId::PRIMARY),
        };
        Some(DeviceAddress { aci: aci.parse::<Aci>().ok()?, device_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACI: &str = "796abedb-ca4e-4f18-8803-1fde5b921f9f";

    #[test]
    fn the_header_is_split_at_the_first_colon() {
        let header = format!("Basic {}", base64::encode_padded(format!("{ACI}.2:pass:word")));
        let credentials = BasicCredentials::from_header(&header).unwrap();
        assert_eq!(credentials.user(), format!("{ACI}.2"));
        assert_eq!(credentials.password().as_bytes(), b"pass:word");
        let device = credentials.device().unwrap();
        assert_eq!((device.aci, device.device_id.get()), (ACI.parse().unwrap(), 2));
    }

    #[test]
    fn no_suffix_means_the_primary() {
        let credentials = BasicCredentials::from_text(&format!("{ACI}:p")).unwrap();
        assert!(credentials.device().unwrap().device_id.is_primary());
    }

    #[test]
    fn malformed_headers_are_told_from_wrong_users() {
        let encoded = |text: &str| format!("Basic {}", base64::encode_padded(text));
        let malformed =
            ["", "Basic", "Basic !", "Bearer dTpw", &encoded("nothing"), &encoded(":p"), &encoded("u:")];
        for header in malformed {
            assert!(BasicCredentials::from_header(header).is_err(), "{header}");
        }
        for user in ["+15550100001", "x", &format!("{ACI}."), &format!("{ACI}.0"), &format!("{ACI}.1.1")] {
            assert_eq!(BasicCredentials::from_text(&format!("{user}:p")).unwrap().device(), None, "{user}");
        }
    }
}
