//! `GET /v1/certificate/delivery`.

use std::sync::Arc;

use auth::sender_certificate::{Form, SenderCertificates};
use axum::{
    Json,
    extract::{Query, State},
};
use protocol::base64;
use serde::{Deserialize, Serialize};

use crate::{caller::AuthenticatedDevice, reply::Refusal, signal::accounts};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveryQuery {
    #[serde(rename = "includeE164")]
    include_e164: Option<String>,
}

#[derive(Serialize)]
pub(super) struct DeliveryCertificate {
    #[serde(with = "base64::padded")]
    certificate: Vec<u8>,
}

pub(super) async fn issue(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(certificates): State<Arc<SenderCertificates>>,
    Query(query): Query<DeliveryQuery>,
) -> Result<Json<DeliveryCertificate>, Refusal> {
    let certificate = certificates.issue(&device, query.form()).await.map_err(accounts::refuse)?;
    Ok(Json(DeliveryCertificate { certificate }))
}

impl DeliveryQuery {
    /// With the number unless something else than `true` is said: what cannot be understood must not give
    /// away a number.
    fn form(&self) -> Form {
        match &self.include_e164 {
            Some(text) if !text.eq_ignore_ascii_case("true") => Form::WithoutNumber,
            _ => Form::WithNumber,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;

    #[test]
    fn the_number_is_included_unless_told_otherwise() {
        for (query, form) in [
            ("", Form::WithNumber),
            ("?includeUuid=true", Form::WithNumber),
            ("?includeE164=true", Form::WithNumber),
            ("?includeE164=True", Form::WithNumber),
            ("?includeE164=false", Form::WithoutNumber),
            ("?includeE164=0", Form::WithoutNumber),
            ("?includeE164=", Form::WithoutNumber),
        ] {
            let uri: Uri = format!("/v1/certificate/delivery{query}").parse().unwrap();
            let Query(read) = Query::<DeliveryQuery>::try_from_uri(&uri).unwrap();
            assert_eq!(read.form(), form, "{query}");
        }
    }
}
