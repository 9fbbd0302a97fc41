//! Google's service, with the endpoint that gives out access tokens.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use anyhow::ensure;
use http::{Method, Response};
use http_body_util::Full;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    keys::{self, RsaKey},
    server::{Answer, Received, StandIn},
};

const PROJECT: &str = "example-project";
const EMAIL: &str = "pusher@example-project.iam.gserviceaccount.com";
const KEY_ID: &str = "0123456789abcdef";
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// A push that was taken.
#[derive(Clone, Debug)]
pub struct FcmPush {
    /// When it had come.
    pub at: Instant,
    /// The device's token.
    pub token: String,
    /// Whether it has high priority.
    pub high: bool,
    /// The data that the app gets.
    pub data: Value,
}

/// Google's service: takes what the real one takes.
#[derive(Debug)]
pub struct FcmStandIn {
    server: StandIn,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    key: RsaKey,
    taken: Mutex<Vec<FcmPush>>,
    refused: Mutex<Vec<String>>,
    answers: Mutex<HashMap<String, Told>>,
    access: Mutex<Access>,
}

/// A status, what is said with it, and how long to wait.
type Told = (u16, Value, Option<u64>);

#[derive(Debug, Default)]
struct Access {
    granted: u64,
    good: HashSet<String>,
    /// In place of a token.
    refuses: Option<u16>,
}

impl FcmStandIn {
    /// Starts it.
    pub async fn start() -> anyhow::Result<Self> {
        let state = Arc::new(State {
            key: RsaKey::generate()?,
            taken: Mutex::default(),
            refused: Mutex::default(),
            answers: Mutex::default(),
            access: Mutex::default(),
        });
        let handling = Arc::clone(&state);
        let server = StandIn::start(move |received| handling.answer(&received)).await?;
        Ok(Self { server, state })
    }

    /// The server itself.
    pub fn server(&self) -> &StandIn {
        &self.server
    }

    /// The service account, as Google's console gives it out.
    pub fn service_account(&self) -> String {
        json!({
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": KEY_ID,
            "private_key": self.state.key.pem(),
            "client_email": EMAIL,
            "token_uri": format!("{}/token", self.server.url()),
        })
        .to_string()
    }

    /// The section of the configuration that pushes here; the service account is to be put into that file.
    pub fn config(&self, account_file: &std::path::Path) -> String {
        format!(
            "[fcm]\nservice_account_file = \"{}\"\nurl = \"{}\"\n",
            account_file.display(),
            self.server.url()
        )
    }

    /// Answers pushes to that device like this from now on; an empty token means all others.
    pub fn answer(&self, token: &str, status: u16, error_code: &str, retry_after: Option<u64>) {
        let body = json!({ "error": {
            "code": status,
            "message": "as told",
            "status": error_code,
            "details": [{
                "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",
                "errorCode": error_code,
            }],
        }});
        self.state.answers.lock().insert(token.to_owned(), (status, body, retry_after));
    }

    /// Takes pushes again.
    pub fn answer_normally(&self) {
        self.state.answers.lock().clear();
    }

    /// Takes none of the access tokens that were given out any more.
    pub fn revoke_access(&self) {
        self.state.access.lock().good.clear();
    }

    /// Gives out no access tokens but this status, or gives them out again.
    pub fn refuse_access(&self, status: Option<u16>) {
        self.state.access.lock().refuses = status;
    }

    /// How many access tokens were given out.
    pub fn granted(&self) -> u64 {
        self.state.access.lock().granted
    }

    /// What was taken so far.
    pub fn taken(&self) -> Vec<FcmPush> {
        self.state.taken.lock().clone()
    }

    /// How much was taken so far.
    pub fn count(&self) -> usize {
        self.state.taken.lock().len()
    }

    /// Forgets what was taken.
    pub fn forget(&self) {
        self.state.taken.lock().clear();
    }

    /// What was wrong with what came.
    pub fn refused(&self) -> Vec<String> {
        self.state.refused.lock().clone()
    }
}

impl State {
    fn answer(&self, received: &Received) -> Answer {
        let outcome = match received.head.uri.path() {
            "/token" => self.grant(received),
            path if path == format!("/v1/projects/{PROJECT}/messages:send") => self.take(received),
            _ => Err(refusal(404, "no such path")),
        };
        outcome.unwrap_or_else(|(status, why)| {
            self.refused.lock().push(format!("{status} {why}"));
            reply(status, &json!({ "error": { "code": status, "status": "INVALID_ARGUMENT" } }), None)
        })
    }

    fn grant(&self, received: &Received) -> Result<Answer, (u16, String)> {
        if let Some(status) = self.access.lock().refuses {
            return Ok(reply(status, &json!({ "error": "as told" }), None));
        }
        let body = String::from_utf8_lossy(&received.body);
        let assertion = body
            .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
            .ok_or_else(|| refusal(400, "unsupported_grant_type"))?;
        self.check(assertion).map_err(|error| refusal(400, &format!("invalid_grant: {error}")))?;
        let mut access = self.access.lock();
        access.granted += 1;
        let token = format!("access-{}", access.granted);
        access.good.insert(format!("Bearer {token}"));
        let granted = json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" });
        Ok(reply(200, &granted, None))
    }

    fn check(&self, assertion: &str) -> anyhow::Result<()> {
        let (header, claims) = keys::verify(assertion, "RS256", self.key.public())?;
        ensure!(header["kid"] == KEY_ID, "another key");
        ensure!(claims["iss"] == EMAIL && claims["scope"] == SCOPE, "another account or scope");
        ensure!(claims["aud"].as_str().is_some_and(|aud| aud.ends_with("/token")), "another audience");
        let [issued, ends] = ["iat", "exp"].map(|claim| claims[claim].as_u64().unwrap_or(0));
        let now = keys::now();
        ensure!(issued <= now + 60 && now < ends && ends <= issued + 3600, "not of this hour");
        Ok(())
    }

    fn take(&self, received: &Received) -> Result<Answer, (u16, String)> {
        if received.head.method != Method::POST {
            return Err(refusal(405, "not a POST"));
        }
        if !self.access.lock().good.contains(received.header("authorization")) {
            return Ok(reply(401, &json!({ "error": { "code": 401, "status": "UNAUTHENTICATED" } }), None));
        }
        let body: Value =
            serde_json::from_slice(&received.body).map_err(|error| refusal(400, &error.to_string()))?;
        let message = &body["message"];
        let token = message["token"].as_str().ok_or_else(|| refusal(400, "no token"))?;
        let data = message["data"].as_object().ok_or_else(|| refusal(400, "no data"))?;
        if !data.values().all(Value::is_string) {
            return Err(refusal(400, "data are texts"));
        }
        let high = match message["android"]["priority"].as_str() {
            Some("HIGH") => true,
            Some("NORMAL") => false,
            other => return Err(refusal(400, &format!("priority {other:?}"))),
        };
        if message["android"]["ttl"] != "2419200s" {
            return Err(refusal(400, "ttl"));
        }
        let told = {
            let answers = self.answers.lock();
            answers.get(token).or_else(|| answers.get("")).cloned()
        };
        if let Some((status, body, retry_after)) = told {
            return Ok(reply(status, &body, retry_after));
        }
        let data = message["data"].clone();
        self.taken.lock().push(FcmPush { at: received.at, token: token.to_owned(), high, data });
        Ok(reply(200, &json!({ "name": format!("projects/{PROJECT}/messages/0:1") }), None))
    }
}

fn refusal(status: u16, why: &str) -> (u16, String) {
    (status, why.to_owned())
}

fn reply(status: u16, body: &Value, retry_after: Option<u64>) -> Answer {
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status.try_into().unwrap_or_default();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
