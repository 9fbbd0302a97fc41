//! A registration as a client asks for it.

use protocol::{
    base64,
    keys::{EcPublicKey, EcSignedPreKey, KemSignedPreKey},
};
use serde::Deserialize;

use super::ReceiptPresentation;
use crate::{
    attributes::{AccountAttributes, recovery_password},
    channel::{Tokens, one_channel},
    device::PushToken,
    second_factor::totp::OneTimePassword,
    secrets::RecoveryPassword,
    store::IdentityKeys,
};

/// What a client sends to register, checked as far as it goes without looking anything up. Reading it from
/// JSON fails where Signal's service answers 422.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct RegistrationRequest {
    /// What shows that the number is the client's.
    pub evidence: Evidence,
    /// What the client says about itself and the account.
    pub attributes: AccountAttributes,
    /// The person does not want to move data over from the present primary.
    pub skip_device_transfer: bool,
    /// Keys under the ACI.
    pub aci_keys: IdentityKeys,
    /// Keys under the PNI; present exactly when the attributes have a registration id for it.
    pub pni_keys: Option<IdentityKeys>,
    /// Where a push reaches the device; present exactly when it does not fetch messages by itself.
    pub push_token: Option<PushToken>,
    /// The one-time password of an account that asks for one.
    pub one_time_password: Option<OneTimePassword>,
}

/// What shows that a number is the client's.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// The id of a verified session.
    Session(String),
    /// The recovery password of the number.
    RecoveryPassword(RecoveryPassword),
    /// What proves a receipt, for an account without a number.
    Receipt(ReceiptPresentation),
}

/// The request as the JSON has it. Fields of older clients are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unchecked {
    session_id: Option<String>,
    recovery_password: Option<String>,
    receipt_credential_presentation: Option<String>,
    account_attributes: AccountAttributes,
    skip_device_transfer: bool,
    aci_identity_key: EcPublicKey,
    aci_signed_pre_key: EcSignedPreKey,
    aci_pq_last_resort_pre_key: KemSignedPreKey,
    pni_identity_key: Option<EcPublicKey>,
    pni_signed_pre_key: Option<EcSignedPreKey>,
    pni_pq_last_resort_pre_key: Option<KemSignedPreKey>,
    apn_token: Option<Tokens>,
    gcm_token: Option<Tokens>,
    /// What Signal's network library calls either of the two.
    push_token: Option<Tokens>,
    totp: Option<u32>,
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRequest(pub(crate) &'static str);

impl TryFrom<Unchecked> for RegistrationRequest {
    type Error = InvalidRequest;

    fn try_from(raw: Unchecked) -> Result<Self, InvalidRequest> {
        let push_token = one_channel(
            raw.account_attributes.fetches_messages,
            [raw.apn_token, raw.gcm_token, raw.push_token],
        )?;
        let pni_registration_id = raw.account_attributes.pni_registration_id;
        let pni = (
            raw.pni_identity_key,
            raw.pni_signed_pre_key,
            raw.pni_pq_last_resort_pre_key,
            pni_registration_id,
        );
        let pni_keys = match pni {
            (Some(identity_key), Some(signed_pre_key), Some(last_resort_pre_key), Some(_)) => {
                Some(IdentityKeys { identity_key, signed_pre_key, last_resort_pre_key })
            }
            (None, None, None, None) => None,
            _ => return Err(InvalidRequest("all of the PNI's keys, or none")),
        };
        Ok(Self {
            evidence: one_evidence(
                raw.session_id,
                raw.recovery_password,
                raw.receipt_credential_presentation,
            )?,
            attributes: raw.account_attributes,
            skip_device_transfer: raw.skip_device_transfer,
            aci_keys: IdentityKeys {
                identity_key: raw.aci_identity_key,
                signed_pre_key: raw.aci_signed_pre_key,
                last_resort_pre_key: raw.aci_pq_last_resort_pre_key,
            },
            pni_keys,
            push_token,
            one_time_password: raw.totp.map(OneTimePassword::from_number),
        })
    }
}

fn one_evidence(
    session: Option<String>,
    password: Option<String>,
    receipt: Option<String>,
) -> Result<Evidence, InvalidRequest> {
    let password = password.filter(|text| !text.is_empty());
    let receipt = receipt.filter(|text| !text.is_empty());
    match (session.filter(|text| !text.is_empty()), password, receipt) {
        (Some(session), None, None) => Ok(Evidence::Session(session)),
        (None, Some(password), None) => recovery_password(&password)
            .map(Evidence::RecoveryPassword)
            .map_err(|_| InvalidRequest("a recovery password has 32 bytes")),
        (None, None, Some(receipt)) => base64::decode_lenient(&receipt)
            .map(|bytes| Evidence::Receipt(ReceiptPresentation(bytes)))
            .ok_or(InvalidRequest("a presentation is base64")),
        _ => Err(InvalidRequest("exactly one proof of the number")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::device::PushService;

    fn body(changes: &Value) -> Value {
        let key = |first: u8, len: usize| {
            let mut bytes = vec![7; len];
            bytes[0] = first;
            base64::encode_padded(bytes)
        };
        let signature = key(1, 64);
        let signed = json!({"keyId": 1, "publicKey": key(5, 33), "signature": signature});
        let last_resort = json!({"keyId": 2, "publicKey": key(8, 1569), "signature": signature});
        let mut body = json!({
            "sessionId": "abc",
            "accountAttributes": {
                "fetchesMessages": true, "registrationId": 1, "pniRegistrationId": 2,
                "unrestrictedUnidentifiedAccess": true,
            },
            "skipDeviceTransfer": true,
            "aciIdentityKey": key(5, 33), "aciSignedPreKey": signed, "aciPqLastResortPreKey": last_resort,
            "pniIdentityKey": key(5, 33), "pniSignedPreKey": signed, "pniPqLastResortPreKey": last_resort,
        });
        for (pointer, value) in changes.as_object().unwrap() {
            match pointer.strip_prefix("attributes.") {
                Some(name) => body["accountAttributes"][name] = value.clone(),
                None => body[pointer] = value.clone(),
            }
        }
        body
    }

    fn read(changes: &Value) -> Result<RegistrationRequest, serde_json::Error> {
        serde_json::from_value(body(changes))
    }

    #[test]
    fn exactly_one_proof() {
        let password = base64::encode_padded([9; 32]);
        assert!(matches!(read(&json!({})).unwrap().evidence, Evidence::Session(id) if id == "abc"));
        let by_password = read(&json!({"sessionId": null, "recoveryPassword": password})).unwrap();
        assert!(matches!(by_password.evidence, Evidence::RecoveryPassword(_)));
        let by_receipt = read(&json!({"sessionId": null, "receiptCredentialPresentation": "AA=="})).unwrap();
        assert!(matches!(by_receipt.evidence, Evidence::Receipt(ReceiptPresentation(bytes)) if bytes == [0]));
        assert!(read(&json!({"sessionId": null, "receiptCredentialPresentation": "not base64!"})).is_err());
        assert!(read(&json!({"sessionId": null})).is_err());
        assert!(read(&json!({"recoveryPassword": password})).is_err());
        assert!(read(&json!({"sessionId": null, "recoveryPassword": "AAAA"})).is_err());
    }

    #[test]
    fn a_one_time_password_is_a_number() {
        assert_eq!(read(&json!({"totp": 123})).unwrap().one_time_password.unwrap().number(), 123);
        assert!(read(&json!({"totp": null})).unwrap().one_time_password.is_none());
        for wrong in [json!(-1), json!("123456"), json!(1.5)] {
            assert!(read(&json!({ "totp": wrong })).is_err());
        }
    }

    #[test]
    fn all_of_the_pni_or_none() {
        let none = json!({
            "pniIdentityKey": null, "pniSignedPreKey": null, "pniPqLastResortPreKey": null,
            "attributes.pniRegistrationId": null,
        });
        assert!(read(&none).unwrap().pni_keys.is_none());
        for missing in none.as_object().unwrap().keys() {
            assert!(read(&json!({ missing: null })).is_err(), "{missing}");
        }
    }

    #[test]
    fn exactly_one_way_for_messages_under_any_of_its_names() {
        for (name, token, service) in [
            ("apnToken", "apnRegistrationId", PushService::Apns),
            ("gcmToken", "gcmRegistrationId", PushService::Fcm),
            ("pushToken", "apnRegistrationId", PushService::Apns),
            ("pushToken", "gcmRegistrationId", PushService::Fcm),
        ] {
            let token = json!({ token: "t" });
            let read_token =
                read(&json!({ name: token, "attributes.fetchesMessages": false })).unwrap().push_token;
            assert_eq!(read_token.unwrap().service(), service);
            assert!(read(&json!({ name: token })).is_err(), "and fetching by itself");
        }
        assert!(read(&json!({"attributes.fetchesMessages": false})).is_err());
    }

    #[test]
    fn what_is_required_is_required() {
        for name in [
            "accountAttributes",
            "skipDeviceTransfer",
            "aciIdentityKey",
            "aciSignedPreKey",
            "aciPqLastResortPreKey",
        ] {
            let mut body = body(&json!({}));
            body.as_object_mut().unwrap().remove(name);
            assert!(serde_json::from_value::<RegistrationRequest>(body).is_err(), "{name}");
        }
    }
}
