//! Uploads: the official body, and everything that must be refused before anything is stored.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use keys::{KeyError, KeyUpload, KeyUploadBody, MAX_ONE_TIME_KEYS};
use protocol::keys::EcPublicKey;
use serde_json::{Value, json};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../protocol/tests/vectors/keys.json")).unwrap()
}

fn put_body() -> Value {
    vectors()["putBody"].clone()
}

fn identity() -> EcPublicKey {
    let bytes = hex::decode(vectors()["identityKey_hex"].as_str().unwrap()).unwrap();
    EcPublicKey::try_from(&bytes[..]).unwrap()
}

fn read(body: Value) -> Result<KeyUpload, KeyError> {
    serde_json::from_value::<KeyUploadBody>(body).expect("well-formed").try_into()
}

fn malformed(body: Value) -> bool {
    serde_json::from_value::<KeyUploadBody>(body).is_err()
}

#[test]
fn the_official_body_is_understood_and_verifies() {
    let upload = read(put_body()).unwrap();
    assert_eq!((upload.one_time.len(), upload.kem_one_time.len()), (3, 2));
    assert_eq!(upload.signed.as_ref().unwrap().key_id.get(), 16_777_214);
    assert_eq!(upload.last_resort.as_ref().unwrap().key_id.get(), 2_147_483_647);
    assert!(upload.verify(&identity()).is_ok());
}

#[test]
fn absent_null_and_empty_kinds_are_the_same() {
    let nothing = json!({});
    let nulls = json!({"preKeys": null, "signedPreKey": null, "pqPreKeys": null, "pqLastResortPreKey": null});
    let empty = json!({"preKeys": [], "pqPreKeys": [], "identityKey": "of older clients"});
    for body in [nothing, nulls, empty] {
        assert_eq!(read(body).unwrap(), KeyUpload::default());
    }
}

#[test]
fn any_wrong_signature_spoils_the_upload() {
    let stranger = "mEV3fMGRZDn1WCBwMvWvsOX8uy2dCFxo5cPG6aUqyqwXg4sFhjJkq3bBPF4rEN8jAPNZOGwBzaGiHw3TvR0Uiw";
    for path in ["/signedPreKey", "/pqPreKeys/0", "/pqPreKeys/1", "/pqLastResortPreKey"] {
        let mut body = put_body();
        body.pointer_mut(path).unwrap()["signature"] = stranger.into();
        let upload = read(body).unwrap();
        assert!(matches!(upload.verify(&identity()), Err(KeyError::InvalidSignature)), "{path}");
    }
    let upload = read(put_body()).unwrap();
    let another = upload.one_time[0].public_key;
    assert!(matches!(upload.verify(&another), Err(KeyError::InvalidSignature)));
}

#[test]
fn incomplete_keys_and_ids_out_of_range_are_invalid() {
    let null = Value::Null;
    let changes = [
        ("/preKeys/0", null.clone()),
        ("/pqPreKeys/1", null.clone()),
        ("/preKeys/0/keyId", json!(2_147_483_648_u32)),
        ("/preKeys/0/keyId", json!(-1)),
        ("/preKeys/0/keyId", null.clone()),
        ("/preKeys/0/publicKey", null.clone()),
        ("/signedPreKey/publicKey", null.clone()),
        ("/signedPreKey/signature", null.clone()),
        ("/pqLastResortPreKey/keyId", json!(i64::MAX)),
    ];
    for (path, value) in changes {
        let mut body = put_body();
        *body.pointer_mut(path).unwrap() = value;
        assert!(matches!(read(body), Err(KeyError::InvalidKey)), "{path}");
    }
}

#[test]
fn a_signature_of_another_length_does_not_verify() {
    let mut body = put_body();
    body["signedPreKey"]["signature"] = "AAAA".into();
    assert!(matches!(read(body), Err(KeyError::InvalidSignature)));
}

#[test]
fn what_is_not_a_key_is_malformed() {
    let kem = put_body()["pqPreKeys"][0]["publicKey"].clone();
    let changes = [
        ("/preKeys", json!("text")),
        ("/preKeys/0/publicKey", json!("not base64!")),
        ("/preKeys/0/publicKey", json!("")),
        ("/preKeys/0/publicKey", kem),
        ("/preKeys/0/keyId", json!("10")),
        ("/pqPreKeys/0/publicKey", put_body()["preKeys"][0]["publicKey"].clone()),
        ("/signedPreKey/signature", json!("not base64!")),
    ];
    for (path, value) in changes {
        let mut body = put_body();
        *body.pointer_mut(path).unwrap() = value;
        assert!(malformed(body), "{path}");
    }
}

#[test]
fn the_number_of_keys_is_bounded() {
    let with_keys = |kind: &str, count: usize| {
        let mut body = put_body();
        body[kind] = vec![body[kind][0].clone(); count].into();
        read(body)
    };
    for kind in ["preKeys", "pqPreKeys"] {
        assert!(with_keys(kind, MAX_ONE_TIME_KEYS).is_ok());
        assert!(matches!(with_keys(kind, MAX_ONE_TIME_KEYS + 1), Err(KeyError::TooManyKeys)));
    }
    // The other carrier builds uploads without the JSON form.
    let mut upload = read(put_body()).unwrap();
    upload.one_time = vec![upload.one_time[0].clone(); MAX_ONE_TIME_KEYS + 1];
    assert!(matches!(upload.verify(&identity()), Err(KeyError::TooManyKeys)));
}
