//! `POST /v1/registration`: an account comes to be, or passes to a new device.

use std::{sync::Arc, time::Duration};

use auth::registration::{RegisterError, Registered, RegistrationRequest, RegistrationService};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;

use super::{accounts::identity::AccountIdentityBody, agent::SignalAgent, newcomer::Newcomer};
use crate::{body::JsonBody, reply::Refusal, routes::Routes};

/// Signal's status for clients that are too old.
const CLIENT_TOO_OLD: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => panic!("499 has three digits"),
};

/// Signal's status for accounts that ask for a one-time password.
const ONE_TIME_PASSWORD_REQUIRED: StatusCode = match StatusCode::from_u16(441) {
    Ok(status) => status,
    Err(_) => panic!("441 has three digits"),
};

/// Stands for the credentials of the service that recovers PINs. There is none here, but Signal's Android
/// app cannot read a lock without them.
const NO_CREDENTIALS: Svr2Credentials = Svr2Credentials { username: "none", password: "none" };

pub(super) fn routes() -> Routes {
    Routes::default().post("/v1/registration", register)
}

#[derive(Serialize)]
struct RegisteredBody {
    #[serde(flatten)]
    identity: AccountIdentityBody,
    reregistration: bool,
}

/// Body of 423.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RegistrationLockFailure {
    /// In milliseconds.
    time_remaining: u64,
    svr2_credentials: Svr2Credentials,
}

#[derive(Serialize)]
struct Svr2Credentials {
    username: &'static str,
    password: &'static str,
}

async fn register(
    Newcomer(credentials): Newcomer,
    State(service): State<Arc<RegistrationService>>,
    SignalAgent(agent): SignalAgent,
    JsonBody(request): JsonBody<RegistrationRequest>,
) -> Result<Json<RegisteredBody>, Response> {
    match service.register(&credentials, request, agent).await {
        Ok(registered) => Ok(Json(registered.into())),
        Err(error) => Err(refuse(error)),
    }
}

impl From<Registered> for RegisteredBody {
    fn from(Registered { identity, reregistration }: Registered) -> Self {
        Self { identity: identity.into(), reregistration }
    }
}

fn refuse(error: RegisterError) -> Response {
    match error {
        RegisterError::IncompleteKeys => Refusal::invalid("keys are missing").into_response(),
        RegisterError::NoRecoveryPassword => {
            Refusal::invalid("the recovery password is missing").into_response()
        }
        RegisterError::WrongSignature => Refusal::invalid("a signature does not verify").into_response(),
        RegisterError::ClientTooOld => CLIENT_TOO_OLD.into_response(),
        RegisterError::Mismatch => StatusCode::BAD_REQUEST.into_response(),
        // To the client its session then proves too little, and it begins anew.
        RegisterError::NotVerified | RegisterError::NotAdmitted => StatusCode::UNAUTHORIZED.into_response(),
        RegisterError::WrongRecoveryPassword => StatusCode::FORBIDDEN.into_response(),
        RegisterError::TransferPossible => StatusCode::CONFLICT.into_response(),
        RegisterError::Locked { time_remaining } => locked(time_remaining),
        RegisterError::SecondFactorRequired => ONE_TIME_PASSWORD_REQUIRED.into_response(),
        RegisterError::RateLimited(wait) => Refusal::rate_limited(wait.0).into_response(),
        RegisterError::Storage(error) => Refusal::from(error).into_response(),
    }
}

/// The answer to somebody who does not know the registration lock.
pub(super) fn locked(time_remaining: Duration) -> Response {
    let time_remaining = u64::try_from(time_remaining.as_millis()).unwrap_or(u64::MAX);
    let body = RegistrationLockFailure { time_remaining, svr2_credentials: NO_CREDENTIALS };
    (StatusCode::LOCKED, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use auth::{device::PushService, registration::Evidence, settings::AccountIdentity};
    use axum::body::to_bytes;
    use protocol::{Aci, Pni, base64};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::body::parse;

    /// A key or signature in the base64 of that client.
    fn field(first: u8, len: usize, padded: bool) -> String {
        let mut bytes = vec![7; len];
        bytes[0] = first;
        if padded { base64::encode_padded(bytes) } else { base64::encode_unpadded(bytes) }
    }

    fn keys(prefix: &str, padded: bool) -> String {
        let (key, signature) = (field(5, 33, padded), field(1, 64, padded));
        let kyber = field(8, 1569, padded);
        format!(
            r#""{prefix}IdentityKey":"{key}",
            "{prefix}SignedPreKey":{{"keyId":2147483647,"publicKey":"{key}","signature":"{signature}"}},
            "{prefix}PqLastResortPreKey":{{"keyId":0,"publicKey":"{kyber}","signature":"{signature}"}}"#
        )
    }

    fn read(start: &str, padded: bool) -> RegistrationRequest {
        let text = format!("{{{start},{},{}}}", keys("aci", padded), keys("pni", padded));
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_network_library_is_understood() {
        let request = read(
            r#""sessionId":"AAAA","skipDeviceTransfer":true,"accountAttributes":{"fetchesMessages":true,
            "registrationId":1,"pniRegistrationId":16383,"unidentifiedAccessKey":[7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7],
            "recoveryPassword":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "unrestrictedUnidentifiedAccess":false,"capabilities":{"spqr":true},"discoverableByPhoneNumber":true}"#,
            true,
        );
        assert!(matches!(request.evidence, Evidence::Session(id) if id == "AAAA"));
        assert_eq!(request.attributes.unidentified_access.key.unwrap().as_bytes(), &[7; 16]);
        assert!(request.attributes.recovery_password.is_some() && request.push_token.is_none());

        let woken = read(
            r#""sessionId":"AAAA","skipDeviceTransfer":true,"pushToken":{"apnRegistrationId":"t"},
            "accountAttributes":{"fetchesMessages":false,"registrationId":1,"pniRegistrationId":2,
            "unrestrictedUnidentifiedAccess":true,"capabilities":{}}"#,
            true,
        );
        assert_eq!(woken.push_token.unwrap().service(), PushService::Apns);
    }

    #[test]
    fn the_android_app_is_understood() {
        let request = read(
            r#""sessionId":null,"recoveryPassword":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "gcmToken":{"gcmRegistrationId":"t","webSocketChannel":false},"skipDeviceTransfer":false,
            "requireAtomic":true,"accountAttributes":{"signalingKey":null,"registrationId":1,"voice":true,
            "video":true,"fetchesMessages":false,"registrationLock":null,
            "unidentifiedAccessKey":"BwcHBwcHBwcHBwcHBwcHBw","unrestrictedUnidentifiedAccess":false,
            "capabilities":{"storage":true,"versionedExpirationTimer":true,"attachmentBackfill":true,"spqr":true},
            "discoverableByPhoneNumber":false,"name":null,"pniRegistrationId":2,"recoveryPassword":null}"#,
            false,
        );
        assert!(matches!(request.evidence, Evidence::RecoveryPassword(_)));
        assert_eq!(request.push_token.unwrap().service(), PushService::Fcm);
        assert!(!request.attributes.discoverable && !request.skip_device_transfer);
    }

    #[test]
    fn presage_is_understood() {
        let request = read(
            r#""sessionId":"AAAA","accountAttributes":{"name":"bmFtZQ==","signalingKey":null,"registrationId":1,
            "pniRegistrationId":2,"voice":false,"video":false,"fetchesMessages":true,"pin":null,
            "registrationLock":null,"unidentifiedAccessKey":"BwcHBwcHBwcHBwcHBwcHBw==",
            "unrestrictedUnidentifiedAccess":false,"discoverableByPhoneNumber":true,
            "capabilities":{"spqr":true}},"skipDeviceTransfer":true,"everySignedKeyValid":true,"pushToken":null"#,
            true,
        );
        assert!(request.attributes.name.is_some() && request.push_token.is_none());
    }

    #[test]
    fn the_answer_has_every_documented_key() {
        let (aci, pni) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let identity = AccountIdentity {
            aci: Aci(aci),
            number: Some("+15550100001".parse().unwrap()),
            pni: Some(Pni(pni)),
            storage_capable: false,
        };
        let body = RegisteredBody::from(Registered { identity, reregistration: true });
        let expected = json!({
            "uuid": aci.to_string(),
            "number": "+15550100001",
            "pni": pni.to_string(),
            "usernameHash": null,
            "usernameLinkHandle": null,
            "storageCapable": false,
            "entitlements": {"badges": [], "backup": null},
            "authCredentialSalt": null,
            "reregistration": true,
        });
        assert_eq!(serde_json::to_value(body).unwrap(), expected);
    }

    #[tokio::test]
    async fn refusals_have_the_documented_statuses() {
        let cases = [
            (RegisterError::IncompleteKeys, 422),
            (RegisterError::WrongSignature, 422),
            (RegisterError::NoRecoveryPassword, 422),
            (RegisterError::ClientTooOld, 499),
            (RegisterError::Mismatch, 400),
            (RegisterError::NotVerified, 401),
            (RegisterError::WrongRecoveryPassword, 403),
            (RegisterError::TransferPossible, 409),
            (RegisterError::SecondFactorRequired, 441),
        ];
        for (error, status) in cases {
            assert_eq!(refuse(error).status().as_u16(), status);
        }
        let locked = refuse(RegisterError::Locked { time_remaining: Duration::from_millis(1234) });
        assert_eq!(locked.status().as_u16(), 423);
        let body: Value = serde_json::from_slice(&to_bytes(locked.into_body(), 1024).await.unwrap()).unwrap();
        let credentials = json!({"username": "none", "password": "none"});
        assert_eq!(body, json!({"timeRemaining": 1234, "svr2Credentials": credentials}));
    }
}
