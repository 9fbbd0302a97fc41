//! Passkeys: the vectors of the standard, an authenticator of another hand, and what must not pass.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use auth::second_factor::webauthn::{
    AssertionResponse, AttestationResponse, Challenge, Credential, Expected, PublicKey, Rejected,
    RelyingParty,
};
use serde_json::{Value, json};
use testkit::{Authenticator, authenticator::Created};

const ORIGIN: &str = "https://example.org";
const CHALLENGE: Challenge = [7; 32];

fn relying_party() -> RelyingParty {
    RelyingParty { id: "example.org".to_owned(), origins: vec![ORIGIN.to_owned()] }
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn challenge(hex: &str) -> Challenge {
    bytes(hex).try_into().unwrap()
}

fn attest(
    created: &Created,
    challenge: Option<&Challenge>,
    verified: bool,
) -> Result<(Credential, u32), Rejected> {
    let relying_party = relying_party();
    let expected = Expected { relying_party: &relying_party, challenge, user_verification: verified };
    let Created { client_data, attestation_object } = created;
    AttestationResponse { client_data, attestation_object }.verify(expected)
}

fn assert_with(
    json: &Value,
    credential: &Credential,
    challenge: &Challenge,
    verified: bool,
) -> Result<u32, Rejected> {
    let relying_party = relying_party();
    let expected =
        Expected { relying_party: &relying_party, challenge: Some(challenge), user_verification: verified };
    AssertionResponse::from_json(&json.to_string())?.verify(credential, expected)
}

fn url(hex: &str) -> String {
    protocol::base64::encode_url(bytes(hex))
}

/// Section 16 of Web Authentication Level 3: an ES256 credential without attestation.
#[test]
fn the_vectors_of_the_standard() {
    let created = Created {
        client_data: bytes(concat!(
            "7b2274797065223a22776562617574686e2e637265617465222c226368616c6c656e6765223a22414d4d50743455787847",
            "5453746e63647134313759447742466938767049612d7077386f4f755657345441222c226f726967696e223a2268747470",
            "733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a",
            "22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c2066",
            "69656c647320696e20746865206675747572652c207375636820617320746869733a20426b5165446a6463544272584269",
            "4177",
            "4a544c453551227d",
        )),
        attestation_object: bytes(concat!(
            "a363666d74646e6f6e656761747453746d74a068617574684461746158a4bfabc37432958b063360d3ad6461c9c4735ae7",
            "f8edd46592a5e0f01452b2e4b559000000008446ccb9ab1db374750b2367ff6f3a1f0020f91f391db4c9b2fde0ea70189c",
            "ba3fb63f579ba6122b33ad94ff3ec330084be4a5010203262001215820afefa16f97ca9b2d23eb86ccb64098d20db90856",
            "062eb249c33a9b672f26df61225820930a56b87a2fca66334b03458abf879717c12cc68ed73290af2e2664796b9220",
        )),
    };
    let made_for = challenge("00c30fb78531c464d2b6771dab8d7b603c01162f2fa486bea70f283ae556e130");
    let (credential, counter) = attest(&created, Some(&made_for), false).unwrap();
    let id = "f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4";
    assert_eq!((credential.id.as_bytes(), counter), (&bytes(id)[..], 0));
    assert!(matches!(credential.public_key, PublicKey::Es256(..)) && !credential.user_verified);
    assert_eq!(attest(&created, Some(&CHALLENGE), false), Err(Rejected::WrongChallenge));
    assert_eq!(attest(&created, Some(&made_for), true), Err(Rejected::NoUser));

    let asked = challenge("39c0e7521417ba54d43e8dc95174f423dee9bf3cd804ff6d65c857c9abf4d408");
    let used = json!({
        "id": url(id), "rawId": url(id), "type": "public-key", "clientExtensionResults": {},
        "response": {
            "authenticatorData": url(
                "bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b51900000000"
            ),
            "clientDataJSON": url(concat!(
                "7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a224f63446e55685158756c54",
                "55506f334a5558543049393770767a7a59425039745a63685879617630314167222c226f726967696e223a22687474",
                "70733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73657d",
            )),
            "signature": url(concat!(
                "3046022100f50a4e2e4409249c4a853ba361282f09841df4dd4547a13a87780218deffcd380221008480ac0f0b9353",
                "8174f575bf11a1dd5d78c6e486013f937295ea13653e331e87",
            )),
        },
    });
    assert_eq!(assert_with(&used, &credential, &asked, false), Ok(0));
    assert_eq!(assert_with(&used, &credential, &made_for, false), Err(Rejected::WrongChallenge));
    assert_eq!(assert_with(&used, &credential, &asked, true), Err(Rejected::NoUser));
}

fn authenticators() -> [Authenticator; 2] {
    [
        Authenticator::es256("example.org", ORIGIN).unwrap(),
        Authenticator::eddsa("example.org", ORIGIN).unwrap(),
    ]
}

#[test]
fn passkeys_are_made_and_used() {
    for mut authenticator in authenticators() {
        let (credential, counter) =
            attest(&authenticator.create(&CHALLENGE), Some(&CHALLENGE), true).unwrap();
        assert!(credential.user_verified && counter == 0);
        let kept: Credential = serde_json::from_slice(&serde_json::to_vec(&credential).unwrap()).unwrap();
        assert_eq!(kept, credential);
        for uses in 1..3 {
            let used = authenticator.get(&CHALLENGE).unwrap();
            assert_eq!(assert_with(&used, &kept, &CHALLENGE, true), Ok(uses));
        }
    }
}

/// One thing that is not as it should be.
type Mistake = (fn(&mut Authenticator), Rejected);

const MISTAKES: [Mistake; 5] = [
    (
        |authenticator| "https://example.org.evil.example".clone_into(&mut authenticator.origin),
        Rejected::WrongOrigin,
    ),
    (|authenticator| "http://example.org".clone_into(&mut authenticator.origin), Rejected::WrongOrigin),
    (
        |authenticator| "evil.example".clone_into(&mut authenticator.relying_party),
        Rejected::WrongRelyingParty,
    ),
    (|authenticator| authenticator.user_present = false, Rejected::NoUser),
    (|authenticator| authenticator.user_verified = false, Rejected::NoUser),
];

#[test]
fn what_is_not_as_it_should_be_does_not_pass() {
    for (spoil, reason) in MISTAKES {
        for mut authenticator in authenticators() {
            let (credential, _) = attest(&authenticator.create(&CHALLENGE), Some(&CHALLENGE), true).unwrap();
            spoil(&mut authenticator);
            let created = authenticator.create(&CHALLENGE);
            assert_eq!(attest(&created, Some(&CHALLENGE), true).unwrap_err(), reason);
            let used = authenticator.get(&CHALLENGE).unwrap();
            assert_eq!(assert_with(&used, &credential, &CHALLENGE, true), Err(reason));
        }
    }
}

#[test]
fn ceremonies_are_not_exchanged() {
    let [mut one, mut other] = authenticators();
    let created = one.create(&CHALLENGE);
    let (credential, _) = attest(&created, Some(&CHALLENGE), true).unwrap();
    let (others, _) = attest(&other.create(&CHALLENGE), Some(&CHALLENGE), true).unwrap();
    let used = one.get(&CHALLENGE).unwrap();
    assert_eq!(assert_with(&used, &others, &CHALLENGE, true), Err(Rejected::WrongCredential));
    let mut claimed = used.clone();
    claimed["rawId"] = other.get(&CHALLENGE).unwrap()["rawId"].clone();
    assert_eq!(assert_with(&claimed, &others, &CHALLENGE, true), Err(Rejected::WrongSignature));

    // The data of a use, handed in as that of a making, and the reverse.
    let mut swapped = used.clone();
    swapped["response"]["clientDataJSON"] = json!(protocol::base64::encode_url(&created.client_data));
    assert_eq!(assert_with(&swapped, &credential, &CHALLENGE, true), Err(Rejected::WrongCeremony));
    let client_data = used["response"]["clientDataJSON"].as_str().unwrap();
    let swapped =
        Created { client_data: testkit::authenticator::from_base64url(client_data).unwrap(), ..created };
    assert_eq!(attest(&swapped, Some(&CHALLENGE), true).unwrap_err(), Rejected::WrongCeremony);
}

#[test]
fn every_bit_of_what_is_signed_counts() {
    for mut authenticator in authenticators() {
        let (credential, _) = attest(&authenticator.create(&CHALLENGE), Some(&CHALLENGE), true).unwrap();
        let used = authenticator.get(&CHALLENGE).unwrap();
        for field in ["authenticatorData", "clientDataJSON", "signature"] {
            let right =
                testkit::authenticator::from_base64url(used["response"][field].as_str().unwrap()).unwrap();
            for place in 0..right.len() {
                let mut wrong = right.clone();
                wrong[place] ^= 1;
                let mut spoiled = used.clone();
                spoiled["response"][field] = json!(protocol::base64::encode_url(wrong));
                assert!(assert_with(&spoiled, &credential, &CHALLENGE, true).is_err(), "{field}[{place}]");
            }
        }
    }
}

#[test]
fn pages_inside_pages_of_others_are_refused() {
    let authenticator = Authenticator::es256("example.org", ORIGIN).unwrap();
    let mut created = authenticator.create(&CHALLENGE);
    let text = String::from_utf8(created.client_data).unwrap();
    created.client_data = text.replace("\"crossOrigin\":false", "\"crossOrigin\":true").into_bytes();
    assert_eq!(attest(&created, Some(&CHALLENGE), true).unwrap_err(), Rejected::WrongOrigin);
}

#[test]
fn what_is_cut_short_or_too_long_is_malformed() {
    let created = Authenticator::es256("example.org", ORIGIN).unwrap().create(&CHALLENGE);
    for len in 0..created.attestation_object.len() {
        let cut =
            Created { attestation_object: created.attestation_object[..len].to_vec(), ..created.clone() };
        assert_eq!(attest(&cut, Some(&CHALLENGE), true).unwrap_err(), Rejected::Malformed, "{len}");
    }
    let mut longer = created.clone();
    longer.attestation_object.push(0);
    assert_eq!(attest(&longer, Some(&CHALLENGE), true).unwrap_err(), Rejected::Malformed);
    assert!(AssertionResponse::from_json("{}").is_err());
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_refused(
        client_data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        attestation_object in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
    ) {
        let created = Created { client_data, attestation_object };
        proptest::prop_assert!(attest(&created, Some(&CHALLENGE), true).is_err());
    }

    #[test]
    fn a_spoiled_attestation_does_not_crash(place in 0usize..200, with in proptest::prelude::any::<u8>()) {
        let mut created = Authenticator::eddsa("example.org", ORIGIN).unwrap().create(&CHALLENGE);
        if let Some(byte) = created.attestation_object.get_mut(place) {
            *byte = with;
        }
        attest(&created, Some(&CHALLENGE), true).ok();
    }
}
