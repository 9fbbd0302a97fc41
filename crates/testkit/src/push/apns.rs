//! Apple's service.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Method, Response, Version};
use http_body_util::Full;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    keys::{self, EcKey},
    server::{Answer, Received, StandIn},
};

const KEY_ID: &str = "ABC123DEFG";
const TEAM_ID: &str = "DEF123GHIJ";
const TOPIC: &str = "org.example.signal";
/// Seconds for which a token is taken.
const TOKEN_AGE_MAX: u64 = 3600;

/// A push that was taken.
#[derive(Clone, Debug)]
pub struct ApnsPush {
    /// When it had come.
    pub at: Instant,
    /// The device's token.
    pub token: String,
    /// `alert` or `background`.
    pub push_type: String,
    /// The payload.
    pub payload: Value,
}

/// Apple's service: takes what the real one takes.
#[derive(Debug)]
pub struct ApnsStandIn {
    server: StandIn,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    key: EcKey,
    taken: Mutex<Vec<ApnsPush>>,
    refused: Mutex<Vec<String>>,
    /// What is answered for a token, in place of 200; and for all others.
    answers: Mutex<HashMap<String, (u16, Value)>>,
    /// Bearer tokens that were found good.
    known: Mutex<HashMap<String, u64>>,
    /// Bearer tokens issued before that second are expired.
    expired_before: Mutex<u64>,
}

impl ApnsStandIn {
    /// Starts it.
    pub async fn start() -> anyhow::Result<Self> {
        let state = Arc::new(State {
            key: EcKey::generate()?,
            taken: Mutex::default(),
            refused: Mutex::default(),
            answers: Mutex::default(),
            known: Mutex::default(),
            expired_before: Mutex::default(),
        });
        let handling = Arc::clone(&state);
        let server = StandIn::start(move |received| handling.answer(&received)).await?;
        Ok(Self { server, state })
    }

    /// The server itself.
    pub fn server(&self) -> &StandIn {
        &self.server
    }

    /// The signing key, its id, the team's and the topic, as Apple has given them to the operator.
    pub fn credentials(&self) -> (&EcKey, &'static str, &'static str, &'static str) {
        (&self.state.key, KEY_ID, TEAM_ID, TOPIC)
    }

    /// The section of the configuration that pushes here; the key is to be put into that file.
    pub fn config(&self, key_file: &std::path::Path) -> String {
        format!(
            "[apns]\nkey_file = \"{}\"\nkey_id = \"{KEY_ID}\"\nteam_id = \"{TEAM_ID}\"\ntopic = \"{TOPIC}\"\n\
             url = \"{}\"\n",
            key_file.display(),
            self.server.url()
        )
    }

    /// Answers pushes to that device with a status and a reason from now on; an empty token means all others.
    pub fn answer(&self, token: &str, status: u16, body: Value) {
        self.state.answers.lock().insert(token.to_owned(), (status, body));
    }

    /// Takes pushes again.
    pub fn answer_normally(&self) {
        self.state.answers.lock().clear();
    }

    /// Takes the bearer tokens of before this moment for expired.
    pub fn expire_tokens(&self) {
        *self.state.expired_before.lock() = keys::now() + 1;
    }

    /// What was taken so far.
    pub fn taken(&self) -> Vec<ApnsPush> {
        self.state.taken.lock().clone()
    }

    /// How much was taken so far.
    pub fn count(&self) -> usize {
        self.state.taken.lock().len()
    }

    /// What was wrong with what came.
    pub fn refused(&self) -> Vec<String> {
        self.state.refused.lock().clone()
    }
}

impl State {
    fn answer(&self, received: &Received) -> Answer {
        match self.check(received) {
            Ok(push) => {
                let told = {
                    let answers = self.answers.lock();
                    answers.get(&push.token).or_else(|| answers.get("")).cloned()
                };
                if let Some((status, body)) = told {
                    return reply(status, &body);
                }
                self.taken.lock().push(push);
                reply(200, &Value::Null)
            }
            Err(Refusal(status, reason)) => {
                self.refused.lock().push(format!("{status} {reason}"));
                reply(status, &json!({ "reason": reason }))
            }
        }
    }

    fn check(&self, received: &Received) -> Result<ApnsPush, Refusal> {
        if received.head.version != Version::HTTP_2 {
            return Err(Refusal(400, "NotHTTP2"));
        }
        if received.head.method != Method::POST {
            return Err(Refusal(405, "MethodNotAllowed"));
        }
        let token = received.head.uri.path().strip_prefix("/3/device/").ok_or(Refusal(404, "BadPath"))?;
        self.check_bearer(received)?;
        if received.header("apns-topic") != TOPIC {
            return Err(Refusal(400, "BadTopic"));
        }
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Refusal(400, "BadDeviceToken"));
        }
        let payload: Value =
            serde_json::from_slice(&received.body).map_err(|_| Refusal(400, "PayloadEmpty"))?;
        if received.body.len() > 4096 {
            return Err(Refusal(413, "PayloadTooLarge"));
        }
        let push_type = received.header("apns-push-type").to_owned();
        let priority = received.header("apns-priority");
        match (push_type.as_str(), priority) {
            ("alert", "10" | "5" | "1") if payload["aps"]["alert"].is_object() => {}
            // Apple refuses silent pushes of high priority.
            ("background", "5") if payload["aps"]["content-available"] == 1 => {}
            ("alert" | "background", _) => return Err(Refusal(400, "BadPriority")),
            _ => return Err(Refusal(400, "InvalidPushType")),
        }
        if received.header("apns-collapse-id").len() > 64 {
            return Err(Refusal(400, "BadCollapseId"));
        }
        let expiration: u64 = received.header("apns-expiration").parse().unwrap_or(0);
        if expiration < keys::now() + 24 * 3600 {
            return Err(Refusal(400, "BadExpirationDate"));
        }
        Ok(ApnsPush { at: received.at, token: token.to_owned(), push_type, payload })
    }

    fn check_bearer(&self, received: &Received) -> Result<(), Refusal> {
        let bearer = received.header("authorization");
        let bearer = bearer.strip_prefix("bearer ").ok_or(Refusal(403, "MissingProviderToken"))?;
        let known = self.known.lock().get(bearer).copied();
        let issued = if let Some(issued) = known {
            issued
        } else {
            let issued = self.read_bearer(bearer).map_err(|_| Refusal(403, "InvalidProviderToken"))?;
            self.known.lock().insert(bearer.to_owned(), issued);
            issued
        };
        if issued + TOKEN_AGE_MAX < keys::now() || issued < *self.expired_before.lock() {
            return Err(Refusal(403, "ExpiredProviderToken"));
        }
        Ok(())
    }

    fn read_bearer(&self, bearer: &str) -> anyhow::Result<u64> {
        let (header, claims) = keys::verify(bearer, "ES256", self.key.public())?;
        ensure!(header["kid"] == KEY_ID && claims["iss"] == TEAM_ID, "another key or team");
        claims["iat"].as_u64().filter(|issued| *issued <= keys::now() + 60).context("issued in the future")
    }
}

struct Refusal(u16, &'static str);

fn reply(status: u16, body: &Value) -> Answer {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status.try_into().unwrap_or_default();
    response
}
