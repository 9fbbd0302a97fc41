//! `GET /push`, `PUT /push`, `DELETE /push`: being woken while one is away.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;
use protocol::{PushService as Service, PushToken, WebPushSubscription};
use push::{PushService, RegisterError, web_push::SubscriptionRefused};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    extract::{Body, Secret},
    problem::{Code, Problem, ProblemBody},
};
use crate::caller::BearerDevice;

/// By whom devices can be woken here.
#[derive(Serialize, ToSchema)]
#[schema(as = PushOffer)]
pub(super) struct OfferBody {
    /// Web Push, which `UnifiedPush` speaks too; null where it is switched off.
    web_push: Option<WebPushOffer>,
    /// Whether Google's service is configured.
    fcm: bool,
    /// Whether Apple's service is configured.
    apns: bool,
}

/// How to subscribe for Web Push.
#[derive(Serialize, ToSchema)]
struct WebPushOffer {
    /// The server's VAPID key (RFC 8292) in base64url, to subscribe with as `applicationServerKey`.
    #[schema(
        example = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    )]
    public_key: String,
}

/// Where a push reaches the device that calls.
#[derive(Deserialize, ToSchema)]
#[schema(as = RegisterPush)]
#[serde(tag = "service", rename_all = "snake_case")]
pub(super) enum RegisterBody {
    /// A subscription of Web Push, such as a browser's `PushSubscription` in JSON or what a `UnifiedPush` distributor gives.
    WebPush {
        /// Where pushes are posted to, https.
        #[schema(value_type = String)]
        endpoint: Secret,
        keys: SubscriptionKeys,
    },
    /// A registration token of Google's service.
    Fcm {
        #[schema(value_type = String)]
        token: Secret,
    },
    /// A device token of Apple's service.
    Apns {
        #[schema(value_type = String)]
        token: Secret,
    },
}

/// What pushes are encrypted with (RFC 8291), so that the push server cannot read them.
#[derive(Deserialize, ToSchema)]
pub(super) struct SubscriptionKeys {
    /// The device's public key of P-256, uncompressed, in base64url.
    p256dh: String,
    /// The authentication secret of 16 bytes, in base64url.
    #[schema(value_type = String)]
    auth: Secret,
}

/// Shows by whom devices can be woken here, and the key to subscribe with.
#[utoipa::path(
    get, path = "/push", tag = "devices", security(("bearer" = [])),
    responses(
        (status = 200, body = OfferBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn offer(_: BearerDevice, State(push): State<Arc<PushService>>) -> Json<OfferBody> {
    let offer = push.offer();
    let web_push = offer.web_push_key.map(|key| WebPushOffer { public_key: key.to_owned() });
    Json(OfferBody { web_push, fcm: offer.fcm, apns: offer.apns })
}

/// Has the device that calls woken when something waits for it and it is not connected, in place of how it was before. A
/// push says that something is waiting and how urgent that is, no more.
#[utoipa::path(
    put, path = "/push", tag = "devices", security(("bearer" = [])),
    request_body = RegisterBody,
    responses(
        (status = 204, description = "It will be woken."),
        (status = "4XX", description = "`push_unavailable`, `push_endpoint_refused`, `invalid_push_token`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn register(
    BearerDevice(bearer): BearerDevice,
    State(push): State<Arc<PushService>>,
    Body(body): Body<RegisterBody>,
) -> Result<StatusCode, Problem> {
    let token = body.token().ok_or(Problem::of(Code::InvalidPushToken))?;
    push.register(bearer.device.address(), token).await.map_err(|error| match error {
        RegisterError::NoProvider => Problem::of(Code::PushUnavailable),
        RegisterError::Refused(SubscriptionRefused::Endpoint(_)) => Problem::of(Code::PushEndpointRefused),
        RegisterError::Refused(SubscriptionRefused::Key) => Problem::of(Code::InvalidPushToken),
        RegisterError::NoSuchDevice => Problem::of(Code::Unauthorized),
        RegisterError::Storage(error) => error.into(),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has the device that calls no longer woken.
#[utoipa::path(
    delete, path = "/push", tag = "devices", security(("bearer" = [])),
    responses(
        (status = 204, description = "It is not, whether it was or not."),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn unregister(
    BearerDevice(bearer): BearerDevice,
    State(push): State<Arc<PushService>>,
) -> Result<StatusCode, Problem> {
    push.unregister(bearer.device.address(), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl RegisterBody {
    /// The token, if it is of the form that its service's have.
    fn token(self) -> Option<PushToken> {
        let platform = |service, token: &Secret| PushToken::new(service, token.0.to_string());
        match self {
            Self::WebPush { endpoint, keys } => {
                let subscription = WebPushSubscription::new(&endpoint.0, &keys.p256dh, &keys.auth.0)?;
                Some(subscription.to_token())
            }
            Self::Fcm { token } => platform(Service::Fcm, &token),
            Self::Apns { token } => platform(Service::Apns, &token),
        }
    }
}
