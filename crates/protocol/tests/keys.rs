//! Keys and signatures against the official client's own results.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use protocol::{
    AccessKey,
    ambient::{Entropy, SystemEntropy},
    base64,
    keys::{EcPreKey, EcPublicKey, EcSignedPreKey, KemSignedPreKey, Signature, check_digest},
    xeddsa::{self, PrivateKey},
};
use serde_json::Value;

/// Gives the bytes that a vector was made with.
struct Fixed(Vec<u8>);

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0);
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn verifies(public: &EcPublicKey, message: &[u8], signature: &[u8]) -> bool {
    Signature::try_from(signature).is_ok_and(|signature| xeddsa::verify(public, message, &signature))
}

#[test]
fn xeddsa_agrees_with_the_official_verifier() {
    let file: Value = serde_json::from_str(include_str!("vectors/xeddsa.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 12);
    for vector in vectors {
        let name = &vector["name"];
        let private = PrivateKey::from_bytes(bytes(&vector["private_hex"]).try_into().unwrap());
        let public = private.public_key();
        assert_eq!(public.as_bytes()[..], bytes(&vector["publicKey_hex"]), "{name}");

        let message = bytes(&vector["message_hex"]);
        let signature = private.sign(&message, &Fixed(bytes(&vector["Z_hex"])));
        assert_eq!(signature.as_bytes()[..], bytes(&vector["signature_hex"]), "{name}");
        assert!(xeddsa::verify(&public, &message, &signature), "{name}");

        for variant in vector["variants"].as_array().unwrap() {
            let message = variant.get("message_hex").map_or_else(|| message.clone(), bytes);
            let verdict = verifies(&public, &message, &bytes(&variant["signature_hex"]));
            assert_eq!(verdict, variant["verifies"].as_bool().unwrap(), "{name}, {}", variant["name"]);
        }
    }
}

#[test]
fn a_key_without_edwards_point_verifies_nothing() {
    // u = −1 has no counterpart on the Edwards curve.
    let minus_one =
        hex::decode("05ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f").unwrap();
    assert!(!verifies(&EcPublicKey::try_from(&minus_one[..]).unwrap(), b"", &[0; 64]));
}

#[test]
fn another_keys_signature_is_refused() {
    let [one, other] = [0; 2].map(|_| PrivateKey::generate(&SystemEntropy));
    let signature = one.sign(b"message", &SystemEntropy);
    assert!(xeddsa::verify(&one.public_key(), b"message", &signature));
    assert!(!xeddsa::verify(&other.public_key(), b"message", &signature));
}

#[test]
fn private_keys_survive_storage_and_stay_out_of_debug() {
    let key = PrivateKey::generate(&SystemEntropy);
    let again = PrivateKey::from_bytes(*key.to_bytes());
    assert_eq!(again.public_key(), key.public_key());
    assert_eq!(format!("{key:?}"), "PrivateKey(…)");
}

#[test]
fn uploaded_keys_are_read_verified_and_written_as_officially() {
    let file: Value = serde_json::from_str(include_str!("vectors/keys.json")).unwrap();
    let identity = EcPublicKey::try_from(&bytes(&file["identityKey_hex"])[..]).unwrap();
    let body = &file["putBody"];

    let one_time: Vec<EcPreKey> = serde_json::from_value(body["preKeys"].clone()).unwrap();
    assert_eq!(one_time.len(), 3);
    let signed: EcSignedPreKey = serde_json::from_value(body["signedPreKey"].clone()).unwrap();
    let last_resort: KemSignedPreKey = serde_json::from_value(body["pqLastResortPreKey"].clone()).unwrap();
    let kem: Vec<KemSignedPreKey> = serde_json::from_value(body["pqPreKeys"].clone()).unwrap();
    assert!(signed.verify(&identity) && last_resort.verify(&identity));
    assert!(kem.iter().all(|key| key.verify(&identity)));
    let of_another = EcSignedPreKey { public_key: one_time[0].public_key, ..signed.clone() };
    assert!(!of_another.verify(&identity));

    let fetched = &file["firstFetchResponse"];
    assert_eq!(serde_json::to_value(identity).unwrap(), fetched["identityKey"]);
    let device = &fetched["devices"][0];
    assert_eq!(serde_json::to_value(&signed).unwrap(), as_served(&device["signedPreKey"]));
    assert_eq!(serde_json::to_value(&one_time[0]).unwrap(), device["preKey"]);
    assert_eq!(serde_json::to_value(&kem[0]).unwrap(), as_served(&device["pqPreKey"]));
    let exhausted = &file["exhaustedFetchResponse"]["devices"][0];
    assert_eq!(serde_json::to_value(&last_resort).unwrap(), as_served(&exhausted["pqPreKey"]));

    let digest = check_digest(&identity, &signed, &last_resort);
    assert_eq!(digest[..], bytes(&file["check"]["digest_hex"]));
}

/// The file repeats the padding that the uploading client chose; the server writes signatures without.
fn as_served(key: &Value) -> Value {
    let mut key = key.clone();
    key["signature"] = key["signature"].as_str().unwrap().trim_end_matches('=').into();
    key
}

#[test]
fn access_keys_have_the_official_fingerprints() {
    let file: Value = serde_json::from_str(include_str!("vectors/access-keys.json")).unwrap();
    for account in file["accounts"].as_array().unwrap() {
        let key: AccessKey = serde_json::from_value(account["header"].clone()).unwrap();
        assert_eq!(key.as_bytes()[..], bytes(&account["accessKey_hex"]));
        assert_eq!(base64::encode_padded(key.fingerprint()), account["verifier_b64"].as_str().unwrap());
    }
}
