//! Apple's service: HTTP/2 with a token of ours (ES256), one connection that is used again and again.

mod answer;
mod request;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::Uri;
use outgoing::{AddressPolicy, Client, ClientSettings, SendError};
use parking_lot::Mutex;
use protocol::{
    PushToken,
    ambient::{Clock, Timestamp},
};
use rustls::pki_types::CertificateDer;
use serde::Serialize;

pub use crate::jwt::KeyError;
pub use request::{COLLAPSE_ID, LIFETIME};

use crate::{
    jwt::{Signer, SigningFailed},
    provider::{Delivery, Provider, Push, Verdict},
    unreachable,
};

/// Where pushes to apps from the store go.
pub const PRODUCTION: &str = "https://api.push.apple.com";
/// Where pushes to apps in development go.
pub const SANDBOX: &str = "https://api.sandbox.push.apple.com";

/// How long a token of ours is used. Apple takes one for no longer than an hour, and wants none that is newer
/// than 20 minutes replaced.
const TOKEN_LIFE: Duration = Duration::from_mins(45);
/// No newer token is made before this one is so old, whatever Apple says of it.
const TOKEN_LIFE_MIN: Duration = Duration::from_mins(20);

/// What Apple gave the operator.
#[derive(Clone)]
pub struct ApnsSettings {
    /// The signing key: the content of the `.p8` file.
    pub key_pem: zeroize::Zeroizing<String>,
    /// Its ten-character id.
    pub key_id: String,
    /// The ten-character id of the team.
    pub team_id: String,
    /// The app's bundle id.
    pub topic: String,
    /// Where pushes are posted to: [`PRODUCTION`] or [`SANDBOX`], or something that stands in for them.
    pub url: String,
    /// Certificate authorities that are trusted besides the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// Apple's service.
pub struct Apns {
    client: Client,
    url: Uri,
    topic: String,
    tokens: Tokens,
}

/// Why the settings are of no use.
#[derive(Debug, thiserror::Error)]
pub enum ApnsSettingsError {
    /// The signing key.
    #[error("the signing key is {0}")]
    Key(#[from] KeyError),
    /// The address.
    #[error("`{0}` is not an address")]
    Url(String),
}

impl Apns {
    /// The service for that app. Nothing is connected before the first push.
    pub fn new(settings: ApnsSettings, clock: Arc<dyn Clock>) -> Result<Self, ApnsSettingsError> {
        let url = settings.url.trim_end_matches('/').parse();
        let signer = Signer::es256_pem(&settings.key_pem)?;
        Ok(Self {
            client: Client::new(client_settings(settings.extra_roots)),
            url: url.map_err(|_| ApnsSettingsError::Url(settings.url))?,
            topic: settings.topic,
            tokens: Tokens {
                signer,
                key_id: settings.key_id,
                team_id: settings.team_id,
                clock,
                current: Mutex::new(None),
            },
        })
    }

    async fn attempt(&self, token: &PushToken, push: &Push) -> Result<Delivery, SendError> {
        let Ok(bearer) = self.tokens.bearer() else {
            return Ok(Delivery::new(Verdict::Unauthorized, "no token could be signed"));
        };
        let now = self.tokens.clock.now();
        let Ok(request) = request::request(&self.url, &self.topic, &bearer, token.as_str(), push, now) else {
            // Apple has never given out a token that is no path.
            return Ok(Delivery::new(
                Verdict::Unregistered { since: None },
                "the token is not one of Apple's",
            ));
        };
        let answer = self.client.send(request).await?;
        let delivery = answer::read(&answer);
        if answer::says_expired(&answer) {
            self.tokens.renew_after(&bearer);
        }
        Ok(delivery)
    }
}

#[async_trait]
impl Provider for Apns {
    async fn deliver(&self, token: &PushToken, push: &Push) -> Delivery {
        let mut outcome = self.attempt(token, push).await;
        // Apple closes connections now and then; what was under way is sent again on the next one. The collapse
        // id sees to it that a device shows it once.
        if let Err(SendError::Broken(_)) = outcome {
            outcome = self.attempt(token, push).await;
        }
        outcome.unwrap_or_else(|error| unreachable(&error))
    }
}

impl fmt::Debug for Apns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Apns").field("topic", &self.topic).finish_non_exhaustive()
    }
}

fn client_settings(extra_roots: Vec<CertificateDer<'static>>) -> ClientSettings {
    ClientSettings {
        // The operator says where it is.
        addresses: AddressPolicy::everywhere(),
        extra_roots,
        http2_only: true,
        timeout: Duration::from_secs(10),
        // Apple asks for connections to be kept.
        idle_timeout: None,
        ping_interval: Some(Duration::from_mins(1)),
        ..ClientSettings::default()
    }
}

/// The tokens by which Apple knows us: one at a time, until it is old.
struct Tokens {
    signer: Signer,
    key_id: String,
    team_id: String,
    clock: Arc<dyn Clock>,
    current: Mutex<Option<Issued>>,
}

struct Issued {
    bearer: Bytes,
    at: Timestamp,
    /// Apple takes it for expired.
    expired: bool,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: u64,
}

impl Tokens {
    /// The value of the `authorization` header.
    fn bearer(&self) -> Result<Bytes, SigningFailed> {
        let now = self.clock.now();
        let mut current = self.current.lock();
        if let Some(issued) = current.as_ref() {
            let age = now.saturating_since(issued.at);
            let life = if issued.expired { TOKEN_LIFE_MIN } else { TOKEN_LIFE };
            if age < life {
                return Ok(issued.bearer.clone());
            }
        }
        let claims = Claims { iss: &self.team_id, iat: now.as_secs() };
        let bearer = Bytes::from(format!("bearer {}", self.signer.sign(Some(&self.key_id), &claims)?));
        *current = Some(Issued { bearer: bearer.clone(), at: now, expired: false });
        Ok(bearer)
    }

    fn renew_after(&self, bearer: &Bytes) {
        if let Some(issued) = self.current.lock().as_mut().filter(|issued| issued.bearer == bearer) {
            issued.expired = true;
        }
    }
}
