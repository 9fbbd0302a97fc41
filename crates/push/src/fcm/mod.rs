//! Google's service (FCM HTTP v1), by a service account.

mod access;
mod account;
mod answer;
mod request;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::Uri;
use outgoing::{AddressPolicy, Client, ClientSettings, SendError};
use protocol::{PushToken, ambient::Clock};
use rustls::pki_types::CertificateDer;

pub use account::{ServiceAccount, ServiceAccountError};
pub use request::LIFETIME;

use access::{Access, AccessDenied};

use crate::{
    provider::{Delivery, Provider, Push, Verdict},
    unreachable,
};

/// Where pushes go.
pub const PRODUCTION: &str = "https://fcm.googleapis.com";

/// What Google gave the operator.
pub struct FcmSettings {
    /// The service account.
    pub account: ServiceAccount,
    /// Where pushes are posted to: [`PRODUCTION`], or something that stands in for it.
    pub url: String,
    /// Certificate authorities that are trusted besides the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// Google's service.
pub struct Fcm {
    client: Client,
    url: Uri,
    access: Access,
}

/// Why the settings are of no use.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an address")]
pub struct InvalidUrl(String);

impl Fcm {
    /// The service for that account's project. Nothing is connected before the first push.
    pub fn new(settings: FcmSettings, clock: Arc<dyn Clock>) -> Result<Self, InvalidUrl> {
        let url = settings.url.trim_end_matches('/');
        let url = format!("{url}/v1/projects/{}/messages:send", settings.account.project_id()).parse();
        Ok(Self {
            client: Client::new(client_settings(settings.extra_roots)),
            url: url.map_err(|_| InvalidUrl(settings.url))?,
            access: Access::new(settings.account, clock),
        })
    }

    async fn attempt(&self, token: &PushToken, push: &Push) -> Result<Delivery, SendError> {
        let bearer = match self.access.bearer(&self.client).await {
            Ok(bearer) => bearer,
            Err(AccessDenied::Refused(answer)) => {
                return Ok(Delivery::new(Verdict::Unauthorized, format!("no access: {answer}")));
            }
            Err(AccessDenied::Unavailable { retry_after, answer }) => {
                return Ok(Delivery::new(
                    Verdict::Unavailable { retry_after },
                    format!("no access: {answer}"),
                ));
            }
            Err(AccessDenied::Unreachable(error)) => return Err(error),
        };
        let Ok(request) = request::request(&self.url, &bearer, token.as_str(), push) else {
            return Ok(Delivery::new(Verdict::Refused, "the request could not be made"));
        };
        let answer = self.client.send(request).await?;
        if answer.status().as_u16() == 401 {
            self.access.forget(&bearer);
        }
        Ok(answer::read(&answer))
    }
}

#[async_trait]
impl Provider for Fcm {
    async fn deliver(&self, token: &PushToken, push: &Push) -> Delivery {
        let mut outcome = self.attempt(token, push).await;
        let again = match &outcome {
            // The connection was closed under the request.
            Err(SendError::Broken(_)) => true,
            // The access token was taken back before its time; the next one is fresh.
            Ok(delivery) => delivery.verdict == Verdict::Unauthorized && delivery.answer.starts_with("401"),
            Err(_) => false,
        };
        if again {
            outcome = self.attempt(token, push).await;
        }
        outcome.unwrap_or_else(|error| unreachable(&error))
    }
}

impl fmt::Debug for Fcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fcm").finish_non_exhaustive()
    }
}

fn client_settings(extra_roots: Vec<CertificateDer<'static>>) -> ClientSettings {
    ClientSettings {
        // The operator says where it is.
        addresses: AddressPolicy::everywhere(),
        extra_roots,
        http2_only: true,
        timeout: Duration::from_secs(10),
        idle_timeout: Some(Duration::from_mins(10)),
        ping_interval: Some(Duration::from_mins(1)),
        ..ClientSettings::default()
    }
}
