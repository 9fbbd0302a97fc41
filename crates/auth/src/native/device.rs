//! What a device says about itself when it logs in.

use protocol::RegistrationId;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::secrets::debug_without_content;

/// A device as it introduces itself, whichever way it comes in.
#[derive(Clone, Debug)]
pub struct DeviceClaim {
    /// By what the app knows itself again. One that the account does not know yet is another device.
    pub identifier: DeviceIdentifier,
    /// What the device is called, if it is new.
    pub label: Option<DeviceLabel>,
    /// The device's registration id, if it is new; one is drawn for a client that has none yet.
    pub registration_id: Option<RegistrationId>,
}

/// By what an app knows itself again: text that it draws once for each installation and keeps to itself. Who brings
/// it logs in as the same device, and is not kept waiting by what strangers do.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DeviceIdentifier(String);

impl DeviceIdentifier {
    /// Longest identifier in bytes.
    pub const MAX_LEN: usize = 255;

    /// The identifier of that text; nothing if it is empty or too long.
    pub fn new(text: String) -> Option<Self> {
        (1..=Self::MAX_LEN).contains(&text.len()).then_some(Self(text))
    }

    /// What it is known by.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// What a person calls a device: text for the account's own eyes.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct DeviceLabel(String);

impl DeviceLabel {
    /// Longest label in bytes.
    pub const MAX_LEN: usize = 225;

    /// The label of that text; nothing if it is empty, too long, or has control characters.
    pub fn new(text: String) -> Option<Self> {
        let fine = (1..=Self::MAX_LEN).contains(&text.len()) && !text.chars().any(char::is_control);
        fine.then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

debug_without_content!(DeviceIdentifier, DeviceLabel);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_and_labels_are_bounded() {
        assert!(DeviceIdentifier::new(String::new()).is_none());
        assert!(DeviceIdentifier::new("x".repeat(255)).is_some());
        assert!(DeviceIdentifier::new("x".repeat(256)).is_none());
        assert!(DeviceLabel::new("Anna's phone".to_owned()).is_some());
        assert!(DeviceLabel::new("two\nlines".to_owned()).is_none());
        assert!(DeviceLabel::new("x".repeat(226)).is_none());
    }
}
