//! A reader: comes and goes, acknowledges in its own time, and checks what it gets.

use std::{collections::HashMap, future::poll_fn, sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use testkit::{
    Account, ChatSocket, Event, Target,
    wire::{EnvelopeView, FrameView},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    Control, Stage, content,
    ledger::{ACK_GRACE, Ledger, MessageKey},
};

const SESSION_MS_MAX: u64 = 4_000;
const AWAY_MS_MAX: u64 = 1_500;
/// One absence in this many lasts for several rounds.
const LONG_AWAY_EVERY: u32 = 6;
const LONG_AWAY_MS_MAX: u64 = 8_000;
const ACK_DELAY_MS_MAX: u64 = 300;

/// How a reader acknowledges during one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    AtOnce,
    /// After a while that differs from message to message, so out of order.
    Late,
    /// Every other message not at all.
    Half,
}

/// A message that was delivered at least once.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Its place in the order of first deliveries.
    place: u64,
    guid: [u8; 16],
    /// When its acknowledgement had been written to the socket, and in which session.
    acked: Option<(Instant, usize)>,
}

/// One device of an account that reads.
pub(crate) struct Reader {
    index: u16,
    account: Account,
    ledger: Arc<Ledger>,
    rng: SmallRng,
    seen: HashMap<MessageKey, Seen>,
    /// The last first-delivered number of each sender.
    last_number: HashMap<u16, u32>,
    /// When each session ended.
    session_ends: Vec<Instant>,
    /// Acknowledgements to come: when, the request's id, the message.
    due: Vec<(Instant, u64, MessageKey)>,
}

impl Reader {
    pub(crate) fn new(index: u16, account: Account, ledger: Arc<Ledger>, seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        Self {
            index,
            account,
            ledger,
            rng,
            seen: HashMap::new(),
            last_number: HashMap::new(),
            session_ends: Vec::new(),
            due: Vec::new(),
        }
    }

    pub(crate) async fn run(mut self, mut control: watch::Receiver<Control>) -> anyhow::Result<()> {
        loop {
            let Control { target, stage } = control.borrow_and_update().clone();
            match (target, stage) {
                (Some(target), Stage::Load) => {
                    let manner = [Manner::AtOnce, Manner::Late, Manner::Half][self.rng.random_range(0..3)];
                    let length = Duration::from_millis(self.rng.random_range(0..SESSION_MS_MAX));
                    self.session(&target, manner, Some(Instant::now() + length)).await;
                    self.stay_away(&mut control).await;
                }
                (Some(target), Stage::Collect) => {
                    if self.session(&target, Manner::AtOnce, None).await {
                        return Ok(());
                    }
                    sleep(Duration::from_millis(5)).await;
                }
                _ => control.changed().await?,
            }
        }
    }

    async fn stay_away(&mut self, control: &mut watch::Receiver<Control>) {
        let long = self.rng.random_ratio(1, LONG_AWAY_EVERY);
        let most = if long { LONG_AWAY_MS_MAX } else { AWAY_MS_MAX };
        let until = Instant::now() + Duration::from_millis(self.rng.random_range(0..most));
        let load_ends = control.wait_for(|control| control.stage != Stage::Load);
        tokio::select! {
            () = sleep_until(until) => {}
            _ = load_ends => {}
        }
    }

    /// One connection: until the given moment, or else until the queue is empty. Returns whether the end of
    /// the queue was seen.
    async fn session(&mut self, target: &Target, manner: Manner, until: Option<Instant>) -> bool {
        self.due.clear();
        let began = Instant::now();
        let Ok(socket) = ChatSocket::connect(target, Some(&self.account)).await else { return false };
        let queue_empty = self.read(socket, manner, until).await;
        self.session_ends.push(self.ledger.end_of_connection(began));
        queue_empty
    }

    async fn read(&mut self, mut socket: ChatSocket, manner: Manner, until: Option<Instant>) -> bool {
        let mut last_place = None;
        let mut queue_empty = false;
        loop {
            if !self.take(&mut socket, manner, &mut last_place, &mut queue_empty) {
                return false;
            }
            if !self.acknowledge(&mut socket).await {
                return false;
            }
            if queue_empty && until.is_none() {
                return true;
            }
            let next_due = self.due.iter().map(|(at, ..)| *at).min();
            let wake = [next_due, until].into_iter().flatten().min();
            tokio::select! {
                io = poll_fn(|cx| socket.poll_io(cx)) => if io.is_err() { return false },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return queue_empty;
            }
        }
    }

    /// Reads what there is; false when the connection has ended.
    fn take(
        &mut self,
        socket: &mut ChatSocket,
        manner: Manner,
        last_place: &mut Option<u64>,
        queue_empty: &mut bool,
    ) -> bool {
        loop {
            match socket.received() {
                Ok(None) => return true,
                Ok(Some(Event::Frame(FrameView::Request(request)))) if request.is_delivery() => {
                    let (id, envelope) = (request.id, EnvelopeView::parse(request.body).unwrap_or_default());
                    let Some(key) = self.check(&envelope, last_place) else { continue };
                    let wait = match manner {
                        Manner::AtOnce => 0,
                        Manner::Half if self.rng.random() => continue,
                        Manner::Late | Manner::Half => self.rng.random_range(0..ACK_DELAY_MS_MAX),
                    };
                    self.due.push((Instant::now() + Duration::from_millis(wait), id, key));
                }
                Ok(Some(Event::Frame(FrameView::Request(request)))) if request.is_queue_empty() => {
                    if std::mem::replace(queue_empty, true) {
                        self.ledger.fault("the end of the queue was said twice");
                    }
                }
                Ok(Some(other)) => {
                    self.ledger.fault(format!("a reader got {other:?}"));
                    return false;
                }
                Err(error) => {
                    self.ledger.fault(format!("a reader got: {error:#}"));
                    return false;
                }
            }
        }
    }

    /// Holds a delivery against all earlier ones.
    fn check(&mut self, envelope: &EnvelopeView<'_>, last_place: &mut Option<u64>) -> Option<MessageKey> {
        let guid = <[u8; 16]>::try_from(envelope.guid).ok();
        let key = content::key_of(envelope.content, self.account.device_id);
        let (Some(key), Some(guid)) = (key.filter(|key| key.reader == self.index), guid) else {
            self.ledger.fault("a reader got a message that nobody sent it, or not as it was sent");
            return None;
        };
        self.ledger.delivered(key);
        let place = if let Some(seen) = self.seen.get(&key) {
            if seen.guid != guid {
                self.ledger.fault(format!("{key:?} was stored twice"));
            }
            if seen.acked.is_some_and(|(at, session)| self.was_heard(at, session)) {
                self.ledger.fault(format!("{key:?} came again although it had been acknowledged in time"));
            }
            seen.place
        } else {
            let place = self.seen.len() as u64;
            self.seen.insert(key, Seen { place, guid, acked: None });
            if self.last_number.insert(key.sender, key.number).is_some_and(|last| last >= key.number) {
                self.ledger.fault(format!("{key:?} came after a later message of the same sender"));
            }
            place
        };
        if last_place.is_some_and(|last| last >= place) {
            self.ledger.fault(format!("{key:?} came out of order, or twice in one connection"));
        }
        *last_place = Some(place);
        Some(key)
    }

    /// Whether an acknowledgement must have reached the server before its connection ended.
    fn was_heard(&self, acked: Instant, session: usize) -> bool {
        self.session_ends.get(session).is_some_and(|end| *end - acked > ACK_GRACE)
    }

    /// Sends the acknowledgements that are due; false when the connection has ended.
    async fn acknowledge(&mut self, socket: &mut ChatSocket) -> bool {
        let now = Instant::now();
        let mut sent = Vec::new();
        self.due.retain(|(at, id, key)| {
            let due = *at <= now;
            if due {
                socket.queue_ack(*id);
                sent.push(*key);
            }
            !due
        });
        if sent.is_empty() {
            return true;
        }
        let flushed = socket.flush().await.is_ok();
        let (now, session) = (Instant::now(), self.session_ends.len());
        // What failed half-way may have arrived: it may come again, and need not.
        for key in sent.into_iter().filter(|_| flushed) {
            if let Some(seen) = self.seen.get_mut(&key) {
                seen.acked.get_or_insert((now, session));
            }
        }
        flushed
    }
}
