//! A push server of Web Push, and the devices that have subscribed at it.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Context as _, ensure};
use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use http::{Method, Response};
use http_body_util::Full;
use parking_lot::Mutex;
use rand::Rng as _;
use serde_json::Value;
use sha2::Sha256;
use tokio::time::Instant;

use super::{
    keys,
    server::{Answer, Received, StandIn},
};

/// A device's side of a subscription: it alone can read what is pushed to it.
pub struct Subscriber {
    private: PrivateKey,
    public: Vec<u8>,
    auth: [u8; 16],
}

impl Subscriber {
    /// One with fresh keys.
    pub fn generate() -> anyhow::Result<Self> {
        let private = PrivateKey::generate(&ECDH_P256)?;
        let public = private.compute_public_key()?.as_ref().to_vec();
        let mut auth = [0; 16];
        rand::rng().fill_bytes(&mut auth);
        Ok(Self { private, public, auth })
    }

    /// The public key in base64url.
    pub fn p256dh(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.public)
    }

    /// The secret in base64url.
    pub fn auth(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.auth)
    }

    /// Reads a message (RFC 8291, section 4; RFC 8188, section 2).
    pub fn decrypt(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        ensure!(message.len() > 21, "no header");
        let (salt, rest) = message.split_at(16);
        let (size, rest) = rest.split_at(4);
        let size = usize::try_from(u32::from_be_bytes(size.try_into()?))?;
        let (&key_len, rest) = rest.split_first().context("no key")?;
        ensure!(key_len == 65 && rest.len() > 65, "the key is no point of P-256");
        let (server_key, record) = rest.split_at(65);
        ensure!(record.len() <= size, "more than one record");
        let peer = UnparsedPublicKey::new(&ECDH_P256, server_key);
        let shared = agreement::agree(&self.private, peer, anyhow::anyhow!("no agreement"), |shared| {
            Ok(shared.to_vec())
        })?;
        let mut ikm = [0; 32];
        let info = [b"WebPush: info\0", &self.public[..], server_key].concat();
        expand(&self.auth, &shared, &info, &mut ikm)?;
        let (mut key, mut nonce) = ([0; 16], [0; 12]);
        expand(salt, &ikm, b"Content-Encoding: aes128gcm\0", &mut key)?;
        expand(salt, &ikm, b"Content-Encoding: nonce\0", &mut nonce)?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
        let mut record = record.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = key.open_in_place(nonce, Aad::empty(), &mut record).context("it does not open")?;
        let end = plain.iter().rposition(|byte| *byte != 0).context("nothing but padding")?;
        ensure!(plain[end] == 2, "not the last record");
        Ok(plain[..end].to_vec())
    }
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriber").finish_non_exhaustive()
    }
}

fn expand(salt: &[u8], ikm: &[u8], info: &[u8], out: &mut [u8]) -> anyhow::Result<()> {
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, out).map_err(|_| anyhow::anyhow!("too long"))
}

/// A message that was taken, and what its device read.
#[derive(Clone, Debug)]
pub struct WebPushMessage {
    /// When it had come.
    pub at: Instant,
    /// The last part of the endpoint.
    pub name: String,
    /// `high` and the like.
    pub urgency: String,
    /// Later messages of a topic replace earlier ones.
    pub topic: String,
    /// What the device read.
    pub content: Value,
    /// Bytes of the message.
    pub len: usize,
}

/// A push server: takes what servers that want VAPID take, and hands it to the devices.
#[derive(Debug)]
pub struct WebPushStandIn {
    server: StandIn,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    origin: Mutex<String>,
    subscribers: Mutex<HashMap<String, Arc<Subscriber>>>,
    answers: Mutex<HashMap<String, (u16, Option<u64>)>>,
    taken: Mutex<Vec<WebPushMessage>>,
    refused: Mutex<Vec<String>>,
    /// Tokens that were found good, and by whose key.
    known: Mutex<HashMap<String, String>>,
}

impl WebPushStandIn {
    /// Starts it.
    pub async fn start() -> anyhow::Result<Self> {
        let state = Arc::new(State::default());
        let handling = Arc::clone(&state);
        let server = StandIn::start(move |received| handling.answer(&received)).await?;
        *state.origin.lock() = server.url();
        Ok(Self { server, state })
    }

    /// The server itself.
    pub fn server(&self) -> &StandIn {
        &self.server
    }

    /// A device subscribes under that name; the endpoint.
    pub fn subscribe(&self, name: &str) -> anyhow::Result<(String, Arc<Subscriber>)> {
        let subscriber = Arc::new(Subscriber::generate()?);
        self.state.subscribers.lock().insert(name.to_owned(), Arc::clone(&subscriber));
        Ok((format!("{}/push/{name}", self.server.url()), subscriber))
    }

    /// Answers messages to that device like this from now on; an empty name means all others.
    pub fn answer(&self, name: &str, status: u16, retry_after: Option<u64>) {
        self.state.answers.lock().insert(name.to_owned(), (status, retry_after));
    }

    /// Takes messages again.
    pub fn answer_normally(&self) {
        self.state.answers.lock().clear();
    }

    /// What was taken so far.
    pub fn taken(&self) -> Vec<WebPushMessage> {
        self.state.taken.lock().clone()
    }

    /// What was wrong with what came.
    pub fn refused(&self) -> Vec<String> {
        self.state.refused.lock().clone()
    }

    /// The keys that signed, each once.
    pub fn signers(&self) -> Vec<String> {
        let mut signers: Vec<_> = self.state.known.lock().values().cloned().collect();
        signers.sort();
        signers.dedup();
        signers
    }
}

impl State {
    fn answer(&self, received: &Received) -> Answer {
        let name = received.head.uri.path().strip_prefix("/push/").unwrap_or_default();
        let told = {
            let answers = self.answers.lock();
            answers.get(name).or_else(|| answers.get("")).copied()
        };
        if let Some((status, retry_after)) = told {
            return reply(status, retry_after);
        }
        let Some(subscriber) = self.subscribers.lock().get(name).cloned() else { return reply(404, None) };
        match self.check(received, &subscriber) {
            Ok(message) => {
                self.taken.lock().push(WebPushMessage { name: name.to_owned(), ..message });
                reply(201, None)
            }
            Err(error) => {
                self.refused.lock().push(format!("{error:#}"));
                reply(400, None)
            }
        }
    }

    fn check(&self, received: &Received, subscriber: &Subscriber) -> anyhow::Result<WebPushMessage> {
        ensure!(received.head.method == Method::POST, "not a POST");
        ensure!(received.header("content-encoding") == "aes128gcm", "content-encoding");
        ensure!(received.header("ttl").parse::<u32>().is_ok(), "ttl");
        let urgency = received.header("urgency");
        ensure!(["very-low", "low", "normal", "high"].contains(&urgency), "urgency");
        let topic = received.header("topic");
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        ensure!(topic.len() <= 32 && topic.bytes().all(fine), "topic");
        self.check_vapid(received.header("authorization"))?;
        // Push servers need not take more (RFC 8291, section 4).
        ensure!(received.body.len() <= 4096, "too long");
        let content = serde_json::from_slice(&subscriber.decrypt(&received.body)?)?;
        Ok(WebPushMessage {
            at: received.at,
            name: String::new(),
            urgency: urgency.to_owned(),
            topic: topic.to_owned(),
            content,
            len: received.body.len(),
        })
    }

    /// RFC 8292, section 4.2.
    fn check_vapid(&self, authorization: &str) -> anyhow::Result<()> {
        if self.known.lock().contains_key(authorization) {
            return Ok(());
        }
        let parameters = authorization.strip_prefix("vapid ").context("not vapid")?;
        let find = |name: &str| {
            parameters.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let (token, key) = (find("t").context("no token")?, find("k").context("no key")?);
        let (_, claims) = keys::verify(token, "ES256", &URL_SAFE_NO_PAD.decode(key)?)?;
        ensure!(claims["aud"] == *self.origin.lock(), "for {}", claims["aud"]);
        let ends = claims["exp"].as_u64().unwrap_or(0);
        ensure!(keys::now() < ends && ends <= keys::now() + 24 * 3600, "not of this day");
        self.known.lock().insert(authorization.to_owned(), key.to_owned());
        Ok(())
    }
}

fn reply(status: u16, retry_after: Option<u64>) -> Answer {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status.try_into().unwrap_or_default();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
