//! `POST /v1/messages/report/{source}/{guid}`: a recipient says that a message is spam.

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use messages::report::{ReportService, ReportedMessage};
use protocol::{Aci, PhoneNumber, base64};
use serde::Deserialize;
use uuid::Uuid;

use crate::{body::OptionalJsonBody, caller::AuthenticatedDevice, reply::Refusal};

#[derive(Default, Deserialize)]
pub(super) struct ReportRequest {
    /// The token that came with the message.
    #[serde(default)]
    token: Option<Token>,
}

#[derive(Deserialize)]
struct Token(#[serde(with = "base64::padded")] Vec<u8>);

/// The answer is the same whether the report counts or not: a caller must not learn of messages by guessing.
pub(super) async fn report(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(service): State<ReportService>,
    Path((source, guid)): Path<(String, String)>,
    OptionalJsonBody(request): OptionalJsonBody<ReportRequest>,
) -> Response {
    let Ok(guid) = Uuid::try_parse(&guid) else { return StatusCode::NOT_FOUND.into_response() };
    let source: Aci = match source.parse() {
        Ok(source) => source,
        // Clients of long ago knew senders by number. Tokens are bound to accounts.
        Err(_) if source.parse::<PhoneNumber>().is_ok() => return StatusCode::ACCEPTED.into_response(),
        Err(_) => return StatusCode::NOT_FOUND.into_response(),
    };
    let message = ReportedMessage { guid, source, recipient: device.aci };
    let token = request.and_then(|request| request.token).map(|Token(token)| token).unwrap_or_default();
    match service.report(message, &token).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(error) => Refusal::from(error).into_response(),
    }
}
