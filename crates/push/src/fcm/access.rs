//! Access tokens: fetched with a token of ours, kept until shortly before they end, and fetched by one at a time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use outgoing::{Answer, Client, SendError};
use parking_lot::Mutex;
use protocol::ambient::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ServiceAccount;
use crate::retry_after::retry_after;

/// What a token is to be good for.
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// How we ask for it (RFC 7523).
const GRANT_TYPE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
/// How long the token that we sign is good; Google takes no longer ones.
const ASSERTION_LIFE: Duration = Duration::from_hours(1);
/// A token is replaced so long before it ends: whoever was given it last still has time to use it.
const RENEW_BEFORE: Duration = Duration::from_mins(5);
/// A token that is good for longer is replaced then.
const LIFE_MAX: Duration = Duration::from_hours(1);
/// After a token was refused, or while the old one still serves, Google is not asked again so soon.
const LEFT_ALONE: Duration = Duration::from_secs(30);

/// Why there is no access.
pub(super) enum AccessDenied {
    /// Google does not know this account, or its key.
    Refused(String),
    /// Google cannot give out tokens now.
    Unavailable { retry_after: Option<Duration>, answer: String },
    /// Google was not reached.
    Unreachable(SendError),
}

pub(super) struct Access {
    account: ServiceAccount,
    clock: Arc<dyn Clock>,
    current: Mutex<Current>,
    /// Held by who fetches.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Current {
    token: Option<Token>,
    /// The last fetch, if it failed.
    failed: Option<Failed>,
}

struct Failed {
    at: Timestamp,
    /// What Google said, if it refused.
    refused: Option<String>,
}

struct Token {
    /// The value of the `authorization` header.
    bearer: Bytes,
    renew: Timestamp,
    ends: Timestamp,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'static str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

impl Access {
    pub(super) fn new(account: ServiceAccount, clock: Arc<dyn Clock>) -> Self {
        Self { account, clock, current: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The value of the `authorization` header. While one fetches a new token, the others use the one there is,
    /// or wait if it has ended.
    pub(super) async fn bearer(&self, client: &Client) -> Result<Bytes, AccessDenied> {
        if let Some(bearer) = self.known(|token| token.renew)? {
            return Ok(bearer);
        }
        let _fetching = if let Ok(fetching) = self.fetching.try_lock() {
            fetching
        } else {
            if let Some(bearer) = self.known(|token| token.ends)? {
                return Ok(bearer);
            }
            self.fetching.lock().await
        };
        // Whoever held it may have fetched one.
        if let Some(bearer) = self.known(|token| token.renew)? {
            return Ok(bearer);
        }
        match self.fetch(client).await {
            Ok(bearer) => Ok(bearer),
            // The old one may last until Google is back.
            Err(denied) => self.known(|token| token.ends)?.ok_or(denied),
        }
    }

    /// The token is not taken any more.
    pub(super) fn forget(&self, bearer: &Bytes) {
        let mut current = self.current.lock();
        if current.token.as_ref().is_some_and(|token| token.bearer == bearer) {
            current.token = None;
        }
    }

    /// The token there is, if it is good until that moment of its life; after a failure, for a while, until its end.
    fn known(&self, until: impl Fn(&Token) -> Timestamp) -> Result<Option<Bytes>, AccessDenied> {
        let now = self.clock.now();
        let current = self.current.lock();
        let recent = current.failed.as_ref().filter(|failed| now.saturating_since(failed.at) < LEFT_ALONE);
        let good = |token: &&Token| now < until(token) || (recent.is_some() && now < token.ends);
        if let Some(token) = current.token.as_ref().filter(good) {
            return Ok(Some(token.bearer.clone()));
        }
        match recent.and_then(|failed| failed.refused.clone()) {
            Some(answer) => Err(AccessDenied::Refused(answer)),
            None => Ok(None),
        }
    }

    async fn fetch(&self, client: &Client) -> Result<Bytes, AccessDenied> {
        let outcome = match self.request() {
            Ok(request) => client.send(request).await.map_err(AccessDenied::Unreachable),
            Err(denied) => Err(denied),
        };
        let outcome = outcome.and_then(|answer| self.read(&answer));
        if let Err(denied) = &outcome {
            let refused = match denied {
                AccessDenied::Refused(said) => Some(said.clone()),
                AccessDenied::Unavailable { .. } | AccessDenied::Unreachable(_) => None,
            };
            self.current.lock().failed = Some(Failed { at: self.clock.now(), refused });
        }
        outcome
    }

    fn request(&self) -> Result<Request<Bytes>, AccessDenied> {
        let now = self.clock.now();
        let claims = Claims {
            iss: &self.account.email,
            scope: SCOPE,
            aud: &self.account.audience,
            iat: now.as_secs(),
            exp: now.saturating_add(ASSERTION_LIFE).as_secs(),
        };
        let refused = || AccessDenied::Refused("no token could be signed".to_owned());
        let assertion =
            self.account.signer.sign(self.account.key_id.as_deref(), &claims).map_err(|_| refused())?;
        Request::post(&self.account.token_uri)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("grant_type={GRANT_TYPE}&assertion={assertion}").into())
            .map_err(|_| refused())
    }

    fn read(&self, answer: &Answer) -> Result<Bytes, AccessDenied> {
        let status = answer.status().as_u16();
        let said = format!("the token endpoint answered {status}");
        match status {
            200 => {}
            429 | 500..=599 => {
                return Err(AccessDenied::Unavailable { retry_after: retry_after(answer), answer: said });
            }
            _ => return Err(AccessDenied::Refused(said)),
        }
        let granted: Granted = serde_json::from_slice(answer.body())
            .map_err(|_| AccessDenied::Refused(format!("{said} without a token")))?;
        let access_token = Zeroizing::new(granted.access_token);
        let life = Duration::from_secs(granted.expires_in).min(LIFE_MAX);
        let now = self.clock.now();
        let bearer = Bytes::from(format!("Bearer {}", *access_token));
        let renew = now.saturating_add(life.saturating_sub(RENEW_BEFORE).max(life / 2));
        let token = Token { bearer: bearer.clone(), renew, ends: now.saturating_add(life) };
        *self.current.lock() = Current { token: Some(token), failed: None };
        Ok(bearer)
    }
}
