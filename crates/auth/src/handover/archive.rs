//! What a primary tells a device that it has just linked: where its history lies.

use std::fmt;

use protocol::{Aci, DeviceId, RegistrationId};
use serde::{Deserialize, Serialize};

/// Longest name of an archive.
const KEY_LEN_MAX: usize = 64;

/// For which device an archive is: an installation of it, so that the next device of the id does not get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArchiveAddress {
    /// Whose device.
    pub aci: Aci,
    /// Which one.
    pub device_id: DeviceId,
    /// Its registration id under the ACI, 0 to 16383 as the primary named it.
    pub registration_id: u16,
}

/// What a primary leaves for a device.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "UncheckedNotice")]
pub struct ArchiveNotice {
    /// For which device.
    pub device_id: DeviceId,
    /// Its registration id, 0 to 16383.
    pub registration_id: u16,
    /// What it is told.
    pub archive: TransferArchive,
}

/// Where a device's history lies, or why it does not.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "UncheckedArchive")]
pub enum TransferArchive {
    /// It was uploaded.
    Uploaded {
        /// Number of the place.
        cdn: i32,
        /// Its name there: base64url, at most 64 characters.
        key: String,
    },
    /// There is none.
    Missing {
        /// What the device is to do.
        error: ArchiveError,
    },
}

/// What a device is to do that gets no history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ArchiveError {
    /// Be linked again.
    RelinkRequested,
    /// Go on without.
    ContinueWithoutUpload,
}

/// The notice as the JSON has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UncheckedNotice {
    destination_device_id: u32,
    destination_device_registration_id: u16,
    transfer_archive: TransferArchive,
}

#[derive(Deserialize)]
struct UncheckedArchive {
    cdn: Option<i32>,
    key: Option<String>,
    error: Option<ArchiveError>,
}

/// What is wrong with a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not valid")]
pub struct InvalidNotice(&'static str);

impl TryFrom<UncheckedNotice> for ArchiveNotice {
    type Error = InvalidNotice;

    fn try_from(raw: UncheckedNotice) -> Result<Self, InvalidNotice> {
        if raw.destination_device_registration_id > RegistrationId::MAX {
            return Err(InvalidNotice("destinationDeviceRegistrationId"));
        }
        Ok(Self {
            device_id: raw
                .destination_device_id
                .try_into()
                .map_err(|_| InvalidNotice("destinationDeviceId"))?,
            registration_id: raw.destination_device_registration_id,
            archive: raw.transfer_archive,
        })
    }
}

impl TryFrom<UncheckedArchive> for TransferArchive {
    type Error = InvalidNotice;

    fn try_from(raw: UncheckedArchive) -> Result<Self, InvalidNotice> {
        match (raw.cdn, raw.key, raw.error) {
            (Some(cdn), Some(key), None) if is_key(&key) => Ok(Self::Uploaded { cdn, key }),
            (None, None, Some(error)) => Ok(Self::Missing { error }),
            _ => Err(InvalidNotice("transferArchive")),
        }
    }
}

fn is_key(text: &str) -> bool {
    let of_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    (1..=KEY_LEN_MAX).contains(&text.len()) && text.bytes().all(of_base64url)
}

// Where somebody's history lies concerns nobody.
impl fmt::Debug for TransferArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransferArchive(…)")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(archive: &Value) -> Result<ArchiveNotice, serde_json::Error> {
        serde_json::from_value(json!({
            "destinationDeviceId": 2, "destinationDeviceRegistrationId": 16383, "transferArchive": archive,
        }))
    }

    #[test]
    fn what_is_read_is_written_again() {
        for archive in [
            json!({"cdn": 3, "key": "A".repeat(64)}),
            json!({"error": "RELINK_REQUESTED"}),
            json!({"error": "CONTINUE_WITHOUT_UPLOAD"}),
        ] {
            assert_eq!(serde_json::to_value(read(&archive).unwrap().archive).unwrap(), archive);
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for archive in [
            json!({}),
            json!(null),
            json!({"cdn": 3}),
            json!({"key": "AAAA"}),
            json!({"cdn": 3, "key": ""}),
            json!({"cdn": 3, "key": "A".repeat(65)}),
            json!({"cdn": 3, "key": "not/url"}),
            json!({"cdn": "3", "key": "AAAA"}),
            json!({"cdn": 3, "key": "AAAA", "error": "RELINK_REQUESTED"}),
            json!({"error": "ELSE"}),
        ] {
            assert!(read(&archive).is_err(), "{archive}");
        }
        for (device, registration) in [(0, 1), (128, 1), (2, 16384), (2, -1)] {
            let notice = json!({
                "destinationDeviceId": device, "destinationDeviceRegistrationId": registration,
                "transferArchive": {"error": "RELINK_REQUESTED"},
            });
            assert!(serde_json::from_value::<ArchiveNotice>(notice).is_err(), "{device} {registration}");
        }
    }
}
