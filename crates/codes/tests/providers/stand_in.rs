//! A server that answers as it is told, and remembers what it was asked.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use auth::verification::{Code, CodeMessage, Transport};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode, body::Incoming, header::RETRY_AFTER, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use outgoing::{AddressPolicy, Client, ClientSettings};
use parking_lot::Mutex;
use protocol::ambient::SeededEntropy;
use tokio::net::TcpListener;

/// How the stand-in answers a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With that status and body.
    Status(u16, &'static str),
    /// With 429 and that wait.
    Wait(&'static str),
    /// Not at all: the connection is closed.
    HangUp,
    /// Never.
    Silence,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Clone)]
pub(crate) struct StandIn {
    pub(crate) base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl StandIn {
    /// A server that answers with these one after another, and with the last one from then on.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
        let stand_in = Self { base, asked: Arc::clone(&asked) };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (asked, replies) = (Arc::clone(&asked), Arc::clone(&replies));
                let service =
                    service_fn(move |request| answer(request, Arc::clone(&asked), Arc::clone(&replies)));
                tokio::spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        stand_in
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    asked: Arc<Mutex<Vec<Asked>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| "no body")?.to_bytes();
    asked.lock().push(Asked { path: parts.uri.path().to_owned(), headers: parts.headers, body });
    let reply = {
        let mut replies = replies.lock();
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
    };
    let response = |status, body: &'static str| {
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    };
    match reply {
        Some(Reply::Status(status, body)) => Ok(response(status, body)),
        Some(Reply::Wait(wait)) => {
            let mut response = response(429, "{}");
            response.headers_mut().insert(RETRY_AFTER, wait.parse().unwrap());
            Ok(response)
        }
        Some(Reply::HangUp) | None => Err("hanging up"),
        Some(Reply::Silence) => std::future::pending().await,
    }
}

/// A client that gives up soon.
pub(crate) fn client() -> Arc<Client> {
    Arc::new(Client::new(ClientSettings {
        addresses: AddressPolicy::everywhere(),
        https_only: false,
        timeout: Duration::from_millis(500),
        ..ClientSettings::default()
    }))
}

pub(crate) fn patience() -> codes::Patience {
    codes::Patience { tries: 3, first_wait: Duration::from_millis(5), total: Duration::from_secs(5) }
}

pub(crate) fn message(transport: Transport) -> CodeMessage {
    CodeMessage {
        to: "+15550100001".parse().unwrap(),
        transport,
        code: Code::random(&SeededEntropy::new(1)),
        client: Some("ios".to_owned()),
        languages: Some("de-DE, en;q=0.5".to_owned()),
    }
}
