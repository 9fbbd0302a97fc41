//! The opening of a websocket: RFC 6455 §4.2 over HTTP/1.1, RFC 8441 over HTTP/2.

use aws_lc_rs::digest;
use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{ext::Protocol, upgrade::OnUpgrade};

/// What the key is hashed with (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const WEBSOCKET: &str = "websocket";

/// The version of the protocol that is spoken.
const VERSION: &str = "13";

/// A request to open a websocket that can be granted.
pub(super) struct Handshake {
    upgrade: OnUpgrade,
    /// The proof that the request was understood; HTTP/2 needs none.
    accept: Option<HeaderValue>,
}

impl Handshake {
    /// Checks the request, or says with what status it is refused.
    pub(super) fn of(request: &mut Request<Body>) -> Result<Self, StatusCode> {
        let accept = if request.version() < Version::HTTP_2 {
            Some(accept_http1(request)?)
        } else {
            check_http2(request)?;
            None
        };
        if request.headers().get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
            return Err(StatusCode::BAD_REQUEST);
        }
        Ok(Self { upgrade: hyper::upgrade::on(request), accept })
    }

    /// The answer that opens the socket, and where the connection appears once it has been sent.
    pub(super) fn grant(self) -> (Response<Body>, OnUpgrade) {
        let mut response = Response::new(Body::empty());
        if let Some(accept) = self.accept {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        (response, self.upgrade)
    }
}

fn accept_http1(request: &Request<Body>) -> Result<HeaderValue, StatusCode> {
    if request.method() != Method::GET {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !lists(request, &header::CONNECTION, "upgrade") || !lists(request, &header::UPGRADE, WEBSOCKET) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).ok_or(StatusCode::BAD_REQUEST)?;
    HeaderValue::try_from(accept_key(key.as_bytes())).map_err(|_| StatusCode::BAD_REQUEST)
}

fn check_http2(request: &Request<Body>) -> Result<(), StatusCode> {
    if request.method() != Method::CONNECT {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let protocol = request.extensions().get::<Protocol>();
    let is_websocket = protocol.is_some_and(|protocol| protocol.as_str() == WEBSOCKET);
    if is_websocket { Ok(()) } else { Err(StatusCode::BAD_REQUEST) }
}

/// Whether a header that is a list of words has that one, in any case.
fn lists(request: &Request<Body>, name: &HeaderName, word: &str) -> bool {
    let values = request.headers().get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}

fn accept_key(key: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(GUID);
    STANDARD.encode(context.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http1(change: impl FnOnce(&mut Request<Body>)) -> Result<HeaderValue, StatusCode> {
        let mut request = Request::get("/v1/websocket")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(Body::empty())
            .unwrap();
        change(&mut request);
        let (response, _) = Handshake::of(&mut request)?.grant();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        Ok(response.headers()[header::SEC_WEBSOCKET_ACCEPT].clone())
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(http1(|_| {}).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_missing_is_refused() {
        for name in ["connection", "upgrade", "sec-websocket-version", "sec-websocket-key"] {
            let refused = http1(|request| drop(request.headers_mut().remove(name)));
            assert_eq!(refused, Err(StatusCode::BAD_REQUEST), "{name}");
        }
        let refused = http1(|request| *request.method_mut() = Method::POST);
        assert_eq!(refused, Err(StatusCode::METHOD_NOT_ALLOWED));
    }

    #[test]
    fn http2_opens_with_an_extended_connect() {
        let request = |method, protocol: Option<&'static str>| {
            let mut request = Request::new(Body::empty());
            *request.method_mut() = method;
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
            request.extensions_mut().extend(
                protocol
                    .map(|name| {
                        let mut extensions = http::Extensions::new();
                        extensions.insert(Protocol::from_static(name));
                        extensions
                    })
                    .unwrap_or_default(),
            );
            Handshake::of(&mut request).map(|handshake| handshake.grant().0.status())
        };
        assert_eq!(request(Method::CONNECT, Some("websocket")), Ok(StatusCode::OK));
        assert_eq!(request(Method::CONNECT, Some("other")), Err(StatusCode::BAD_REQUEST));
        assert_eq!(request(Method::CONNECT, None), Err(StatusCode::BAD_REQUEST));
        assert_eq!(request(Method::GET, None), Err(StatusCode::METHOD_NOT_ALLOWED));
    }
}
