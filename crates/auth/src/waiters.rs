//! Those who wait in this process for something to be left for them.
//!
//! Being told is only a hint: what is waited for lies in the store, and who was not told finds it there when it
//! asks again.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::watch, time::sleep};

/// How many may wait at once. One more sends the one away that waits longest; it asks again.
const WAITERS_MAX: usize = 10_000;

/// Those who wait, each for what its key names, and only one for the same.
pub(crate) struct Waiters<K>(Arc<Mutex<Entries<K>>>);

struct Entries<K> {
    by_key: HashMap<K, (u64, watch::Sender<()>)>,
    /// In the order in which they came.
    by_number: BTreeMap<u64, K>,
    last_number: u64,
}

/// A place among those who wait, given up when it is dropped.
pub(crate) struct Waiter<K: Eq + Hash> {
    number: u64,
    told: watch::Receiver<()>,
    waiters: Arc<Mutex<Entries<K>>>,
}

/// Tells a waiter that there may be something now.
pub(crate) struct Told(watch::Receiver<()>);

impl<K: Clone + Eq + Hash> Waiters<K> {
    /// Tells whoever waits for that.
    pub(crate) fn tell(&self, key: &K) {
        if let Some((_, waiter)) = self.0.lock().by_key.get(key) {
            waiter.send_replace(());
        }
    }

    /// Begins to wait, to be called before the first look; whoever waited for the same before no longer does.
    pub(crate) fn enter(&self, key: K) -> Waiter<K> {
        let (sender, told) = watch::channel(());
        let mut entries = self.0.lock();
        entries.last_number += 1;
        let number = entries.last_number;
        if let Some((former, _)) = entries.by_key.insert(key.clone(), (number, sender)) {
            entries.by_number.remove(&former);
        }
        entries.by_number.insert(number, key);
        if entries.by_number.len() > WAITERS_MAX
            && let Some((_, longest)) = entries.by_number.pop_first()
        {
            entries.by_key.remove(&longest);
        }
        Waiter { number, told, waiters: Arc::clone(&self.0) }
    }

    /// Waits until a look finds something, the first at once and others when told. Nothing if that takes longer
    /// than the patience, or if somebody else begins to wait for the same.
    pub(crate) async fn wait<T, E, F>(
        &self,
        key: K,
        patience: Duration,
        mut look: impl FnMut() -> F,
    ) -> Result<Option<T>, E>
    where
        F: Future<Output = Result<Option<T>, E>>,
    {
        let waiter = self.enter(key);
        let mut told = waiter.told();
        let arrival = async move {
            loop {
                if let Some(found) = look().await? {
                    return Ok(Some(found));
                }
                if !told.again().await {
                    return Ok(None);
                }
            }
        };
        tokio::select! {
            found = arrival => found,
            () = waiter.sent_away() => Ok(None),
            () = sleep(patience) => Ok(None),
        }
    }
}

impl<K: Eq + Hash> Waiter<K> {
    /// To hear of what comes.
    pub(crate) fn told(&self) -> Told {
        Told(self.told.clone())
    }

    /// Resolves when somebody else has begun to wait for the same.
    pub(crate) async fn sent_away(&self) {
        let mut told = self.told();
        while told.again().await {}
    }
}

impl Told {
    /// Waits to be told; false if the place is gone.
    pub(crate) async fn again(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

impl<K: Eq + Hash> Drop for Waiter<K> {
    fn drop(&mut self) {
        let mut entries = self.waiters.lock();
        if let Some(key) = entries.by_number.remove(&self.number) {
            entries.by_key.remove(&key);
        }
    }
}

impl<K> Default for Waiters<K> {
    fn default() -> Self {
        let entries = Entries { by_key: HashMap::new(), by_number: BTreeMap::new(), last_number: 0 };
        Self(Arc::new(Mutex::new(entries)))
    }
}

impl<K> fmt::Debug for Waiters<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Time for what is to happen meanwhile.
    const SOON: Duration = Duration::from_millis(20);

    async fn nothing() -> Result<Option<()>, Infallible> {
        Ok(None)
    }

    #[tokio::test]
    async fn one_waits_for_a_thing_and_leaves_no_trace() {
        let waiters = Waiters::default();
        let hour = Duration::from_hours(1);
        let (first, second) = tokio::join!(waiters.wait(1, hour, nothing), waiters.wait(1, SOON, nothing));
        assert_eq!((first, second), (Ok(None), Ok(None)));
        let entries = waiters.0.lock();
        assert!(entries.by_key.is_empty() && entries.by_number.is_empty());
    }

    #[tokio::test]
    async fn who_is_told_looks_again() {
        let waiters = Waiters::default();
        let mut looks = 0;
        let wait = waiters.wait(1, Duration::from_hours(1), || {
            looks += 1;
            let found = (looks == 3).then_some(looks);
            async move { Ok::<_, Infallible>(found) }
        });
        let tell = async {
            for _ in 0..2 {
                sleep(SOON).await;
                waiters.tell(&1);
            }
        };
        assert_eq!(tokio::join!(wait, tell).0, Ok(Some(3)));
    }

    #[tokio::test]
    async fn there_is_an_end_to_waiting() {
        let waiters = Waiters::default();
        let places: Vec<_> = (0..=WAITERS_MAX).map(|key| waiters.enter(key)).collect();
        places[0].sent_away().await;
        assert_eq!(waiters.0.lock().by_key.len(), WAITERS_MAX);
        drop(places);
        assert!(waiters.0.lock().by_key.is_empty());
    }
}
