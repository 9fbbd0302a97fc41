//! Sending in the background: whoever asked for a message is answered before it has left.
//!
//! Messages wait in memory, so many at most, and are tried again while the mail server is away, later each time and not
//! beyond the time for which they are of use. What a restart interrupts is not sent.

use std::{fmt, sync::Arc, time::Duration};

use protocol::ambient::{Clock, Timestamp};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

use super::{MailError, MailMessage, Mailer};

/// Messages waiting or under way, a kilobyte or two each. While there are so many, whoever wants to send another is
/// turned away.
const WAITING_MAX: u32 = 1000;

/// Messages handed to the mailer at once; more wait without counting against its time-out.
const AT_ONCE_MAX: usize = 8;

/// How long a message waits after each failure. After the last one it is given up.
const WAITS: [Duration; 6] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(5),
    Duration::from_mins(10),
];

/// Takes messages and has them delivered. Cheap to clone.
#[derive(Clone)]
pub struct Post(Arc<Inner>);

struct Inner {
    mailer: Arc<dyn Mailer>,
    slots: Arc<Semaphore>,
    at_once: Semaphore,
    clock: Arc<dyn Clock>,
}

/// Room for one message. Whoever has it can be sure that the message is taken.
#[must_use = "a slot keeps others waiting"]
pub struct Slot {
    post: Post,
    _room: OwnedSemaphorePermit,
}

impl Post {
    /// One that hands messages to that mailer.
    pub fn new(mailer: Arc<dyn Mailer>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            mailer,
            slots: Arc::new(Semaphore::new(WAITING_MAX as usize)),
            at_once: Semaphore::new(AT_ONCE_MAX),
            clock,
        }))
    }

    /// Room for one message; nothing while too many are waiting.
    pub fn reserve(&self) -> Option<Slot> {
        let room = Arc::clone(&self.0.slots).try_acquire_owned().ok()?;
        Some(Slot { post: self.clone(), _room: room })
    }

    /// Waits until nothing is waiting or under way any more.
    pub async fn idle(&self) {
        drop(self.0.slots.acquire_many(WAITING_MAX).await);
    }

    async fn deliver(&self, message: MailMessage, until: Timestamp) {
        let mut waits = WAITS.into_iter();
        loop {
            match self.attempt(message.clone()).await {
                Ok(()) => return,
                Err(error @ MailError::Refused(_)) => {
                    // Of the error only its number is told: what a mail server says often repeats the address.
                    return tracing::warn!(code = error.code(), "a message was refused by the mail server");
                }
                Err(error @ MailError::Unavailable(_)) => {
                    tracing::warn!(code = error.code(), "the mail server did not take a message");
                }
            }
            let now = self.0.clock.now();
            match waits.next().filter(|wait| now.saturating_add(*wait) < until) {
                Some(wait) => time::sleep(wait).await,
                None => return tracing::error!("a message was given up; see `heliograph mail test`"),
            }
        }
    }

    async fn attempt(&self, message: MailMessage) -> Result<(), MailError> {
        let _turn = self.0.at_once.acquire().await;
        self.0.mailer.send(message).await.map(drop)
    }
}

impl Slot {
    /// Delivers a message, trying as long as it is of use; answers when it has been taken or given up.
    pub async fn deliver(self, message: MailMessage, until: Timestamp) {
        self.post.deliver(message, until).await;
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").finish_non_exhaustive()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use async_trait::async_trait;
    use parking_lot::Mutex;
    use protocol::ambient::ManualClock;

    use super::*;

    /// Answers what it is told to, and then takes everything.
    #[derive(Default)]
    struct Script {
        answers: Mutex<VecDeque<MailError>>,
        taken: Mutex<usize>,
        tried: Mutex<usize>,
    }

    #[async_trait]
    impl Mailer for Script {
        async fn send(&self, _: MailMessage) -> Result<String, MailError> {
            *self.tried.lock() += 1;
            if let Some(error) = self.answers.lock().pop_front() {
                return Err(error);
            }
            *self.taken.lock() += 1;
            Ok("taken".to_owned())
        }
    }

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn message() -> MailMessage {
        let to = "ann@example.org".parse().unwrap();
        MailMessage { to, subject: "subject".to_owned(), text: "text".to_owned() }
    }

    fn post(errors: usize, error: fn() -> MailError) -> (Post, Arc<Script>) {
        let script = Arc::new(Script::default());
        script.answers.lock().extend((0..errors).map(|_| error()));
        (Post::new(script.clone(), Arc::new(ManualClock::new(NOW))), script)
    }

    async fn deliver(post: &Post, life: Duration) {
        post.reserve().unwrap().deliver(message(), NOW.saturating_add(life)).await;
    }

    fn away() -> MailError {
        MailError::Unavailable("on purpose".into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_tried_again_while_it_is_of_use() {
        let (post, script) = post(3, away);
        deliver(&post, Duration::from_hours(1)).await;
        assert_eq!((*script.tried.lock(), *script.taken.lock()), (4, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_given_up_when_it_is_of_no_use_or_after_many_tries() {
        let (soon, script) = post(100, away);
        deliver(&soon, Duration::from_secs(20)).await;
        assert_eq!((*script.tried.lock(), *script.taken.lock()), (3, 0));
        let (later, script) = post(100, away);
        deliver(&later, Duration::from_hours(24)).await;
        assert_eq!((*script.tried.lock(), *script.taken.lock()), (1 + WAITS.len(), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_for_good_is_not_tried_again() {
        let (post, script) = post(1, || MailError::Refused("on purpose".into()));
        deliver(&post, Duration::from_hours(1)).await;
        assert_eq!(*script.tried.lock(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_so_many_and_it_comes_back() {
        let (post, _) = post(0, away);
        let slots: Vec<_> = std::iter::from_fn(|| post.reserve()).collect();
        assert_eq!(slots.len(), WAITING_MAX as usize);
        drop(slots);
        post.idle().await;
        deliver(&post, Duration::from_hours(1)).await;
        post.idle().await;
    }
}
