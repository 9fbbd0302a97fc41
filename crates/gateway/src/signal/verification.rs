//! `/v1/verification/session`: proving that somebody holds a phone number.
//!
//! Knowing a session's id is holding it, so nobody says who they are here. Credentials are passed over:
//! some apps already send those of the account they are about to register.

use std::sync::Arc;

use auth::{
    device::{self, PushService},
    verification::{
        CodeRequest, CreateSessionError, InvalidSessionId, SessionError, SessionUpdate, SessionView,
        Transport, VerificationService,
    },
};
use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header::ACCEPT_LANGUAGE};
use serde::{Deserialize, Serialize};

use crate::{
    body::JsonBody,
    caller::Anybody,
    reply::{Refusal, TOO_MANY_REQUESTS},
    routes::Routes,
};

/// Signal's status for a code that the provider did not take.
const CODE_NOT_DELIVERED: StatusCode = match StatusCode::from_u16(440) {
    Ok(status) => status,
    Err(_) => panic!("440 has three digits"),
};

pub(super) fn routes() -> Routes {
    Routes::default()
        .post("/v1/verification/session", create)
        .get("/v1/verification/session/{id}", show)
        .patch("/v1/verification/session/{id}", update)
        .post("/v1/verification/session/{id}/code", request_code)
        .put("/v1/verification/session/{id}/code", submit_code)
}

/// The mobile network of the client's SIM card comes along too and is passed over.
#[derive(Deserialize)]
struct CreateRequest {
    number: String,
    #[serde(flatten)]
    push: PushToken,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateRequest {
    captcha: Option<String>,
    push_challenge: Option<String>,
    #[serde(flatten)]
    push: PushToken,
}

/// Where a push challenge can be sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PushToken {
    push_token: Option<String>,
    push_token_type: Option<PushTokenType>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum PushTokenType {
    Apn,
    Fcm,
}

#[derive(Deserialize)]
struct CodeRequestBody {
    transport: Transport,
    client: Option<String>,
}

#[derive(Deserialize)]
struct SubmitRequest {
    code: String,
}

/// Body of 400 for a number that is not in the international form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotNormalized {
    original_number: String,
    normalized_number: String,
}

/// Body of 440.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotDelivered {
    reason: &'static str,
    permanent_failure: bool,
}

impl PushToken {
    fn read(self) -> Result<Option<device::PushToken>, Refusal> {
        let service = self.push_token_type.map(|kind| match kind {
            PushTokenType::Apn => PushService::Apns,
            PushTokenType::Fcm => PushService::Fcm,
        });
        match (service, self.push_token) {
            (None, None) => Ok(None),
            (Some(service), Some(token)) => device::PushToken::new(service, token)
                .map(Some)
                .ok_or(Refusal::invalid("the push token is empty or too long")),
            _ => Err(Refusal::invalid("a push token has a type")),
        }
    }
}

async fn create(
    _: Anybody,
    State(service): State<Arc<VerificationService>>,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<Json<SessionView>, Response> {
    let push_token = request.push.read().map_err(IntoResponse::into_response)?;
    service.create(&request.number, push_token).await.map(Json).map_err(refuse_creation)
}

async fn show(
    _: Anybody,
    State(service): State<Arc<VerificationService>>,
    Path(id): Path<String>,
) -> Result<Json<SessionView>, Response> {
    service.get(&id).await.map(Json).map_err(refuse)
}

async fn update(
    _: Anybody,
    State(service): State<Arc<VerificationService>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<UpdateRequest>,
) -> Result<Json<SessionView>, Response> {
    let push_token = request.push.read().map_err(IntoResponse::into_response)?;
    let update =
        SessionUpdate { captcha: request.captcha, push_challenge: request.push_challenge, push_token };
    service.update(&id, update).await.map(Json).map_err(refuse)
}

async fn request_code(
    _: Anybody,
    State(service): State<Arc<VerificationService>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(CodeRequestBody { transport, client }): JsonBody<CodeRequestBody>,
) -> Result<Json<SessionView>, Response> {
    let languages = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let request = CodeRequest { transport, client, languages };
    service.request_code(&id, request).await.map(Json).map_err(refuse)
}

async fn submit_code(
    _: Anybody,
    State(service): State<Arc<VerificationService>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<SubmitRequest>,
) -> Result<Json<SessionView>, Response> {
    service.submit_code(&id, &request.code).await.map(Json).map_err(refuse)
}

fn refuse_creation(error: CreateSessionError) -> Response {
    match error {
        CreateSessionError::ImpossibleNumber => StatusCode::BAD_REQUEST.into_response(),
        CreateSessionError::NotNormalized { original, normalized } => {
            let body = NotNormalized {
                original_number: original,
                normalized_number: normalized.as_str().to_owned(),
            };
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
        CreateSessionError::RateLimited(wait) => Refusal::rate_limited(wait.0).into_response(),
        CreateSessionError::Storage(error) => Refusal::from(error).into_response(),
    }
}

/// Clients bring their view of the session up to date with every refusal that carries one.
fn refuse(error: SessionError) -> Response {
    let session = |status: StatusCode, session: SessionView| (status, Json(session)).into_response();
    match error {
        SessionError::InvalidId(InvalidSessionId::NotBase64) => {
            Refusal::invalid("not a session id").into_response()
        }
        SessionError::InvalidId(InvalidSessionId::Unusable) | SessionError::Malformed => {
            StatusCode::BAD_REQUEST.into_response()
        }
        SessionError::NotFound => StatusCode::NOT_FOUND.into_response(),
        SessionError::Rejected(view) => session(StatusCode::FORBIDDEN, view),
        SessionError::NotReady(view) => session(StatusCode::CONFLICT, view),
        SessionError::TransportUnavailable(view) => session(StatusCode::IM_A_TEAPOT, view),
        SessionError::NotDelivered { reason, permanent } => {
            let body = NotDelivered { reason: reason.name(), permanent_failure: permanent };
            (CODE_NOT_DELIVERED, Json(body)).into_response()
        }
        SessionError::RateLimited { session: view, retry_after } => {
            let limited =
                retry_after.map_or(Refusal::bare(TOO_MANY_REQUESTS), |wait| Refusal::rate_limited(wait.0));
            let headers = limited.into_response().into_parts().0.headers;
            (TOO_MANY_REQUESTS, headers, Json(view)).into_response()
        }
        SessionError::Unchecked => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        SessionError::CaptchaUnavailable(cause) => {
            tracing::error!(error = &*cause as &dyn std::error::Error, "captchas cannot be judged");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        SessionError::Storage(error) => Refusal::from(error).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use auth::verification::{NotDelivered as Reason, RequestedInformation};
    use axum::body::to_bytes;
    use http::header::RETRY_AFTER;
    use limits::RetryAfter;
    use serde_json::{Value, json};

    use super::*;
    use crate::body::parse;

    fn view() -> SessionView {
        SessionView {
            id: "AAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            next_sms: Some(0),
            next_call: None,
            next_verification_attempt: None,
            allowed_to_request_code: true,
            requested_information: vec![RequestedInformation::Captcha],
            verified: false,
        }
    }

    fn session() -> Value {
        json!({
            "id": "AAAAAAAAAAAAAAAAAAAAAAAA",
            "nextSms": 0,
            "nextCall": null,
            "nextVerificationAttempt": null,
            "allowedToRequestCode": true,
            "requestedInformation": ["captcha"],
            "verified": false,
        })
    }

    async fn read(response: Response) -> (u16, Option<String>, Value) {
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 4096).await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        let wait = parts.headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        (parts.status.as_u16(), wait, body)
    }

    #[test]
    fn bodies_of_clients_are_read() {
        for body in [
            r#"{"number":"+15550100001"}"#,
            r#"{"number":"+15550100001","mcc":"262","mnc":"01"}"#,
            r#"{"number":"+15550100001","pushToken":"t","pushTokenType":"apn"}"#,
            r#"{"number":"+15550100001","pushToken":null,"mcc":null,"mnc":null,"pushTokenType":null}"#,
        ] {
            let request: CreateRequest = parse(body.as_bytes()).unwrap();
            let has_token = body.contains("apn");
            assert_eq!(request.number, "+15550100001");
            assert_eq!(request.push.read().unwrap().is_some(), has_token, "{body}");
        }
        for body in [
            r#"{"captcha":"noop.noop.registration.noop"}"#,
            r#"{"pushChallenge":"00","captcha":null,"pushToken":null,"pushTokenType":null,"mcc":null,"mnc":null}"#,
            r#"{"pushToken":"t","pushTokenType":"fcm"}"#,
        ] {
            assert!(parse::<UpdateRequest>(body.as_bytes()).unwrap().push.read().is_ok(), "{body}");
        }
        for body in [r#"{"transport":"sms","client":"android-2021-03"}"#, r#"{"transport":"voice"}"#] {
            assert!(parse::<CodeRequestBody>(body.as_bytes()).is_ok(), "{body}");
        }
        assert!(parse::<SubmitRequest>(br#"{"code":"123456"}"#).is_ok());
    }

    #[test]
    fn bodies_of_the_wrong_shape_are_422() {
        let status = |refusal: Refusal| refusal.into_response().status().as_u16();
        for body in ["{}", r#"{"number":null}"#, r#"{"number":1}"#, r#"{"number":"+1","pushTokenType":"x"}"#]
        {
            assert_eq!(parse::<CreateRequest>(body.as_bytes()).map(drop).map_err(status), Err(422), "{body}");
        }
        for body in [r#"{"number":"+1","pushToken":"t"}"#, r#"{"number":"+1","pushTokenType":"fcm"}"#] {
            let request: CreateRequest = parse(body.as_bytes()).unwrap();
            assert_eq!(request.push.read().map(drop).map_err(status), Err(422), "{body}");
        }
        assert_eq!(parse::<CodeRequestBody>(br#"{"transport":"fax"}"#).map(drop).map_err(status), Err(422));
    }

    #[tokio::test]
    async fn numbers_are_refused_with_what_they_should_have_been() {
        let impossible = read(refuse_creation(CreateSessionError::ImpossibleNumber)).await;
        assert_eq!(impossible, (400, None, Value::Null));
        let decorated = CreateSessionError::NotNormalized {
            original: "+1 555 010-0001".to_owned(),
            normalized: "+15550100001".parse().unwrap(),
        };
        let body = json!({"originalNumber": "+1 555 010-0001", "normalizedNumber": "+15550100001"});
        assert_eq!(read(refuse_creation(decorated)).await, (400, None, body));
        let limited = CreateSessionError::RateLimited(RetryAfter(std::time::Duration::from_millis(1500)));
        assert_eq!(read(refuse_creation(limited)).await, (429, Some("2".to_owned()), Value::Null));
    }

    #[tokio::test]
    async fn refusals_have_the_documented_statuses_and_bodies() {
        let wait = RetryAfter(std::time::Duration::from_secs(30));
        let limited = |retry_after| SessionError::RateLimited { session: view(), retry_after };
        let not_delivered = SessionError::NotDelivered { reason: Reason::ProviderRejected, permanent: true };
        let cases = [
            (SessionError::InvalidId(InvalidSessionId::Unusable), 400, None, Value::Null),
            (SessionError::Malformed, 400, None, Value::Null),
            (SessionError::NotFound, 404, None, Value::Null),
            (SessionError::Rejected(view()), 403, None, session()),
            (SessionError::NotReady(view()), 409, None, session()),
            (SessionError::TransportUnavailable(view()), 418, None, session()),
            (limited(None), 429, None, session()),
            (limited(Some(wait)), 429, Some("30".to_owned()), session()),
            (not_delivered, 440, None, json!({"reason": "providerRejected", "permanentFailure": true})),
            (SessionError::CaptchaUnavailable("down".into()), 503, None, Value::Null),
            (SessionError::Unchecked, 503, None, Value::Null),
        ];
        for (error, status, wait, body) in cases {
            let what = format!("{error:?}");
            assert_eq!(read(refuse(error)).await, (status, wait, body), "{what}");
        }
        let (status, ..) = read(refuse(SessionError::InvalidId(InvalidSessionId::NotBase64))).await;
        assert_eq!(status, 422);
    }
}
