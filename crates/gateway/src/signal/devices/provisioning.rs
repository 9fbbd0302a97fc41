//! `PUT /v1/provisioning/{address}`: what a primary sends to a device that is being set up.

use std::sync::Arc;

use auth::linking::provisioning::{NotProvisioned, ProvisioningRelay};
use axum::extract::{Path, State};
use http::StatusCode;
use protocol::base64;
use serde::Deserialize;

use crate::{body::JsonBody, caller::AuthenticatedDevice, reply::Refusal};

/// Longest text of an envelope.
const TEXT_MAX: usize = 256 * 1024;

#[derive(Deserialize)]
pub(super) struct ProvisioningBody {
    body: String,
}

pub(super) async fn send(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(relay): State<Arc<ProvisioningRelay>>,
    Path(address): Path<String>,
    JsonBody(ProvisioningBody { body }): JsonBody<ProvisioningBody>,
) -> Result<StatusCode, Refusal> {
    if body.len() > TEXT_MAX {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the envelope is too long"));
    }
    let envelope = decode_mime(&body).ok_or(Refusal::invalid("the envelope is not base64"))?;
    relay.deliver(&device, &address, envelope).await.map_err(refuse)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads base64 as in mail (RFC 2045, section 6.8), where line breaks mean nothing. An empty envelope is none.
fn decode_mime(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    base64::decode_lenient(&text).filter(|envelope| !envelope.is_empty())
}

fn refuse(error: NotProvisioned) -> Refusal {
    match error {
        NotProvisioned::NobodyThere => Refusal::bare(StatusCode::NOT_FOUND),
        NotProvisioned::RateLimited(wait) => Refusal::rate_limited(wait.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_mean_nothing() {
        assert_eq!(decode_mime("aGVs\r\nbG8=\n").unwrap(), b"hello");
        assert_eq!(decode_mime("aGVsbG8").unwrap(), b"hello");
        for text in ["", "\n", "aGVs!"] {
            assert_eq!(decode_mime(text), None, "{text:?}");
        }
    }
}
