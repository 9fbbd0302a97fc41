//! `PUT /v1/devices/link`: a new device joins the account whose code it shows.

use std::sync::Arc;

use auth::linking::{LinkError, LinkRequest, Linked, LinkingService};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use protocol::{Aci, Pni};
use serde::Serialize;

use super::refuse_full;
use crate::{body::JsonBody, reply::Refusal, signal::newcomer::Newcomer};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkedBody {
    uuid: Aci,
    pni: Option<Pni>,
    device_id: u8,
}

pub(super) async fn link(
    Newcomer(credentials): Newcomer,
    State(linking): State<Arc<LinkingService>>,
    JsonBody(request): JsonBody<LinkRequest>,
) -> Response {
    match linking.link(&credentials, request).await {
        Ok(Linked { aci, pni, device_id }) => {
            Json(LinkedBody { uuid: aci, pni, device_id: device_id.get() }).into_response()
        }
        Err(error) => refuse(error),
    }
}

fn refuse(error: LinkError) -> Response {
    match error {
        LinkError::WrongCode => StatusCode::FORBIDDEN.into_response(),
        LinkError::RateLimited(wait) => Refusal::rate_limited(wait.0).into_response(),
        LinkError::WrongKeys => Refusal::invalid("the keys do not fit the account").into_response(),
        LinkError::Full(full) => refuse_full(full),
        LinkError::NoCapabilities => Refusal::invalid("the capabilities are missing").into_response(),
        LinkError::Downgrade => StatusCode::CONFLICT.into_response(),
        LinkError::Storage(error) => Refusal::from(error).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use auth::linking::DeviceLimitReached;
    use axum::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn refusals_have_the_documented_statuses() {
        let cases = [
            (LinkError::WrongCode, 403),
            (LinkError::WrongKeys, 422),
            (LinkError::NoCapabilities, 422),
            (LinkError::Downgrade, 409),
        ];
        for (error, status) in cases {
            assert_eq!(refuse(error).status().as_u16(), status);
        }
        let full = refuse(LinkError::Full(DeviceLimitReached { current: 6 }));
        assert_eq!(full.status().as_u16(), 411);
        let body: Value = serde_json::from_slice(&to_bytes(full.into_body(), 1024).await.unwrap()).unwrap();
        assert_eq!(body, json!({"current": 6, "max": 6}));
    }
}
