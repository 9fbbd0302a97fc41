use jsonwebtoken::get_current_timestamp;
use protocol::ambient::{ManualClock, SeededEntropy};
use serde_json::{Value, json};
use uuid::Uuid;

use protocol::ambient::Timestamp;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_500);
const DEVICE: DeviceAddress = DeviceAddress { aci: Aci(Uuid::from_u128(7)), device_id: DeviceId::PRIMARY };

fn key(fill: u8) -> SigningKey {
    SigningKey::from_secret(&[fill; 32]).unwrap()
}

fn tokens(keys: KeySet) -> (AccessTokens, ManualClock) {
    let clock = ManualClock::new(NOW);
    let config = AccessTokenConfig {
        issuer: "https://chat.example.org".to_owned(),
        audience: "heliograph".to_owned(),
        lifetime: Duration::from_mins(15),
    };
    (AccessTokens::new(config, keys, Arc::new(clock.clone()), Arc::new(SeededEntropy::new(1))), clock)
}

fn ours() -> (AccessTokens, ManualClock) {
    tokens(KeySet { current: key(1), former: vec![key(2).public().clone()] })
}

fn session() -> SessionId {
    SessionId::random(&SeededEntropy::new(3))
}

/// A token like ours, but for what is changed in header and claims, signed by that key.
fn forged(key: &SigningKey, change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let mut header = json!({ "alg": "EdDSA", "typ": TYPE, "kid": key.public().id() });
    let now = NOW.as_secs();
    let mut claims = json!({
        "iss": "https://chat.example.org", "aud": "heliograph", "sub": DEVICE.aci.to_string(), "device_id": 1,
        "sid": session(), "jti": "x", "iat": now, "nbf": now, "exp": now + 900,
    });
    change(&mut header, &mut claims);
    let part = |value: &Value| base64::encode_url(serde_json::to_vec(value).unwrap());
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key.encoding, Algorithm::EdDSA).unwrap();
    format!("{message}.{signature}")
}

#[test]
fn a_token_speaks_for_its_session_until_it_is_over() {
    let (tokens, clock) = ours();
    let token = tokens.issue(DEVICE, session()).unwrap();
    let bearer = TokenBearer { device: DEVICE, session: session() };
    assert_eq!(tokens.verify(&token), Ok(bearer));
    clock.advance(Duration::from_secs(899));
    assert_eq!(tokens.verify(&token), Ok(bearer));
    clock.advance(Duration::from_secs(1));
    assert_eq!(tokens.verify(&token), Err(TokenRefused::Expired));
    assert!(get_current_timestamp() > NOW.as_secs(), "the system's clock has nothing to say here");
}

#[test]
fn a_forgery_that_changes_nothing_is_a_token() {
    // So that the refusals below are due to what they change.
    assert!(ours().0.verify(&forged(&key(1), |_, _| {})).is_ok());
}

#[test]
fn claims_for_elsewhere_or_another_time_are_refused() {
    let (tokens, _) = ours();
    let refused = |change: fn(&mut Value)| tokens.verify(&forged(&key(1), |_, claims| change(claims)));
    assert_eq!(refused(|c| c["aud"] = json!("another")), Err(TokenRefused::Invalid));
    assert_eq!(refused(|c| c["iss"] = json!("https://evil.example.org")), Err(TokenRefused::Invalid));
    assert_eq!(refused(|c| c["nbf"] = json!(NOW.as_secs() + 1)), Err(TokenRefused::NotYet));
    assert_eq!(refused(|c| c["exp"] = json!(NOW.as_secs())), Err(TokenRefused::Expired));
    for claim in ["iss", "aud", "sub", "sid", "exp", "nbf", "device_id"] {
        let without = tokens.verify(&forged(&key(1), |_, claims| {
            claims.as_object_mut().unwrap().remove(claim);
        }));
        assert_eq!(without, Err(TokenRefused::Invalid), "without {claim}");
    }
}

#[test]
fn other_algorithms_types_and_keys_are_refused() {
    let (tokens, _) = ours();
    let refused = |change: fn(&mut Value)| tokens.verify(&forged(&key(1), |header, _| change(header)));
    for algorithm in ["none", "None", "HS256", "RS256", "ES256"] {
        let token = forged(&key(1), |header, _| header["alg"] = json!(algorithm));
        assert_eq!(tokens.verify(&token), Err(TokenRefused::Invalid), "{algorithm}");
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert_eq!(tokens.verify(&unsigned), Err(TokenRefused::Invalid), "{algorithm}, unsigned");
    }
    assert_eq!(refused(|h| h["typ"] = json!("JWT")), Err(TokenRefused::Invalid));
    assert_eq!(refused(|h| h["kid"] = json!("unknown")), Err(TokenRefused::Invalid));
    assert_eq!(refused(|h| drop(h.as_object_mut().unwrap().remove("kid"))), Err(TokenRefused::Invalid));
    // A key that brings itself along, and one that borrows the name of ours.
    let stranger = key(9);
    assert_eq!(tokens.verify(&forged(&stranger, |_, _| {})), Err(TokenRefused::Invalid));
    let borrowed = forged(&stranger, |header, _| header["kid"] = json!(key(1).public().id()));
    assert_eq!(tokens.verify(&borrowed), Err(TokenRefused::Invalid));
}

#[test]
fn the_public_key_is_no_secret_to_sign_with() {
    // The classic confusion: HS256 with the published key as shared secret.
    let (tokens, _) = ours();
    let key = key(1);
    let header = Header {
        typ: Some(TYPE.to_owned()),
        kid: Some(key.public().id().to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let now = NOW.as_secs();
    let claims = json!({
        "iss": "https://chat.example.org", "aud": "heliograph", "sub": DEVICE.aci.to_string(), "device_id": 1,
        "sid": session(), "jti": "x", "iat": now, "nbf": now, "exp": now + 900,
    });
    let token = encode(&header, &claims, &EncodingKey::from_secret(key.public().as_bytes())).unwrap();
    assert_eq!(tokens.verify(&token), Err(TokenRefused::Invalid));
}

#[test]
fn altered_and_malformed_text_is_refused() {
    let (tokens, _) = ours();
    let token = tokens.issue(DEVICE, session()).unwrap();
    for at in 0..token.len() {
        let mut altered = token.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        assert!(tokens.verify(std::str::from_utf8(&altered).unwrap()).is_err(), "altered at {at}");
    }
    for text in ["", ".", "..", "a.b.c", "é", &"a".repeat(1 << 20), &format!("{token}."), &token[1..]] {
        assert_eq!(tokens.verify(text), Err(TokenRefused::Invalid), "{text:.40}");
    }
}

#[test]
fn former_keys_are_believed_as_long_as_they_are_named() {
    let (tokens, _) = ours();
    let token = tokens.issue(DEVICE, session()).unwrap();
    assert!(tokens.verify(&forged(&key(2), |_, _| {})).is_ok(), "a former key");
    assert!(tokens.replace_keys(KeySet { current: key(3), former: vec![key(1).public().clone()] }));
    assert!(tokens.verify(&token).is_ok(), "overlap");
    assert!(tokens.verify(&tokens.issue(DEVICE, session()).unwrap()).is_ok());
    assert_eq!(tokens.verify(&forged(&key(2), |_, _| {})), Err(TokenRefused::Invalid));
    assert!(!tokens.replace_keys(KeySet { current: key(3), former: vec![] }));
    assert_eq!(tokens.verify(&token), Err(TokenRefused::Invalid));
}

#[test]
fn the_published_keys_are_those_that_are_believed() {
    let (tokens, _) = ours();
    let jwks = serde_json::to_value(tokens.jwks()).unwrap();
    let ids: Vec<_> =
        jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(ids, [key(1).public().id(), key(2).public().id()]);
    assert_eq!(jwks["keys"][0]["x"], base64::encode_url(key(1).public().as_bytes()));
    assert_eq!(jwks["keys"][0].as_object().unwrap().len(), 6, "nothing private is published");
}
