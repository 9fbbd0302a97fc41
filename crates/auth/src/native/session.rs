//! Sessions: who is logged in where.

use std::{fmt, str::FromStr, time::Duration};

use protocol::{
    DeviceId, RegistrationId,
    ambient::{Entropy, Timestamp},
    base64,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use super::{
    device::DeviceLabel,
    refresh::{FamilyId, TokenHash},
};
use crate::service::Authenticated;

/// Names a session. It is in access tokens and shown to its owner: no secret, and of no use by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; Self::LEN]);

impl SessionId {
    /// Bytes of an id.
    pub const LEN: usize = 16;

    /// A new one.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy.bytes())
    }

    /// The id of those bytes; nothing if they are too many or too few.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The stored form.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// That is not the id of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is not the id of a session")]
pub struct InvalidSessionId;

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::encode_url(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        // One way to write each.
        let id = base64::decode_url_lenient(text).and_then(|bytes| Self::from_bytes(&bytes));
        id.filter(|id| id.to_string() == text).ok_or(InvalidSessionId)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How long sessions last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// How long a refresh token is good for that is not used.
    pub idle: Duration,
    /// How long a session lasts at most, however often it is refreshed.
    pub longest: Duration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self { idle: Duration::from_hours(30 * 24), longest: Duration::from_hours(365 * 24) }
    }
}

/// A session as it begins.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// What all its refresh tokens have in common.
    pub family: FamilyId,
    /// By what the first of them is known.
    pub token: TokenHash,
    /// The present moment.
    pub at: Timestamp,
    /// When it is over unless it is refreshed.
    pub expires: Timestamp,
    /// When it is over in any case.
    pub ends: Timestamp,
}

/// What is asked of a session for every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveSession {
    /// The device.
    pub device: Authenticated,
    /// When the session is over unless it is refreshed.
    pub expires: Timestamp,
    /// The device has not published keys yet.
    pub keyless: bool,
}

/// A session as its owner sees it.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// Its device.
    pub device_id: DeviceId,
    /// What the device is called.
    pub label: Option<DeviceLabel>,
    /// When somebody logged in.
    pub created: Timestamp,
    /// When it was last refreshed.
    pub last_used: Timestamp,
    /// When it is over unless it is refreshed.
    pub expires: Timestamp,
}

/// A native device that has shown an access token of a session that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The device.
    pub device: Authenticated,
    /// Its session.
    pub session: SessionId,
    /// When the session is over unless it is refreshed.
    pub expires: Timestamp,
    /// The device has not published keys yet.
    pub keyless: bool,
}

/// What a client goes on with.
#[derive(Clone)]
pub struct Tokens {
    /// Shown with every request.
    pub access: Zeroizing<String>,
    /// How long that is good for.
    pub access_lifetime: Duration,
    /// Traded in for the next two.
    pub refresh: Zeroizing<String>,
    /// How long that is good for if it is not used.
    pub refresh_lifetime: Duration,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

/// Somebody is logged in.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// The device.
    pub device: Authenticated,
    /// The device's registration id.
    pub registration_id: RegistrationId,
    /// The session.
    pub session: SessionId,
    /// What to go on with.
    pub tokens: Tokens,
}

impl LiveSession {
    pub(super) fn bearer(self, session: SessionId) -> Bearer {
        let Self { device, expires, keyless } = self;
        Bearer { device, session, expires, keyless }
    }
}

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn an_id_has_one_way_to_be_written() {
        let id = SessionId::random(&SeededEntropy::new(1));
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        for other in ["", "x", &text[1..], &format!("{text}="), &format!("{text}A")] {
            assert!(other.parse::<SessionId>().is_err(), "{other}");
        }
        assert_eq!(serde_json::from_str::<SessionId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }
}
