//! How many pushes are under way, and whom to leave alone: one that is slow or down must not hold up the others.
//!
//! A lane is a provider, or with Web Push one push server. Each has room for so many pushes at once; who finds none
//! for a while is sent away to come again. A lane that fails is closed, longer each time, and then tried with one
//! push before it is open to all.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// How long a push waits for room: longer than a healthy provider takes to answer, and so short that those who
/// wait for a slow one do not fill all the room there is for calls.
const PATIENCE: Duration = Duration::from_millis(250);
/// Failures in a row that close a lane; a single one may have been the connection's.
const FAILURES_MAX: u32 = 3;
/// How long a lane is closed at first, doubled each time.
const CLOSED_FIRST: Duration = Duration::from_secs(1);
/// The longest that a lane is closed if it does not ask for more.
const CLOSED_MAX: Duration = Duration::from_mins(2);
/// For how long the one push that tries a closed lane has it to itself.
const PROBE: Duration = Duration::from_secs(15);
/// Lanes remembered, some 200 bytes each.
const LANES_MAX: usize = 4096;

/// The lanes of one kind of token.
pub struct Lanes {
    together: Arc<Semaphore>,
    each_max: usize,
    by_name: Mutex<HashMap<String, Lane>>,
}

struct Lane {
    room: Arc<Semaphore>,
    failures: u32,
    closed: Option<Closed>,
    /// When a push there ended last.
    moved: Instant,
}

#[derive(Clone, Copy)]
struct Closed {
    until: Instant,
    /// One push is under way that shows whether it is better: the others wait for that.
    tried: bool,
}

/// Leave to push. To be given back with what became of it.
#[must_use]
pub struct Pass {
    _together: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

/// Not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// For so long, if the lane is closed.
    pub closed_for: Option<Duration>,
}

impl Lanes {
    /// So many pushes at once in all lanes together, and in each.
    pub fn new(together_max: usize, each_max: usize) -> Self {
        Self { together: Arc::new(Semaphore::new(together_max)), each_max, by_name: Mutex::default() }
    }

    /// Asks for leave to push there.
    pub async fn enter(&self, lane: &str) -> Result<Pass, Busy> {
        let (room, patience) = self.room(lane, Instant::now())?;
        let both = async {
            let room = room.acquire_owned().await.ok()?;
            let together = Arc::clone(&self.together).acquire_owned().await.ok()?;
            Some(Pass { _together: together, _room: room })
        };
        timeout(patience, both).await.ok().flatten().ok_or(Busy { closed_for: None })
    }

    /// Where to wait for room, and for how long: not at all where nothing has moved for a while.
    fn room(&self, name: &str, now: Instant) -> Result<(Arc<Semaphore>, Duration), Busy> {
        let mut lanes = self.by_name.lock();
        let Some(lane) = lanes.get_mut(name) else {
            make_room(&mut lanes, now, self.each_max);
            let room = Arc::new(Semaphore::new(self.each_max));
            let lane = Lane { room: Arc::clone(&room), failures: 0, closed: None, moved: now };
            lanes.insert(name.to_owned(), lane);
            return Ok((room, PATIENCE));
        };
        if let Some(Closed { until, .. }) = lane.closed {
            if now < until {
                return Err(Busy { closed_for: Some(until - now) });
            }
            lane.closed = Some(Closed { until: now + PROBE, tried: true });
        }
        if lane.room.available_permits() == self.each_max {
            lane.moved = now;
        }
        let stuck = now.duration_since(lane.moved) > PATIENCE;
        Ok((Arc::clone(&lane.room), if stuck { Duration::ZERO } else { PATIENCE }))
    }

    /// A push was answered, whatever the answer was.
    pub fn answered(&self, lane: &str) {
        let now = Instant::now();
        if let Some(lane) = self.by_name.lock().get_mut(lane) {
            (lane.failures, lane.moved) = (0, now);
            // What was under way before does not open a lane that has asked to be left alone.
            lane.closed = lane.closed.filter(|closed| closed.is_shut(now));
        }
    }

    /// The lane failed, and perhaps said for how long it wants to be left alone. Answers for how long it is closed.
    pub fn failed(&self, lane: &str, wait: Option<Duration>) -> Option<Duration> {
        let now = Instant::now();
        let mut lanes = self.by_name.lock();
        let lane = lanes.get_mut(lane)?;
        lane.moved = now;
        if let Some(closed) = lane.closed.as_mut().filter(|closed| closed.is_shut(now)) {
            // Those that were under way together fail together.
            closed.until = closed.until.max(now + wait.unwrap_or_default());
            return Some(closed.until - now);
        }
        lane.failures = lane.failures.saturating_add(1);
        let own = lane
            .failures
            .checked_sub(FAILURES_MAX)
            .map(|times| CLOSED_FIRST.saturating_mul(2_u32.saturating_pow(times)).min(CLOSED_MAX));
        let closed_for = own.max(wait)?;
        lane.failures = lane.failures.max(FAILURES_MAX);
        lane.closed = Some(Closed { until: now + closed_for, tried: false });
        Some(closed_for)
    }
}

impl Closed {
    /// Whether nobody is let in, not even to try it.
    fn is_shut(&self, now: Instant) -> bool {
        !self.tried && now < self.until
    }
}

/// Forgets lanes of which there is nothing to remember; if that is not enough, those that are not in use.
fn make_room(lanes: &mut HashMap<String, Lane>, now: Instant, each_max: usize) {
    if lanes.len() < LANES_MAX {
        return;
    }
    let idle = |lane: &Lane| lane.room.available_permits() == each_max;
    lanes.retain(|_, lane| !idle(lane) || lane.closed.is_some_and(|closed| closed.is_shut(now)));
    if lanes.len() >= LANES_MAX {
        lanes.retain(|_, lane| !idle(lane));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    fn closed_for(outcome: Result<Pass, Busy>) -> Option<Duration> {
        outcome.err().and_then(|busy| busy.closed_for)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_lane_leaves_room_for_others() {
        let lanes = Lanes::new(4, 2);
        let mut passes = Vec::new();
        for _ in 0..2 {
            passes.push(lanes.enter("slow").await.unwrap());
        }
        let began = Instant::now();
        assert_eq!(lanes.enter("slow").await.err(), Some(Busy { closed_for: None }));
        assert_eq!(began.elapsed(), PATIENCE);
        sleep(Duration::from_millis(1)).await;
        let began = Instant::now();
        assert!(lanes.enter("slow").await.is_err());
        assert_eq!(began.elapsed(), Duration::ZERO, "nothing moves there");
        assert!(lanes.enter("other").await.is_ok());
        passes.pop();
        lanes.answered("slow");
        assert!(lanes.enter("slow").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_fails_is_closed_and_tried_with_one() {
        let lanes = Lanes::new(10, 10);
        for _ in 0..FAILURES_MAX - 1 {
            drop(lanes.enter("a").await.unwrap());
            assert_eq!(lanes.failed("a", None), None);
        }
        drop(lanes.enter("a").await.unwrap());
        assert_eq!(lanes.failed("a", None), Some(CLOSED_FIRST));
        assert_eq!(closed_for(lanes.enter("a").await), Some(CLOSED_FIRST));
        assert!(lanes.enter("b").await.is_ok());
        sleep(CLOSED_FIRST).await;
        let probe = lanes.enter("a").await.unwrap();
        assert_eq!(closed_for(lanes.enter("a").await), Some(PROBE), "one at a time");
        drop(probe);
        assert_eq!(lanes.failed("a", None), Some(2 * CLOSED_FIRST));
        assert_eq!(closed_for(lanes.enter("a").await), Some(2 * CLOSED_FIRST));
        sleep(2 * CLOSED_FIRST).await;
        drop(lanes.enter("a").await.unwrap());
        lanes.answered("a");
        assert!(lanes.enter("a").await.is_ok());
        assert_eq!(lanes.failed("a", None), None, "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_asked_for_is_kept_by_all() {
        let lanes = Lanes::new(10, 10);
        drop(lanes.enter("a").await.unwrap());
        let wait = Duration::from_mins(5);
        assert_eq!(lanes.failed("a", Some(wait)), Some(wait));
        // Others that were under way do not shorten it.
        lanes.failed("a", None);
        assert_eq!(closed_for(lanes.enter("a").await), Some(wait));
        sleep(wait).await;
        assert!(lanes.enter("a").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn many_servers_take_no_room_for_ever() {
        let lanes = Lanes::new(10, 10);
        for server in 0..2 * LANES_MAX {
            let name = server.to_string();
            drop(lanes.enter(&name).await.unwrap());
            lanes.failed(&name, Some(Duration::from_hours(1)));
        }
        assert!(lanes.by_name.lock().len() <= LANES_MAX);
    }
}
