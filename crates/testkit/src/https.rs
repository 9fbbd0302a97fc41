//! A minimal HTTPS client: one connection, one call at a time.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;

use crate::{
    account::Account,
    tls::{HOST, Target},
};

/// Which version of HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// One connection.
#[derive(Debug)]
pub struct Https {
    sender: Sender,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Call {
    /// A request without body or credentials.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// `GET`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// `PUT`.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// `POST`.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// `DELETE`.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// With the account's credentials.
    #[must_use]
    pub fn auth(self, account: &Account) -> Self {
        self.authorization(&account.authorization())
    }

    /// With this `Authorization` header; text that cannot be a header is left out.
    #[must_use]
    pub fn authorization(mut self, value: &str) -> Self {
        if let Ok(value) = value.parse() {
            self.headers.insert(header::AUTHORIZATION, value);
        }
        self
    }

    /// With this header; text that cannot be its value is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = value.parse() {
            self.headers.insert(name, value);
        }
        self
    }

    /// With this JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
        self.body = body.into();
        self
    }

    fn into_request(self, version: HttpVersion) -> anyhow::Result<Request<Full<Bytes>>> {
        let uri = match version {
            HttpVersion::Http1 => self.path,
            HttpVersion::Http2 => format!("https://{HOST}{}", self.path),
        };
        let mut request = Request::builder().method(self.method).uri(uri).body(Full::new(self.body))?;
        *request.headers_mut() = self.headers;
        if version == HttpVersion::Http1 {
            request.headers_mut().insert(header::HOST, header::HeaderValue::from_static(HOST));
        }
        Ok(request)
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("status {}, no JSON", self.status))
    }

    /// This answer if its status is a success, else an error that says what it was.
    pub fn success(self) -> anyhow::Result<Self> {
        let body = String::from_utf8_lossy(&self.body);
        ensure!(self.status.is_success(), "answered {} {body}", self.status);
        Ok(self)
    }
}

impl Https {
    /// Opens a connection.
    pub async fn connect(target: &Target, version: HttpVersion) -> anyhow::Result<Self> {
        let stream = TokioIo::new(target.connect(version).await?);
        let sender = match version {
            HttpVersion::Http1 => {
                let (sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            HttpVersion::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        };
        Ok(Self { sender })
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, call: Call) -> anyhow::Result<Answer> {
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(call.into_request(HttpVersion::Http1)?).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(call.into_request(HttpVersion::Http2)?).await?
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}
