//! The way every request takes, whatever carried it.

use std::{convert::Infallible, sync::Arc};

use auth::audit::from_peer;
use axum::{Router, body::Body, response::IntoResponse};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, uri::PathAndQuery};
use protocol::ambient::Timestamp;
use tokio::time::{error::Elapsed, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::{
    caller::{Carrier, Origin},
    limits::GatewayConfig,
    long_poll,
    metrics::GatewayMetrics,
    reply::Refusal,
    router::router,
    services::Services,
    signal::messages::PlainSend,
    socket,
};

/// The server's time on every answer, in milliseconds since the epoch. Clients take an answer without it
/// for one that something in between has made up.
pub(crate) const TIMESTAMP: HeaderName = HeaderName::from_static("x-signal-timestamp");

/// Takes requests in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Door(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    router: Router,
    services: Services,
    config: GatewayConfig,
    metrics: GatewayMetrics,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Door {
    /// A door to those services, which counts what is open there.
    pub fn new(services: Services, config: GatewayConfig, metrics: GatewayMetrics) -> Self {
        Self(Arc::new(Inner {
            router: router(&services),
            services,
            config,
            metrics,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }))
    }

    pub(crate) fn services(&self) -> &Services {
        &self.0.services
    }

    pub(crate) fn config(&self) -> &GatewayConfig {
        &self.0.config
    }

    pub(crate) fn metrics(&self) -> &GatewayMetrics {
        &self.0.metrics
    }

    /// Everything that must end before the process does: connections, sockets, requests under way.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// Fires when the server is to stop.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// Tells everything that is open to finish, and waits until it has.
    pub async fn close(&self) {
        self.0.stopping.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Answers a request that came over HTTPS.
    pub(crate) async fn handle(&self, request: Request<Body>, origin: Origin) -> Response<Body> {
        from_peer(origin.peer, self.answer(request, origin)).await
    }

    async fn answer(&self, mut request: Request<Body>, origin: Origin) -> Response<Body> {
        ignore_trailing_slash(request.uri_mut());
        request.extensions_mut().insert(origin);
        let mut response = if let Some(kind) = socket::Kind::of_path(request.uri().path()) {
            socket::upgrade(self, kind, request, origin).await
        } else if request.method().is_safe() {
            self.route(request, StatusCode::REQUEST_TIMEOUT).await
        } else {
            // A caller that hangs up must not cancel half a change.
            let door = self.clone();
            let work = async move { door.route(request, StatusCode::REQUEST_TIMEOUT).await };
            self.tasks()
                .spawn(from_peer(origin.peer, work))
                .await
                .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
        };
        response.headers_mut().insert(TIMESTAMP, self.timestamp());
        response
    }

    /// Answers a request that came in a frame of a websocket.
    pub(crate) async fn handle_framed(&self, mut request: Request<Body>, origin: Origin) -> Response<Body> {
        ignore_trailing_slash(request.uri_mut());
        request.extensions_mut().insert(origin);
        from_peer(origin.peer, self.route(request, StatusCode::SERVICE_UNAVAILABLE)).await
    }

    /// Answers a request to send messages that came in a frame of a websocket: the body of the answer, in JSON, or all of
    /// it if it is refused.
    pub(crate) async fn send_framed(&self, send: PlainSend, origin: Origin) -> Result<Bytes, Response<Body>> {
        let device = match origin.carrier {
            Carrier::Socket(identity) => identity,
            Carrier::Https => None,
        };
        let sending = send.send(&self.0.services.parts().messages, device);
        let answer = from_peer(origin.peer, timeout(self.0.config.request_timeout, sending)).await;
        match answer {
            Ok(answer) => answer,
            Err(_) => Err(Refusal::bare(StatusCode::SERVICE_UNAVAILABLE).into_response()),
        }
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.services.parts().clock.now()
    }

    /// The present moment as the value of [`TIMESTAMP`].
    pub(crate) fn timestamp(&self) -> HeaderValue {
        HeaderValue::from(self.now().as_millis())
    }

    async fn route(&self, request: Request<Body>, too_late: StatusCode) -> Response<Body> {
        let router = self.0.router.clone();
        if long_poll::is_one(request.method(), request.uri().path()) {
            let limit = self.0.config.request_timeout + long_poll::PATIENCE_MAX;
            return tokio::select! {
                answer = timeout(limit, router.oneshot(request)) => in_time(answer, too_late),
                // Nobody waits for those who wait.
                () = self.0.stopping.cancelled() => long_poll::NOTHING_YET.into_response(),
            };
        }
        in_time(timeout(self.0.config.request_timeout, router.oneshot(request)).await, too_late)
    }
}

fn in_time(
    answer: Result<Result<Response<Body>, Infallible>, Elapsed>,
    too_late: StatusCode,
) -> Response<Body> {
    match answer {
        Ok(Ok(response)) => response,
        Err(_) => Refusal::bare(too_late).into_response(),
    }
}

/// Clients write some paths with a slash at the end, and mean the same.
fn ignore_trailing_slash(uri: &mut Uri) {
    let Some(trimmed) = uri.path().strip_suffix('/').filter(|path| !path.is_empty()) else { return };
    let path_and_query = match uri.query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(path_and_query).ok();
    if let Ok(shorter) = Uri::from_parts(parts) {
        *uri = shorter;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trailing_slash_means_nothing() {
        for (path, meant) in [
            ("/", "/"),
            ("/v1/websocket/", "/v1/websocket"),
            ("/a/?b=/", "/a?b=/"),
            ("/a", "/a"),
            ("https://localhost/a/", "https://localhost/a"),
        ] {
            let mut uri: Uri = path.parse().unwrap();
            ignore_trailing_slash(&mut uri);
            assert_eq!(uri, meant, "{path}");
        }
    }
}
