//! What a new phone tells the old one: how the account is going to be restored.

use std::fmt;

use protocol::base64;
use serde::{Deserialize, Serialize};

/// Most bytes of what a transfer from device to device begins with.
const BOOTSTRAP_LEN_MAX: usize = 4096;

/// What both phones know the restoring by: text of at most 64 characters that they have chosen. Whoever knows it
/// may read and write what is left under it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RestoreToken(Box<str>);

impl RestoreToken {
    /// Longest token, in characters.
    pub const LEN_MAX: usize = 64;

    /// The token of that text; nothing if it is empty or too long.
    pub fn new(text: &str) -> Option<Self> {
        (1..=Self::LEN_MAX).contains(&text.chars().count()).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the new phone has chosen.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreChoice {
    /// How the account is restored.
    pub method: RestoreMethod,
    /// What a transfer from device to device begins with, in base64: at most 4096 bytes.
    #[serde(deserialize_with = "bootstrap", default)]
    pub device_transfer_bootstrap: Option<String>,
}

/// How an account is restored on a new phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RestoreMethod {
    /// From a backup on a server.
    RemoteBackup,
    /// From a backup on the phone.
    LocalBackup,
    /// From the old phone.
    DeviceTransfer,
    /// Not at all.
    Decline,
}

fn bootstrap<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let fits = base64::decode_lenient(&text).is_some_and(|bytes| bytes.len() <= BOOTSTRAP_LEN_MAX);
    if fits { Ok(Some(text)) } else { Err(serde::de::Error::custom("not base64 of at most 4096 bytes")) }
}

impl fmt::Debug for RestoreToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RestoreToken(…)")
    }
}

impl fmt::Debug for RestoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RestoreChoice(…)")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<RestoreChoice, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn every_method_is_read_and_written_again() {
        for method in ["REMOTE_BACKUP", "LOCAL_BACKUP", "DEVICE_TRANSFER", "DECLINE"] {
            let choice = json!({"method": method, "deviceTransferBootstrap": null});
            assert_eq!(serde_json::to_value(read(choice.clone()).unwrap()).unwrap(), choice);
            read(json!({"method": method})).unwrap();
        }
        let longest = json!({
            "method": "DEVICE_TRANSFER", "deviceTransferBootstrap": base64::encode_padded([7; 4096]),
        });
        assert_eq!(serde_json::to_value(read(longest.clone()).unwrap()).unwrap(), longest);
    }

    #[test]
    fn what_is_none_is_refused() {
        for value in [
            json!({}),
            json!({"method": "ELSE"}),
            json!({"method": "DECLINE", "deviceTransferBootstrap": "not base64!"}),
            json!({"method": "DECLINE", "deviceTransferBootstrap": base64::encode_padded([7; 4097])}),
        ] {
            assert!(read(value.clone()).is_err(), "{value}");
        }
        assert!(RestoreToken::new(&"ä".repeat(64)).is_some());
        assert!(RestoreToken::new(&"a".repeat(65)).is_none() && RestoreToken::new("").is_none());
    }
}
