//! Telling when nothing has been heard of a client for too long.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Ready once nothing has been heard for the limit.
pub(super) struct Idle {
    limit: Duration,
    heard: Instant,
    /// Set anew only when it has run out: messages are more frequent than that.
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, heard: Instant::now(), timer: Box::pin(sleep(limit)) }
    }

    /// Something has been heard.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let deadline = self.heard + self.limit;
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(90);
    const ALMOST: Duration = Duration::from_secs(89);

    #[tokio::test(start_paused = true)]
    async fn who_is_heard_in_time_is_not_idle() {
        let mut idle = Idle::new(LIMIT);
        for _ in 0..5 {
            let waited = timeout(ALMOST, poll_fn(|context| idle.poll(context))).await;
            assert!(waited.is_err(), "given up too early");
            idle.heard();
        }
        let began = Instant::now();
        poll_fn(|context| idle.poll(context)).await;
        assert_eq!(began.elapsed().as_secs(), LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_word_comes_too_late_only_after_the_limit() {
        let mut idle = Idle::new(LIMIT);
        advance(ALMOST).await;
        idle.heard();
        let began = Instant::now();
        poll_fn(|context| idle.poll(context)).await;
        assert_eq!(began.elapsed().as_secs(), LIMIT.as_secs());
    }
}
