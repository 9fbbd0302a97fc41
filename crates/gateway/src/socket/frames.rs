//! Between frames and HTTP: a request frame becomes a request to the router, its response a frame.

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT},
};
use protocol::frame::{Frame, RequestFrame, ResponseFrame, parse_header};

use crate::{door::TIMESTAMP, limits::SOCKET_RESPONSE_MAX};

/// The proxies' account of where a request came from means nothing inside a socket.
const FORWARDED: &str = "x-forwarded-for";

/// A request frame as the router takes it; `None` if its verb or path is none.
pub(super) fn request(frame: RequestFrame, inherited: &HeaderMap) -> Option<Request<Body>> {
    let method = Method::from_bytes(frame.verb.as_bytes()).ok()?;
    let uri =
        Uri::try_from(frame.path).ok().filter(|uri| uri.path().starts_with('/') && uri.host().is_none())?;
    let mut request = Request::new(frame.body.map_or_else(Body::empty, Body::from));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.clone_from(inherited);
    for (name, value) in frame.headers.iter().filter_map(|line| parse_header(line)) {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        else {
            continue;
        };
        // Which client holds the socket was said when it was opened.
        if name != FORWARDED && !(name == USER_AGENT && inherited.contains_key(&name)) {
            headers.insert(name, value);
        }
    }
    Some(request)
}

/// The response as a frame.
pub(super) async fn response(id: u64, response: Response<Body>, timestamp: HeaderValue) -> Frame {
    let (mut parts, body) = response.into_parts();
    // Responses are made here: one that is too long is a fault of this server.
    let body = to_bytes(body, SOCKET_RESPONSE_MAX).await.unwrap_or_else(|_| {
        tracing::error!("a response was too long for a frame");
        parts.status = StatusCode::INTERNAL_SERVER_ERROR;
        Bytes::new()
    });
    parts.headers.insert(TIMESTAMP, timestamp);
    // Clients that parse an answer with a content type expect content.
    if body.is_empty() {
        parts.headers.remove(CONTENT_TYPE);
    }
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    Frame::Response(ResponseFrame {
        id,
        status: parts.status.as_u16(),
        message: parts.status.canonical_reason().unwrap_or_default().to_owned(),
        headers: lines(&parts.headers),
        body: (!body.is_empty()).then_some(body),
    })
}

/// A response without headers worth mentioning and without a body.
pub(super) fn bare_response(id: u64, status: StatusCode, timestamp: &HeaderValue) -> Frame {
    Frame::Response(ResponseFrame {
        id,
        status: status.as_u16(),
        message: status.canonical_reason().unwrap_or_default().to_owned(),
        headers: vec![line(&TIMESTAMP, timestamp)],
        body: None,
    })
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, value)| line(name, value)).collect()
}

/// Official clients fail on bytes beyond ASCII here; this server sends none.
fn line(name: &HeaderName, value: &HeaderValue) -> String {
    [name.as_str(), value.to_str().unwrap_or_default()].join(":")
}
