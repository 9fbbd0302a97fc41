//! What authenticators say: attestation objects, authenticator data, public keys (COSE), and the JSON around them.

#![no_main]

use std::sync::LazyLock;

use auth::second_factor::webauthn::{
    AssertionResponse, AttestationResponse, Credential, Expected, PublicKey, Rejected, RelyingParty,
};
use libfuzzer_sys::fuzz_target;
use protocol::base64;

/// Whom the seeds are for.
static RELYING_PARTY: LazyLock<RelyingParty> = LazyLock::new(|| RelyingParty {
    id: "example.org".to_owned(),
    origins: vec!["https://example.org".to_owned()],
});

const MADE: &[u8] =
    br#"{"type":"webauthn.create","challenge":"BwcH","origin":"https://example.org","crossOrigin":false}"#;

const USED: &str = r#"{"type":"webauthn.get","challenge":"BwcH","origin":"https://example.org"}"#;

fuzz_target!(|data: &[u8]| {
    made(data);
    used(data);
    if let Some(response) =
        std::str::from_utf8(data).ok().and_then(|text| AssertionResponse::from_json(text).ok())
    {
        let _ = response.challenge();
    }
});

fn expected() -> Expected<'static> {
    Expected { relying_party: &RELYING_PARTY, challenge: None, user_verification: false }
}

/// As an attestation object: what passes is a passkey that can be kept.
fn made(data: &[u8]) {
    let response = AttestationResponse { client_data: MADE, attestation_object: data };
    let Ok((credential, _)) = response.verify(expected()) else { return };
    let kept = serde_json::to_vec(&credential).expect("a passkey can be written down");
    assert_eq!(serde_json::from_slice::<Credential>(&kept).expect("and read"), credential);
}

/// As authenticator data: nothing passes, for nobody has signed it.
fn used(data: &[u8]) {
    let json = format!(
        r#"{{"id":"AQ","type":"public-key","response":{{"clientDataJSON":"{}","authenticatorData":"{}","signature":""}}}}"#,
        base64::encode_url(USED),
        base64::encode_url(data),
    );
    let response = AssertionResponse::from_json(&json).expect("the JSON is fine");
    let credential = Credential {
        id: vec![1].try_into().expect("an id"),
        public_key: PublicKey::EdDsa([0; 32]),
        user_verified: false,
    };
    let verified = response.verify(&credential, expected());
    assert!(verified.is_err() && verified != Err(Rejected::WrongCredential));
}
