//! What the calling software says it is.

use std::convert::Infallible;

use auth::device::Agent;
use axum::extract::FromRequestParts;
use http::request::Parts;

const SIGNAL_AGENT: &str = "x-signal-agent";

/// The value of `X-Signal-Agent`, such as `OWI`; clients need not send it.
#[derive(Clone, Debug)]
pub(crate) struct SignalAgent(pub(crate) Option<Agent>);

impl<S: Send + Sync> FromRequestParts<S> for SignalAgent {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let value = parts.headers.get(SIGNAL_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self(value.filter(|text| !text.is_empty()).map(Agent::new)))
    }
}
