//! Native accounts: people who log in with a name and a password, and the socket of their devices.

use std::future::poll_fn;

use anyhow::{Context as _, bail};
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::{
    https::{Answer, Call, HttpVersion, Https},
    pipe::Pipe,
    tls::Target,
    upgrade::{NATIVE, Wish, upgrade},
    websocket::{self, FrameSpan},
};

/// A password that the policy takes.
pub const PASSWORD: &str = "a sentence is fine";

/// The header that shows that the owner was there.
pub const REAUTHENTICATION: &str = "reauthentication-token";

/// A native device that is logged in.
#[derive(Clone, Debug)]
pub struct NativeAccount {
    /// The name it logs in by.
    pub username: String,
    /// By what it knows itself again.
    pub device_identifier: String,
    /// The account.
    pub user_id: String,
    /// The device.
    pub device_id: u64,
    /// Its registration id.
    pub registration_id: u64,
    /// Its session.
    pub session_id: String,
    /// What it calls with.
    pub access_token: String,
    /// What it goes on with.
    pub refresh_token: String,
}

impl NativeAccount {
    /// Registers an account of that name with [`PASSWORD`].
    pub async fn register(https: &mut Https, username: &str) -> anyhow::Result<Self> {
        let identifier = format!("first device of {username}");
        let body = json!({ "username": username, "password": PASSWORD, "device_identifier": identifier });
        let answer = https.send(Call::post("/register").json(&body)).await?.success()?;
        Self::logged_in(username, &identifier, &answer)
    }

    /// Logs in as the account of that name, from that device.
    pub async fn login(https: &mut Https, username: &str, identifier: &str) -> anyhow::Result<Self> {
        let answer = Self::try_login(https, username, PASSWORD, identifier).await?.success()?;
        Self::logged_in(username, identifier, &answer)
    }

    /// Tries to log in, and answers what came of it.
    pub async fn try_login(
        https: &mut Https,
        username: &str,
        password: &str,
        identifier: &str,
    ) -> anyhow::Result<Answer> {
        let body = json!({ "username": username, "password": password, "device_identifier": identifier });
        https.send(Call::post("/login").json(&body)).await
    }

    /// The device that was logged in with that answer.
    pub fn logged_in(username: &str, identifier: &str, answer: &Answer) -> anyhow::Result<Self> {
        let body = answer.json()?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a text is missing");
        Ok(Self {
            username: username.to_owned(),
            device_identifier: identifier.to_owned(),
            user_id: text(&body["user_id"])?,
            device_id: body["device_id"].as_u64().context("device_id")?,
            registration_id: body["registration_id"].as_u64().context("registration_id")?,
            session_id: text(&body["session_id"])?,
            access_token: text(&body["tokens"]["access_token"])?,
            refresh_token: text(&body["tokens"]["refresh_token"])?,
        })
    }

    /// The header that shows its access token.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.access_token)
    }

    /// Asks for something with its access token.
    pub async fn send(&self, https: &mut Https, call: Call) -> anyhow::Result<Answer> {
        https.send(call.authorization(&self.authorization())).await
    }

    /// Shows the password again, and answers the token that comes of it.
    pub async fn reauthenticate(&self, https: &mut Https) -> anyhow::Result<String> {
        self.reauthenticate_with(https, &json!({ "password": PASSWORD })).await
    }

    /// Shows again who the owner is, and answers the token that comes of it.
    pub async fn reauthenticate_with(&self, https: &mut Https, proof: &Value) -> anyhow::Result<String> {
        let answer = self.send(https, Call::post("/reauthenticate").json(proof)).await?.success()?.json()?;
        Ok(answer["reauthentication_token"].as_str().context("a token")?.to_owned())
    }

    /// Trades the refresh token in.
    pub async fn refresh(&mut self, https: &mut Https) -> anyhow::Result<Answer> {
        let answer = refresh(https, &self.refresh_token).await?;
        if answer.status == 200 {
            let body = answer.json()?;
            body["access_token"].as_str().context("access_token")?.clone_into(&mut self.access_token);
            body["refresh_token"].as_str().context("refresh_token")?.clone_into(&mut self.refresh_token);
        }
        Ok(answer)
    }
}

/// Trades that refresh token in.
pub async fn refresh(https: &mut Https, token: &str) -> anyhow::Result<Answer> {
    https.send(Call::post("/token/refresh").json(&json!({ "refresh_token": token }))).await
}

/// The code of a refusal.
pub fn code(answer: &Answer) -> String {
    let code = answer.json().ok().and_then(|body| body["code"].as_str().map(str::to_owned));
    code.unwrap_or_else(|| format!("{} without a code", answer.status))
}

/// The websocket of a native device.
#[derive(Debug)]
pub struct NativeStream {
    pipe: Pipe,
}

/// What came in on a [`NativeStream`].
#[derive(Clone, Debug, PartialEq)]
pub enum NativeEvent {
    /// Text, read as JSON.
    Json(Value),
    /// The server closes, with this code.
    Close(u16),
}

impl NativeStream {
    /// Opens it with that `Authorization` header.
    pub async fn connect(
        target: &Target,
        version: HttpVersion,
        authorization: Option<&str>,
    ) -> anyhow::Result<Self> {
        let wish = Wish { path: NATIVE, authorization, ..Wish::default() };
        Ok(Self { pipe: upgrade(target, version, wish).await?.pipe })
    }

    /// Waits for what comes next. Pings are answered on the way.
    pub async fn next(&mut self) -> anyhow::Result<NativeEvent> {
        loop {
            let FrameSpan { opcode, payload, len } = match websocket::first_frame(self.pipe.received())? {
                Ok(span) => span,
                Err(needed) => {
                    self.pipe.make_room(needed);
                    poll_fn(|cx| self.pipe.poll_io(cx)).await?;
                    continue;
                }
            };
            let content = self.pipe.take(len)[payload..].to_vec();
            match opcode {
                websocket::TEXT => return Ok(NativeEvent::Json(serde_json::from_slice(&content)?)),
                websocket::CLOSE => {
                    let code = content.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    return Ok(NativeEvent::Close(code));
                }
                websocket::PING => self.queue(websocket::PONG, &content),
                websocket::PONG => {}
                other => bail!("unexpected websocket opcode {other}"),
            }
        }
    }

    /// Waits for the next message; the notice that the queue is empty is passed over.
    pub async fn message(&mut self) -> anyhow::Result<Value> {
        loop {
            match self.next().await? {
                NativeEvent::Json(mut event) if event["type"] == "message" => {
                    return Ok(event["message"].take());
                }
                NativeEvent::Json(_) => {}
                NativeEvent::Close(code) => bail!("closed with {code}"),
            }
        }
    }

    /// Waits until the server closes, and answers its code.
    pub async fn closed(&mut self) -> anyhow::Result<u16> {
        loop {
            if let NativeEvent::Close(code) = self.next().await? {
                return Ok(code);
            }
        }
    }

    /// Acknowledges a message.
    pub async fn acknowledge(&mut self, message: &Value) -> anyhow::Result<()> {
        self.send(&json!({ "type": "acknowledge", "message_ids": [message["id"]] }).to_string()).await
    }

    /// Sends text.
    pub async fn send(&mut self, text: &str) -> anyhow::Result<()> {
        self.queue(websocket::TEXT, text.as_bytes());
        Ok(poll_fn(|cx| self.pipe.poll_send(cx)).await?)
    }

    fn queue(&mut self, opcode: u8, payload: &[u8]) {
        websocket::put_frame(self.pipe.outbox(), opcode, payload, rand::rng().random());
    }
}
