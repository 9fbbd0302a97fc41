//! How a provider is asked again when it does not answer.

use std::{sync::Arc, time::Duration};

use auth::verification::{NotDelivered, SendCodeError};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use outgoing::{Answer, Client, SendError};
use protocol::ambient::Entropy;

/// How often and how long a provider is asked for one code.
///
/// All of it happens while the client waits for its answer, and must be over before the gateway gives the request up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Tries in all.
    pub tries: u32,
    /// Wait after the first try; doubled after each one.
    pub first_wait: Duration,
    /// After so long no other try is begun.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 3, first_wait: Duration::from_millis(500), total: Duration::from_secs(12) }
    }
}

impl Patience {
    /// Makes a request, and makes it again while the other side is away or fails on its side. Whatever it answers in the
    /// end is the answer; what was not answered at all is [`unavailable`].
    pub(crate) async fn ask(
        self,
        client: &Client,
        entropy: &dyn Entropy,
        mut request: impl FnMut() -> Result<Request<Bytes>, http::Error>,
    ) -> Result<Answer, SendCodeError> {
        let began = tokio::time::Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let request = request().map_err(|error| {
                tracing::error!(%error, "a request to the provider of codes cannot be made");
                unavailable()
            })?;
            let outcome = client.send(request).await;
            let again = match &outcome {
                Ok(answer) => answer.status().is_server_error(),
                Err(SendError::Unreachable(_) | SendError::TimedOut | SendError::Broken(_)) => true,
                Err(SendError::Forbidden | SendError::Unusable(_)) => false,
            };
            let wait = self.wait(tries, entropy);
            if again && tries < self.tries && began.elapsed() + wait < self.total {
                tokio::time::sleep(wait).await;
                continue;
            }
            return outcome.map_err(|error| {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    tries,
                    "the provider of codes did not answer"
                );
                unavailable()
            });
        }
    }

    /// Half of the wait for certain, the rest at random: what failed together does not come back together.
    fn wait(self, tries: u32, entropy: &dyn Entropy) -> Duration {
        let doubled = 1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        let wait = self.first_wait.saturating_mul(doubled);
        let [share] = entropy.bytes();
        wait / 2 + wait.mul_f64(f64::from(share) / 512.0)
    }
}

/// The provider is away or fails; it may work later.
pub(crate) fn unavailable() -> SendCodeError {
    SendCodeError::NotDelivered { reason: NotDelivered::ProviderUnavailable, permanent: false }
}

/// The provider does not serve this number, or not this way, and will not.
pub(crate) fn rejected() -> SendCodeError {
    SendCodeError::NotDelivered { reason: NotDelivered::ProviderRejected, permanent: true }
}

/// The provider cannot make sense of what it was told.
pub(crate) fn illegal() -> SendCodeError {
    SendCodeError::NotDelivered { reason: NotDelivered::IllegalArgument, permanent: true }
}

/// The provider wants us to wait.
pub(crate) fn limited(headers: &HeaderMap) -> SendCodeError {
    let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    SendCodeError::RateLimited(seconds.map(Duration::from_secs))
}

/// What the log says of an answer that is our fault or the operator's: the configuration does not fit.
pub(crate) fn complain(status: StatusCode, code: Option<u64>) {
    tracing::error!(
        status = status.as_u16(),
        code,
        "the provider of codes refuses us: is it configured correctly?"
    );
}

/// Randomness that providers share.
pub(crate) type Randomness = Arc<dyn Entropy>;
