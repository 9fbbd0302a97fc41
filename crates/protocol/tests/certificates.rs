//! Server and sender certificates against the official validator's verdicts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use protocol::{
    PhoneNumber,
    ambient::{Entropy, SystemEntropy, Timestamp},
    base64,
    certificate::{SenderCertificate, SenderCertificateFields, ServerCertificate},
    keys::EcPublicKey,
    xeddsa::PrivateKey,
};
use serde_json::Value;

/// A test signer that the official client has built in and this server does not know.
const BUILT_IN_SIGNER: &str = "built-in test signer id 0x7357C357 (root = all-zero private key)";

/// Gives the bytes that a vector was made with.
struct Fixed(Vec<u8>);

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0);
    }
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/sender-certificates.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn private(name: &str) -> PrivateKey {
    PrivateKey::from_bytes(bytes(&vectors()["keys"][name]["private_hex"]).try_into().unwrap())
}

fn public(name: &str) -> EcPublicKey {
    EcPublicKey::try_from(&bytes(&vectors()["keys"][name]["public_hex"])[..]).unwrap()
}

#[test]
fn the_server_certificate_is_byte_for_byte_the_official_one() {
    let vector = &vectors()["serverCertificate"];
    let entropy = Fixed(bytes(&vector["xeddsaRandom_Z_hex"]));
    let issued = ServerCertificate::issue(7, &public("serverSigningKey"), &private("trustRoot"), &entropy);
    assert_eq!(issued.as_bytes(), bytes(&vector["serialized_hex"]));

    let read = ServerCertificate::from_bytes(issued.as_bytes()).unwrap();
    assert_eq!((read.id(), read.key()), (7, &public("serverSigningKey")));
    assert_eq!(read.as_bytes(), issued.as_bytes());
    assert!(read.verify(&public("trustRoot")));
    assert!(!read.verify(&public("otherTrustRoot")));
}

#[test]
fn sender_certificates_are_judged_as_the_official_validator_does() {
    let file = vectors();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let serialized = base64::decode_lenient(case["senderCertificate_b64"].as_str().unwrap()).unwrap();
        let expected = &case["expected"];
        let Ok(certificate) = SenderCertificate::from_bytes(&serialized) else {
            assert!(expected.get("error").is_some(), "{name}");
            continue;
        };
        assert_eq!(certificate.uuid.to_string(), expected["uuid"].as_str().unwrap(), "{name}");
        assert_eq!(certificate.e164.as_ref().map(PhoneNumber::as_str), expected["e164"].as_str(), "{name}");
        assert_eq!(u64::from(certificate.device.get()), expected["dev"].as_u64().unwrap(), "{name}");
        assert_eq!(certificate.expires.as_millis(), expected["exp"].as_u64().unwrap(), "{name}");
        assert_eq!(certificate.identity_key.as_bytes()[..], bytes(&expected["key"]), "{name}");

        let at = Timestamp::from_millis(case["validationTimeMillis"].as_u64().unwrap());
        let verdict = certificate.verify(&public(case["trustRoot"].as_str().unwrap()), at);
        let official = expected["valid"].as_bool().unwrap();
        assert_eq!(verdict, official && name != BUILT_IN_SIGNER, "{name}");
    }
}

#[test]
fn issued_sender_certificates_say_what_the_official_ones_say() {
    let file = vectors();
    let signer =
        ServerCertificate::issue(7, &public("serverSigningKey"), &private("trustRoot"), &SystemEntropy);
    let e164 = file["sender"]["e164"].as_str().unwrap().parse().unwrap();
    for (case, e164) in [(&file["cases"][0], Some(&e164)), (&file["cases"][1], None)] {
        let fields = SenderCertificateFields {
            e164,
            uuid: file["sender"]["aci"].as_str().unwrap().parse().unwrap(),
            device: 2.try_into().unwrap(),
            expires: Timestamp::from_millis(1_893_456_000_000),
            identity_key: &public("senderIdentity"),
        };
        let issued = SenderCertificate::issue(fields, &signer, &private("serverSigningKey"), &SystemEntropy);

        // All but the two random signatures: the signer's, embedded, and the certificate's own, at the end.
        let official = base64::decode_lenient(case["senderCertificate_b64"].as_str().unwrap()).unwrap();
        let signer_signature = bytes(&file["serverCertificate"]["signature_hex"]);
        let at = official.windows(64).position(|window| window == signer_signature).unwrap();
        assert_eq!(issued.len(), official.len());
        assert_eq!(issued[..at], official[..at]);
        assert_eq!(issued[at + 64..issued.len() - 64], official[at + 64..official.len() - 64]);

        let certificate = SenderCertificate::from_bytes(&issued).unwrap();
        assert!(certificate.verify(&public("trustRoot"), Timestamp::from_millis(1_893_456_000_000)));
        assert!(!certificate.verify(&public("trustRoot"), Timestamp::from_millis(1_893_456_000_001)));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
        let _ = SenderCertificate::from_bytes(&bytes);
        let _ = ServerCertificate::from_bytes(&bytes);
    }

    #[test]
    fn a_damaged_certificate_is_not_believed(at: prop::sample::Index, bit in 0_u8..8) {
        let file = vectors();
        let case = &file["cases"][0];
        let mut bytes = base64::decode_lenient(case["senderCertificate_b64"].as_str().unwrap()).unwrap();
        *at.get_mut(&mut bytes) ^= 1_u8 << bit;
        let verdict = SenderCertificate::from_bytes(&bytes).is_ok_and(|certificate| {
            certificate.verify(&public("trustRoot"), Timestamp::from_millis(1_800_000_000_000))
        });
        prop_assert!(!verdict);
    }
}
