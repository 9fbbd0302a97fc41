//! What a device says about itself, in the bodies of every way to log in.

use auth::native::{DeviceClaim, DeviceIdentifier, DeviceLabel};
use protocol::RegistrationId;
use serde::Deserialize;
use utoipa::ToSchema;

use super::problem::{Code, Problem};

/// The device that is to be logged in.
#[derive(Deserialize, ToSchema)]
#[schema(as = DeviceClaim)]
pub(super) struct DeviceFields {
    /// What the app draws once for each installation and keeps to itself, such as a random UUID. That of the registration
    /// or of an earlier log-in, to be the same device; another, to be another.
    #[schema(example = "0f6a7c1e-55d0-4f0e-9d7e-0d0c4f9d3c11")]
    device_identifier: String,
    /// What the person calls the device, if it is new.
    device_name: Option<String>,
    /// 1 to 16383, if the device is new; drawn by the server if the app has none yet.
    #[schema(value_type = Option<u16>)]
    registration_id: Option<RegistrationId>,
}

impl TryFrom<DeviceFields> for DeviceClaim {
    type Error = Problem;

    fn try_from(fields: DeviceFields) -> Result<Self, Problem> {
        let invalid = Problem::of(Code::InvalidBody);
        let DeviceFields { device_identifier, device_name, registration_id } = fields;
        Ok(Self {
            identifier: DeviceIdentifier::new(device_identifier).ok_or_else(|| invalid.clone())?,
            label: device_name.map(|name| DeviceLabel::new(name).ok_or(invalid)).transpose()?,
            registration_id,
        })
    }
}
