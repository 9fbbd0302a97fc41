//! A new device as it presents itself.

use std::collections::HashMap;

use protocol::{
    RegistrationId,
    keys::{EcSignedPreKey, KemSignedPreKey},
};
use serde::Deserialize;

use super::{LinkCode, store::SignedKeys};
use crate::{
    attributes::device_name,
    capabilities::Capabilities,
    channel::{Tokens, one_channel},
    device::{DeviceName, PushToken},
    registration::InvalidRequest,
};

/// What a device sends to be linked, checked as far as it goes without looking anything up. Reading it from
/// JSON fails where Signal's service answers 422.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct LinkRequest {
    /// The code it was given.
    pub code: LinkCode,
    /// Its registration id under the ACI.
    pub registration_id: RegistrationId,
    /// Keys under the ACI.
    pub aci_keys: SignedKeys,
    /// Its registration id and keys under the PNI.
    pub pni: Option<PniPart>,
    /// Its encrypted name.
    pub name: Option<DeviceName>,
    /// What its software can do, if it says so.
    pub capabilities: Option<Capabilities>,
    /// Where a push reaches it; none if it fetches messages by itself.
    pub push_token: Option<PushToken>,
}

/// What a device brings for the account's phone-number identity.
#[derive(Clone, Debug)]
pub struct PniPart {
    /// Its registration id under the PNI.
    pub registration_id: RegistrationId,
    /// Keys under the PNI.
    pub keys: SignedKeys,
}

/// The request as the JSON has it. Fields of older clients are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unchecked {
    verification_code: String,
    account_attributes: DeviceAttributes,
    aci_signed_pre_key: EcSignedPreKey,
    aci_pq_last_resort_pre_key: KemSignedPreKey,
    pni_signed_pre_key: Option<EcSignedPreKey>,
    pni_pq_last_resort_pre_key: Option<KemSignedPreKey>,
    apn_token: Option<Tokens>,
    gcm_token: Option<Tokens>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeviceAttributes {
    #[serde(default)]
    fetches_messages: bool,
    registration_id: RegistrationId,
    pni_registration_id: Option<RegistrationId>,
    name: Option<String>,
    capabilities: Option<HashMap<String, bool>>,
}

impl TryFrom<Unchecked> for LinkRequest {
    type Error = InvalidRequest;

    fn try_from(raw: Unchecked) -> Result<Self, InvalidRequest> {
        let attributes = raw.account_attributes;
        let pni = (attributes.pni_registration_id, raw.pni_signed_pre_key, raw.pni_pq_last_resort_pre_key);
        let pni = match pni {
            (Some(registration_id), Some(signed_pre_key), Some(last_resort_pre_key)) => {
                Some(PniPart { registration_id, keys: SignedKeys { signed_pre_key, last_resort_pre_key } })
            }
            (None, None, None) => None,
            _ => return Err(InvalidRequest("all that is for the PNI, or none")),
        };
        let name = attributes.name.filter(|text| !text.is_empty());
        Ok(Self {
            code: LinkCode::shown(raw.verification_code),
            registration_id: attributes.registration_id,
            aci_keys: SignedKeys {
                signed_pre_key: raw.aci_signed_pre_key,
                last_resort_pre_key: raw.aci_pq_last_resort_pre_key,
            },
            pni,
            name: name
                .map(|text| device_name(&text))
                .transpose()
                .map_err(|_| InvalidRequest("a device name has 1 to 225 bytes"))?,
            capabilities: attributes.capabilities.as_ref().map(Capabilities::from_names),
            push_token: one_channel(attributes.fetches_messages, [raw.apn_token, raw.gcm_token])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use protocol::base64;
    use serde_json::{Value, json};

    use super::*;
    use crate::{capabilities::Capability, device::PushService};

    fn body() -> Value {
        let key = |first: u8, len: usize| {
            let mut bytes = vec![7; len];
            bytes[0] = first;
            base64::encode_padded(bytes)
        };
        let signed = json!({"keyId": 1, "publicKey": key(5, 33), "signature": key(1, 64)});
        let last_resort = json!({"keyId": 2, "publicKey": key(8, 1569), "signature": key(1, 64)});
        json!({
            "verificationCode": "code",
            "accountAttributes": {
                "fetchesMessages": true, "registrationId": 1, "pniRegistrationId": 2, "name": null,
                "capabilities": {"spqr": true, "deleteSync": true},
            },
            "aciSignedPreKey": signed, "aciPqLastResortPreKey": last_resort,
            "pniSignedPreKey": signed, "pniPqLastResortPreKey": last_resort,
        })
    }

    fn read(pointer: &str, value: Value) -> Result<LinkRequest, serde_json::Error> {
        let mut body = body();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        serde_json::from_value(body)
    }

    #[test]
    fn the_desktop_app_is_understood() {
        let request: LinkRequest = serde_json::from_value(body()).unwrap();
        assert_eq!(request.code.as_str(), "code");
        assert_eq!(request.capabilities, Some([Capability::Spqr].into_iter().collect()));
        assert!(request.pni.is_some() && request.name.is_none() && request.push_token.is_none());
    }

    #[test]
    fn a_device_that_is_woken_says_by_whom() {
        let mut body = body();
        body["accountAttributes"]["fetchesMessages"] = json!(false);
        assert!(serde_json::from_value::<LinkRequest>(body.clone()).is_err());
        body["gcmToken"] = json!({"gcmRegistrationId": "t"});
        let request: LinkRequest = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(request.push_token.unwrap().service(), PushService::Fcm);
        body["apnToken"] = json!({"apnRegistrationId": "t"});
        assert!(serde_json::from_value::<LinkRequest>(body).is_err());
    }

    #[test]
    fn what_is_missing_or_out_of_range_is_refused() {
        for pointer in [
            "/verificationCode",
            "/accountAttributes",
            "/accountAttributes/registrationId",
            "/accountAttributes/pniRegistrationId",
            "/aciSignedPreKey",
            "/aciPqLastResortPreKey",
            "/pniSignedPreKey",
            "/pniPqLastResortPreKey",
        ] {
            assert!(read(pointer, Value::Null).is_err(), "{pointer}");
        }
        for (pointer, value) in [
            ("/accountAttributes/registrationId", json!(16384)),
            ("/accountAttributes/pniRegistrationId", json!(0)),
            ("/accountAttributes/name", json!(base64::encode_padded([0; 226]))),
        ] {
            assert!(read(pointer, value).is_err(), "{pointer}");
        }
        assert_eq!(read("/accountAttributes/capabilities", Value::Null).unwrap().capabilities, None);
    }
}
