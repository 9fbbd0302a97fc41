//! What a client says about itself and its account when it registers, and again whenever that changes.

use std::{collections::HashMap, fmt};

use protocol::{AccessKey, RegistrationId, UnidentifiedAccess, base64};
use serde::{Deserialize, Deserializer, de};

use crate::{
    capabilities::Capabilities,
    device::DeviceName,
    secrets::{RecoveryPassword, RegistrationLockToken},
};

/// Signal's account attributes, checked. Reading them from JSON fails where Signal's service answers 422.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct AccountAttributes {
    /// Whether the device fetches messages by itself instead of being woken by push.
    pub fetches_messages: bool,
    /// The device's registration id under the ACI.
    pub registration_id: RegistrationId,
    /// The same under the PNI.
    pub pni_registration_id: Option<RegistrationId>,
    /// The device's encrypted name.
    pub name: Option<DeviceName>,
    /// What the device's software can do.
    pub capabilities: Capabilities,
    /// The registration lock; none takes an existing lock away.
    pub registration_lock: Option<RegistrationLockToken>,
    /// Who may send without saying who they are.
    pub unidentified_access: UnidentifiedAccess,
    /// Whether the account may be found by its number.
    pub discoverable: bool,
    /// The password for registering again; none leaves the present one.
    pub recovery_password: Option<RecoveryPassword>,
}

/// The attributes as the JSON has them. Fields of older clients are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unchecked {
    #[serde(default)]
    fetches_messages: bool,
    registration_id: RegistrationId,
    #[serde(default)]
    pni_registration_id: Option<RegistrationId>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    capabilities: Option<HashMap<String, bool>>,
    #[serde(default)]
    registration_lock: Option<String>,
    #[serde(default)]
    unidentified_access_key: Option<KeyBytes>,
    #[serde(default)]
    unrestricted_unidentified_access: bool,
    #[serde(default = "yes")]
    discoverable_by_phone_number: bool,
    #[serde(default)]
    recovery_password: Option<String>,
}

/// A field that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not valid")]
pub struct InvalidAttribute(pub &'static str);

impl TryFrom<Unchecked> for AccountAttributes {
    type Error = InvalidAttribute;

    fn try_from(raw: Unchecked) -> Result<Self, InvalidAttribute> {
        Ok(Self {
            unidentified_access: raw.unidentified_access()?,
            fetches_messages: raw.fetches_messages,
            registration_id: raw.registration_id,
            pni_registration_id: raw.pni_registration_id,
            name: present(raw.name).map(|text| device_name(&text)).transpose()?,
            capabilities: raw.capabilities.as_ref().map(Capabilities::from_names).unwrap_or_default(),
            registration_lock: present(raw.registration_lock)
                .map(|text| {
                    RegistrationLockToken::from_text(text).ok_or(InvalidAttribute("registrationLock"))
                })
                .transpose()?,
            discoverable: raw.discoverable_by_phone_number,
            recovery_password: present(raw.recovery_password)
                .map(|text| recovery_password(&text))
                .transpose()?,
        })
    }
}

impl Unchecked {
    fn unidentified_access(&self) -> Result<UnidentifiedAccess, InvalidAttribute> {
        let invalid = InvalidAttribute("unidentifiedAccessKey");
        let key = match self.unidentified_access_key.as_ref().map_or(&[][..], |key| &key.0) {
            [] => None,
            bytes => Some(AccessKey::try_from(bytes).map_err(|_| invalid)?),
        };
        if key.is_none() && !self.unrestricted_unidentified_access {
            return Err(invalid);
        }
        Ok(UnidentifiedAccess { key, unrestricted: self.unrestricted_unidentified_access })
    }
}

/// Reads a device name from base64 of any padding.
pub fn device_name(text: &str) -> Result<DeviceName, InvalidAttribute> {
    base64::decode_lenient(text).and_then(DeviceName::new).ok_or(InvalidAttribute("name"))
}

/// Reads a recovery password from base64 of any padding.
pub fn recovery_password(text: &str) -> Result<RecoveryPassword, InvalidAttribute> {
    let bytes =
        base64::decode_lenient(text).and_then(|bytes| <[u8; RecoveryPassword::LEN]>::try_from(bytes).ok());
    bytes.map(RecoveryPassword::from).ok_or(InvalidAttribute("recoveryPassword"))
}

/// Clients write nothing as null, as an empty text, or by leaving the field out.
fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn yes() -> bool {
    true
}

/// An access key, of which the network library writes each byte as a number and the apps write base64.
struct KeyBytes(Vec<u8>);

impl<'de> Deserialize<'de> for KeyBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;

        impl<'de> de::Visitor<'de> for EitherForm {
            type Value = KeyBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 text or an array of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<KeyBytes, E> {
                base64::decode_lenient(text).map(KeyBytes).ok_or_else(|| E::custom("not base64"))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<KeyBytes, A::Error> {
                let mut bytes = Vec::with_capacity(AccessKey::LEN);
                while let Some(byte) = items.next_element()? {
                    if bytes.len() == AccessKey::LEN {
                        return Err(de::Error::custom("too many bytes"));
                    }
                    bytes.push(byte);
                }
                Ok(KeyBytes(bytes))
            }
        }

        deserializer.deserialize_any(EitherForm)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(changes: &Value) -> Result<AccountAttributes, serde_json::Error> {
        let mut body = json!({"fetchesMessages": true, "registrationId": 1, "unidentifiedAccessKey": "AAAAAAAAAAAAAAAAAAAAAA=="});
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        serde_json::from_value(body)
    }

    #[test]
    fn the_least_a_client_sends_is_enough() {
        let attributes = read(&json!({})).unwrap();
        assert!(attributes.discoverable && attributes.fetches_messages);
        assert!(attributes.registration_lock.is_none() && attributes.recovery_password.is_none());
        assert!(attributes.name.is_none() && attributes.pni_registration_id.is_none());
    }

    #[test]
    fn both_forms_of_an_access_key_are_read() {
        for key in [json!("BwcHBwcHBwcHBwcHBwcHBw"), json!("BwcHBwcHBwcHBwcHBwcHBw=="), json!(vec![7; 16])] {
            let key = read(&json!({"unidentifiedAccessKey": key})).unwrap().unidentified_access.key;
            assert_eq!(key.unwrap().as_bytes(), &[7; 16]);
        }
    }

    #[test]
    fn access_must_be_said() {
        for nothing in [json!(null), json!(""), json!([])] {
            let said = |unrestricted: bool| {
                read(
                    &json!({"unidentifiedAccessKey": nothing, "unrestrictedUnidentifiedAccess": unrestricted}),
                )
            };
            assert!(said(true).unwrap().unidentified_access.unrestricted);
            assert!(said(false).is_err());
        }
    }

    #[test]
    fn nulls_and_empty_texts_are_nothing() {
        let empty = json!({"name": "", "registrationLock": "", "recoveryPassword": "", "capabilities": null});
        let null = json!({"name": null, "registrationLock": null, "recoveryPassword": null, "pniRegistrationId": null});
        for body in [empty, null] {
            let attributes = read(&body).unwrap();
            assert!(attributes.registration_lock.is_none() && attributes.recovery_password.is_none());
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for (name, value) in [
            ("registrationId", json!(0)),
            ("registrationId", json!(16384)),
            ("pniRegistrationId", json!(0)),
            ("registrationLock", json!("short")),
            ("recoveryPassword", json!("AAAA")),
            ("name", json!(base64::encode_padded([0; 226]))),
            ("name", json!("not base64!")),
            ("unidentifiedAccessKey", json!(vec![256; 16])),
            ("unidentifiedAccessKey", json!(vec![0; 17])),
            ("unidentifiedAccessKey", json!("AAAA")),
        ] {
            assert!(read(&json!({ name: value })).is_err(), "{name}");
        }
    }
}
