//! A server of the operator's choice, told of each code in a signed request.
//!
//! `POST` with a JSON body: `id` (the same when the request is made again), `to`, `transport` (`sms` or `voice`), `code`,
//! `client` and `languages` (or null). `Heliograph-Timestamp` has the time in seconds since the epoch,
//! `Heliograph-Signature` is `v1=` and, in hexadecimal, HMAC-SHA-256 of the timestamp, a full stop and the body under the
//! shared secret. Whoever receives it checks the signature, and that the timestamp is of the last five minutes.
//!
//! What the answers mean:
//!
//! | status | meaning |
//! |---|---|
//! | 2xx | taken |
//! | 400, 422 | the request makes no sense there |
//! | 406 | not by this transport; another may work |
//! | 429, with or without `Retry-After` in seconds | later |
//! | 5xx, or no answer | it is asked again, in the end: not now |
//! | any other | not to this number |

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use auth::verification::{CodeMessage, CodeSender, SendCodeError};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac as _};
use http::{Request, StatusCode, Uri, header};
use outgoing::Client;
use protocol::ambient::Clock;
use serde::Serialize;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::patience::{Patience, Randomness, complain, illegal, limited, rejected, unavailable};

/// When the request was signed, in seconds since the epoch.
pub const TIMESTAMP: &str = "heliograph-timestamp";

/// The signature.
pub const SIGNATURE: &str = "heliograph-signature";

/// Fewest bytes of a secret.
pub const SECRET_MIN: usize = 16;

/// Tells that server of each code.
pub struct Webhook {
    parts: WebhookParts,
}

/// What a [`Webhook`] is made of.
pub struct WebhookParts {
    /// Makes the requests.
    pub client: Arc<Client>,
    /// Where they go.
    pub address: Uri,
    /// What they are signed with; [`SECRET_MIN`] bytes or more.
    pub secret: Zeroizing<Vec<u8>>,
    /// How often they are made again.
    pub patience: Patience,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws ids and waits.
    pub entropy: Randomness,
}

#[derive(Serialize)]
struct Body<'a> {
    id: String,
    to: &'a str,
    transport: &'static str,
    code: &'a str,
    client: Option<&'a str>,
    languages: Option<&'a str>,
}

impl Webhook {
    /// Made of these parts.
    pub fn new(parts: WebhookParts) -> Self {
        Self { parts }
    }

    /// Signed anew for each try: a timestamp must not be old when it arrives.
    fn request(&self, body: &Bytes) -> Result<Request<Bytes>, http::Error> {
        let timestamp = self.parts.clock.now().as_secs();
        Request::post(self.parts.address.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(TIMESTAMP, timestamp)
            .header(SIGNATURE, sign(&self.parts.secret, timestamp, body))
            .body(body.clone())
    }
}

/// The value of [`SIGNATURE`] for that body at that time.
pub fn sign(secret: &[u8], timestamp: u64, body: &[u8]) -> String {
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret) else {
        unreachable!("HMAC takes a key of any length")
    };
    mac.update(format!("{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[async_trait]
impl CodeSender for Webhook {
    async fn send(&self, message: CodeMessage) -> Result<(), SendCodeError> {
        let body = Body {
            id: self.parts.entropy.uuid().to_string(),
            to: message.to.as_str(),
            transport: message.transport.name(),
            code: message.code.as_str(),
            client: message.client.as_deref(),
            languages: message.languages.as_deref(),
        };
        let body = Bytes::from(serde_json::to_vec(&body).map_err(|_| unavailable())?);
        let WebhookParts { client, entropy, patience, .. } = &self.parts;
        let answer = patience.ask(client, &**entropy, || self.request(&body)).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Err(illegal()),
            StatusCode::NOT_ACCEPTABLE => Err(SendCodeError::TransportUnavailable),
            StatusCode::TOO_MANY_REQUESTS => Err(limited(answer.headers())),
            status if status.is_server_error() => Err(unavailable()),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => {
                complain(status, None);
                Err(unavailable())
            }
            status if status.is_redirection() => {
                complain(status, None);
                Err(unavailable())
            }
            _ => Err(rejected()),
        }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_others_compute() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let signature = sign(b"0123456789abcdef", 1_700_000_000, b"{}");
        assert_eq!(signature.len(), 3 + 64);
        assert_ne!(signature, sign(b"0123456789abcdef", 1_700_000_001, b"{}"));
        assert_ne!(signature, sign(b"0123456789abcdeg", 1_700_000_000, b"{}"));
        assert_eq!(signature, EXPECTED);
    }

    const EXPECTED: &str = "v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e";
}
