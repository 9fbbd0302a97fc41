//! `org.signal.chat.credentials.Credentials`.

use std::sync::Arc;

use auth::sender_certificate::SenderCertificates;
use tonic::{Request, Response, Status};

use crate::{
    grpc::{
        access,
        chat::credentials::{
            GetDeliveryCertificateRequest, GetDeliveryCertificateResponse, credentials_server,
        },
    },
    services::Services,
    signal::accounts::grpc as accounts,
};

/// The service for devices that say who they are.
pub(crate) struct Credentials {
    certificates: Arc<SenderCertificates>,
}

impl Credentials {
    /// The service as part of those.
    pub(crate) fn new(services: &Services) -> Self {
        Self { certificates: Arc::clone(&services.parts().sender_certificates) }
    }
}

#[tonic::async_trait]
impl credentials_server::Credentials for Credentials {
    async fn get_delivery_certificate(
        &self,
        request: Request<GetDeliveryCertificateRequest>,
    ) -> Result<Response<GetDeliveryCertificateResponse>, Status> {
        let device = access::device(&request)?;
        let both = self.certificates.issue_both(&device).await.map_err(accounts::status)?;
        Ok(Response::new(GetDeliveryCertificateResponse {
            certificate_with_e164: both.with_number.map(Into::into),
            certificate_without_e164: both.without_number.into(),
        }))
    }
}
