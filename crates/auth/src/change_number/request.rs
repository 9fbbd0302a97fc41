//! A change of number as a client asks for it.

use std::{collections::BTreeMap, fmt};

use protocol::{
    RegistrationId, base64,
    envelope::EnvelopeType,
    keys::{EcPublicKey, EcSignedPreKey, KemSignedPreKey},
};
use serde::Deserialize;

use crate::{
    attributes::recovery_password,
    linking::store::SignedKeys,
    registration::InvalidRequest,
    secrets::{RecoveryPassword, RegistrationLockToken},
};

/// What a client sends to change its account's number, or to give its devices new keys under the number it has.
/// Reading it from JSON fails where Signal's service answers 422.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct ChangeNumberRequest {
    /// The number as the client writes it.
    pub number: String,
    /// What shows that the number is the client's; not needed for the number that the account has.
    pub evidence: Option<NumberEvidence>,
    /// The token of the registration lock under which the number may be.
    pub registration_lock: Option<RegistrationLockToken>,
    /// The new identity key under the PNI.
    pub pni_identity_key: EcPublicKey,
    /// What the other devices are told, encrypted for each of them; no device twice.
    pub messages: Vec<DeviceMessage>,
    /// What each device has under the PNI from now on; by device, as the client named it.
    pub devices: BTreeMap<u8, NewPniPart>,
}

/// What shows that a number is the client's.
#[derive(Clone, Debug)]
pub enum NumberEvidence {
    /// The id of a verified session.
    Session(String),
    /// The recovery password of the number.
    RecoveryPassword(RecoveryPassword),
}

/// A message from the device that changes the number to another of its account.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceMessage {
    /// The device, as the client named it: it may not exist.
    pub device_id: u8,
    /// The registration id under the ACI that the client knows the device by.
    pub registration_id: u32,
    /// How the content is encrypted.
    pub kind: EnvelopeType,
    /// The ciphertext.
    pub content: Vec<u8>,
}

/// What is known of a device's part under the PNI. A part that lacks something is of a device that the client has
/// forgotten there.
#[derive(Clone, Debug, Default)]
pub struct NewPniPart {
    /// Its registration id.
    pub registration_id: Option<RegistrationId>,
    /// Its signed pre-key.
    pub signed_pre_key: Option<EcSignedPreKey>,
    /// The Kyber pre-key that is handed out when there are no others.
    pub last_resort_pre_key: Option<KemSignedPreKey>,
}

impl NewPniPart {
    /// The part, if nothing of it is missing.
    pub fn whole(self) -> Option<(RegistrationId, SignedKeys)> {
        let keys = SignedKeys {
            signed_pre_key: self.signed_pre_key?,
            last_resort_pre_key: self.last_resort_pre_key?,
        };
        Some((self.registration_id?, keys))
    }
}

/// The request as the JSON has it. Fields of older clients are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unchecked {
    session_id: Option<String>,
    recovery_password: Option<String>,
    number: String,
    reglock: Option<String>,
    pni_identity_key: EcPublicKey,
    device_messages: Vec<MessageJson>,
    device_pni_signed_prekeys: BTreeMap<u8, EcSignedPreKey>,
    device_pni_pq_last_resort_prekeys: BTreeMap<u8, KemSignedPreKey>,
    pni_registration_ids: BTreeMap<u8, RegistrationId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageJson {
    #[serde(default)]
    r#type: i32,
    destination_device_id: u8,
    destination_registration_id: u32,
    #[serde(with = "base64::padded")]
    content: Vec<u8>,
}

impl TryFrom<Unchecked> for ChangeNumberRequest {
    type Error = InvalidRequest;

    fn try_from(raw: Unchecked) -> Result<Self, InvalidRequest> {
        let mut devices: BTreeMap<u8, NewPniPart> = BTreeMap::new();
        for (id, key) in raw.device_pni_signed_prekeys {
            devices.entry(id).or_default().signed_pre_key = Some(key);
        }
        for (id, key) in raw.device_pni_pq_last_resort_prekeys {
            devices.entry(id).or_default().last_resort_pre_key = Some(key);
        }
        for (id, registration_id) in raw.pni_registration_ids {
            devices.entry(id).or_default().registration_id = Some(registration_id);
        }
        let present = |text: Option<String>| text.filter(|text| !text.is_empty());
        let registration_lock = present(raw.reglock).map(|text| {
            RegistrationLockToken::from_text(text).ok_or(InvalidRequest("a lock has 64 characters"))
        });
        Ok(Self {
            number: raw.number,
            evidence: at_most_one(present(raw.session_id), present(raw.recovery_password))?,
            registration_lock: registration_lock.transpose()?,
            pni_identity_key: raw.pni_identity_key,
            messages: raw
                .device_messages
                .into_iter()
                .map(DeviceMessage::try_from)
                .collect::<Result<_, _>>()?,
            devices,
        })
    }
}

impl TryFrom<MessageJson> for DeviceMessage {
    type Error = InvalidRequest;

    fn try_from(raw: MessageJson) -> Result<Self, InvalidRequest> {
        let kind = match raw.r#type {
            1 => EnvelopeType::DoubleRatchet,
            3 => EnvelopeType::PreKey,
            8 => EnvelopeType::PlaintextContent,
            _ => return Err(InvalidRequest("devices do not tell one another messages of this type")),
        };
        if raw.content.is_empty() {
            return Err(InvalidRequest("a message has no content"));
        }
        Ok(Self {
            device_id: raw.destination_device_id,
            registration_id: raw.destination_registration_id,
            kind,
            content: raw.content,
        })
    }
}

fn at_most_one(
    session: Option<String>,
    password: Option<String>,
) -> Result<Option<NumberEvidence>, InvalidRequest> {
    match (session, password) {
        (Some(session), None) => Ok(Some(NumberEvidence::Session(session))),
        (None, Some(password)) => recovery_password(&password)
            .map(|password| Some(NumberEvidence::RecoveryPassword(password)))
            .map_err(|_| InvalidRequest("a recovery password has 32 bytes")),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(InvalidRequest("one proof of the number")),
    }
}

impl fmt::Debug for DeviceMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceMessage").field("device_id", &self.device_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body() -> Value {
        let key = |first: u8, len: usize| {
            let mut bytes = vec![7; len];
            bytes[0] = first;
            base64::encode_padded(bytes)
        };
        let signed = json!({"keyId": 1, "publicKey": key(5, 33), "signature": key(1, 64)});
        let last_resort = json!({"keyId": 2, "publicKey": key(8, 1569), "signature": key(1, 64)});
        json!({
            "sessionId": "session", "recoveryPassword": null, "number": "+15550100001", "reglock": null,
            "pniIdentityKey": key(5, 33),
            "deviceMessages": [
                {"type": 1, "destinationDeviceId": 2, "destinationRegistrationId": 3, "content": "AAAA"},
            ],
            "devicePniSignedPrekeys": {"1": signed, "2": signed},
            "devicePniPqLastResortPrekeys": {"1": last_resort, "2": last_resort},
            "pniRegistrationIds": {"1": 4, "2": 5},
        })
    }

    fn read(pointer: &str, value: Value) -> Result<ChangeNumberRequest, serde_json::Error> {
        let mut body = body();
        *body.pointer_mut(pointer).unwrap() = value;
        serde_json::from_value(body)
    }

    #[test]
    fn the_apps_are_understood() {
        let request: ChangeNumberRequest = serde_json::from_value(body()).unwrap();
        assert!(matches!(request.evidence, Some(NumberEvidence::Session(id)) if id == "session"));
        assert_eq!(request.messages[0].kind, EnvelopeType::DoubleRatchet);
        assert_eq!((request.messages[0].device_id, request.messages[0].registration_id), (2, 3));
        assert!(request.registration_lock.is_none());
        assert!(request.devices.into_values().all(|part| part.whole().is_some()));
        assert!(read("/sessionId", Value::Null).unwrap().evidence.is_none());
        assert!(read("/reglock", json!("a".repeat(64))).unwrap().registration_lock.is_some());
    }

    #[test]
    fn a_device_that_one_map_forgets_has_no_whole_part() {
        let key = body()["devicePniSignedPrekeys"]["1"].clone();
        let request = read("/devicePniSignedPrekeys", json!({"1": key})).unwrap();
        let whole: Vec<_> = request.devices.into_values().map(|part| part.whole().is_some()).collect();
        assert_eq!(whole, [true, false]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (pointer, value) in [
            ("/number", json!(1)),
            ("/recoveryPassword", json!(base64::encode_padded([7; 32]))),
            ("/reglock", json!("short")),
            ("/pniIdentityKey", json!("AAAA")),
            ("/deviceMessages", Value::Null),
            ("/deviceMessages/0/type", json!(5)),
            ("/deviceMessages/0/type", json!(6)),
            ("/deviceMessages/0/content", json!("")),
            ("/devicePniSignedPrekeys", Value::Null),
            ("/pniRegistrationIds", json!({"1": 0})),
            ("/pniRegistrationIds", json!({"x": 1})),
        ] {
            assert!(read(pointer, value).is_err(), "{pointer}");
        }
    }
}
