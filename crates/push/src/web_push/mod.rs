//! Web Push (RFC 8030), which `UnifiedPush` speaks too: whichever server a device has subscribed at.

mod answer;
mod encrypt;
mod endpoint;
mod vapid;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use outgoing::{Client, ClientSettings};
use protocol::{
    PushToken, WebPushSubscription,
    ambient::{Clock, Entropy},
};
use rustls::pki_types::CertificateDer;
use serde_json::json;

pub use encrypt::EncryptError;
pub use endpoint::{EndpointPolicy, EndpointRefused};
pub use vapid::{InvalidVapidKey, VapidKey};

use endpoint::Endpoint;
use vapid::Vapid;

use crate::{
    provider::{Delivery, Provider, Push, Verdict},
    unreachable,
};

/// How long a push server keeps a push for a device that is off. Servers cut this down to what they like.
pub const LIFETIME: Duration = Duration::from_hours(28 * 24);

/// A later wake-up takes the place of an earlier one that the device has not had.
const TOPIC: &str = "wake";

/// How pushes are signed, and where they may go.
pub struct WebPushSettings {
    /// The server's key.
    pub key: VapidKey,
    /// How the operator of a push server reaches ours: a `mailto:` or `https:` address.
    pub contact: Option<String>,
    /// Which push servers are used.
    pub endpoints: EndpointPolicy,
    /// Certificate authorities that are trusted besides the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// Web Push.
pub struct WebPush {
    client: Client,
    endpoints: EndpointPolicy,
    vapid: Vapid,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// Why a subscription is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionRefused {
    /// Where it points to.
    #[error(transparent)]
    Endpoint(#[from] EndpointRefused),
    /// Its key.
    #[error("p256dh is not a point of P-256")]
    Key,
}

impl WebPush {
    /// Web Push under that key. Nothing is connected before the first push.
    pub fn new(
        settings: WebPushSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, InvalidVapidKey> {
        let client = ClientSettings {
            addresses: settings.endpoints.addresses.clone(),
            extra_roots: settings.extra_roots,
            timeout: Duration::from_secs(10),
            idle_per_host_max: 4,
            answer_bytes_max: 1024,
            ..ClientSettings::default()
        };
        Ok(Self {
            client: Client::new(client),
            endpoints: settings.endpoints,
            vapid: Vapid::new(&settings.key, settings.contact)?,
            clock,
            entropy,
        })
    }

    /// The server's public key in base64url, which devices subscribe with (`applicationServerKey`).
    pub fn public_key(&self) -> &str {
        self.vapid.public_key()
    }

    /// Whether messages could be sent to that subscription, as far as that shows without sending one.
    pub fn check(&self, subscription: &WebPushSubscription) -> Result<(), SubscriptionRefused> {
        self.endpoints.check(subscription)?;
        encrypt::encrypt(subscription, b"", &*self.entropy).map(drop).map_err(|_| SubscriptionRefused::Key)
    }

    fn request(
        &self,
        subscription: &WebPushSubscription,
        Endpoint { uri, origin }: Endpoint,
        push: &Push,
    ) -> Option<Request<Bytes>> {
        let body = encrypt::encrypt(subscription, payload(push).as_bytes(), &*self.entropy).ok()?;
        let mut request = Request::post(uri)
            .header("authorization", self.vapid.header(&origin, self.clock.now())?)
            .header("ttl", LIFETIME.as_secs())
            .header("urgency", if push.is_urgent() { "high" } else { "normal" })
            .header("content-type", "application/octet-stream")
            .header("content-encoding", "aes128gcm");
        if let Push::Wake { .. } = push {
            request = request.header("topic", TOPIC);
        }
        request.body(body.into()).ok()
    }
}

#[async_trait]
impl Provider for WebPush {
    async fn deliver(&self, token: &PushToken, push: &Push) -> Delivery {
        let Some(subscription) = token.web_push() else {
            return Delivery::new(Verdict::Refused, "not a subscription");
        };
        let endpoint = match self.endpoints.check(&subscription) {
            Ok(endpoint) => endpoint,
            Err(refused) => return Delivery::new(Verdict::Refused, refused.to_string()),
        };
        let Some(request) = self.request(&subscription, endpoint, push) else {
            return Delivery::new(Verdict::Refused, "the message could not be encrypted or signed");
        };
        match self.client.send(request).await {
            Ok(answer) => answer::read(&answer),
            Err(error) => unreachable(&error),
        }
    }

    fn lane(&self, token: &PushToken) -> String {
        let endpoint = token.web_push().and_then(|subscription| self.endpoints.check(&subscription).ok());
        endpoint.map(|endpoint| endpoint.origin).unwrap_or_default()
    }
}

/// What the device reads: JSON, and no more than why it is woken.
fn payload(push: &Push) -> String {
    match push {
        Push::Wake { urgent } => json!({ "urgent": urgent }),
        Push::Challenge(challenge, secret) => json!({ challenge.key(): secret.as_str() }),
    }
    .to_string()
}

impl fmt::Debug for WebPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebPush").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}
