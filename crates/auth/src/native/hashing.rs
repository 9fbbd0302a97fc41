//! Hashing passwords: slow on purpose, and never so much of it at once that others wait.
//!
//! Hashes are computed by a few threads of their own behind a short queue. When it is full, people who log in are
//! asked to come back; who is logged in already notices nothing.

use std::{
    fmt,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{CustomizedPasswordHasher, PasswordVerifier, phc::PasswordHash as Phc},
};
use parking_lot::Mutex;
use protocol::ambient::{Entropy, StorageError};
use tokio::sync::oneshot;

use super::password::LoginPassword;

/// Bytes of a salt.
const SALT_LEN: usize = 16;

/// What hashing a password costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl HashCost {
    /// The least that is accepted: OWASP's recommendation for Argon2id (19 MiB, two passes, one lane).
    pub const FLOOR: Self = Self { memory_kib: 19_456, passes: 2, lanes: 1 };

    /// The most that is accepted: one more password takes a second and a gigabyte.
    pub const CEILING: Self = Self { memory_kib: 1 << 20, passes: 64, lanes: 16 };

    /// Whether it lies between the two.
    pub fn is_acceptable(&self) -> bool {
        let within = |value, floor, ceiling| (floor..=ceiling).contains(&value);
        let (floor, ceiling) = (Self::FLOOR, Self::CEILING);
        within(self.memory_kib, floor.memory_kib, ceiling.memory_kib)
            && within(self.passes, floor.passes, ceiling.passes)
            && within(self.lanes, floor.lanes, ceiling.lanes)
    }
}

/// How much hashing there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingConfig {
    /// What one hash costs.
    pub cost: HashCost,
    /// Hashes computed at once.
    pub workers: usize,
    /// Hashes that wait for a worker. Beyond it people are asked to come back.
    pub waiting_max: usize,
}

impl Default for HashingConfig {
    fn default() -> Self {
        Self { cost: HashCost::FLOOR, workers: 1, waiting_max: 64 }
    }
}

/// A password as it is remembered: a PHC string with algorithm, cost, salt and hash.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

impl PasswordHash {
    /// The hash of that text, which was [`as_str`](Self::as_str) once; nothing if it cannot be read.
    pub fn from_text(text: &str) -> Option<Self> {
        let hash = Phc::new(text).ok()?;
        (hash.salt.is_some() && hash.hash.is_some()).then(|| Self(text.into()))
    }

    /// The PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn matches(&self, password: &LoginPassword) -> bool {
        Phc::new(&self.0)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }

    /// Whether it was cheaper to compute than it is now.
    fn is_cheaper_than(&self, cost: HashCost) -> bool {
        let params = Phc::new(&self.0).ok().and_then(|hash| Params::try_from(&hash).ok());
        params.is_none_or(|params| {
            params.m_cost() < cost.memory_kib || params.t_cost() < cost.passes || params.p_cost() < cost.lanes
        })
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is another password, or there is none.
    Wrong,
    /// It is that password.
    Right,
    /// It is that password, and its hash is cheaper than hashes are now. This is one that is not.
    Outdated(PasswordHash),
}

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashingError {
    /// Too many are waiting already.
    #[error("too many passwords are being hashed")]
    Overloaded,
    /// The threads are gone or the memory was not there.
    #[error(transparent)]
    Failed(StorageError),
}

type Job = Box<dyn FnOnce() + Send>;

/// Hashes and compares passwords. Cheap to clone; its threads end with the last clone.
#[derive(Clone)]
pub struct PasswordHasher {
    jobs: SyncSender<Job>,
    cost: HashCost,
    entropy: Arc<dyn Entropy>,
}

impl PasswordHasher {
    /// Starts the threads. Each calls `on_start` first, where it may ask the system for less attention.
    pub fn start(
        config: HashingConfig,
        entropy: Arc<dyn Entropy>,
        on_start: impl Fn() + Clone + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(config.waiting_max);
        let queue = Arc::new(Mutex::new(queue));
        for number in 1..=config.workers {
            let (queue, on_start) = (Arc::clone(&queue), on_start.clone());
            thread::Builder::new().name(format!("passwords-{number}")).spawn(move || {
                on_start();
                work(&queue);
            })?;
        }
        Ok(Self { jobs, cost: config.cost, entropy })
    }

    /// The hash of a new password, under a salt of its own.
    pub async fn hash(&self, password: LoginPassword) -> Result<PasswordHash, HashingError> {
        let (salt, cost) = (self.entropy.bytes(), self.cost);
        self.run(move || compute(&password, salt, cost)).await?.map_err(failed)
    }

    /// Compares a password with a hash. Without a hash it is wrong, and takes as long to be.
    pub async fn compare(
        &self,
        password: LoginPassword,
        hash: Option<PasswordHash>,
    ) -> Result<Comparison, HashingError> {
        let (salt, cost) = (self.entropy.bytes(), self.cost);
        self.run(move || {
            let Some(hash) = hash else { return compute(&password, salt, cost).map(|_| Comparison::Wrong) };
            if !hash.matches(&password) {
                return Ok(Comparison::Wrong);
            }
            if hash.is_cheaper_than(cost) {
                return compute(&password, salt, cost).map(Comparison::Outdated);
            }
            Ok(Comparison::Right)
        })
        .await?
        .map_err(failed)
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashingError> {
        let (reply, answer) = oneshot::channel();
        // Whoever has gone meanwhile does not need an answer, nor the work that leads to it.
        let job = Box::new(move || {
            if !reply.is_closed() {
                drop(reply.send(job()));
            }
        });
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => HashingError::Overloaded,
            TrySendError::Disconnected(_) => failed("the threads have ended"),
        })?;
        answer.await.map_err(failed)
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        // In a statement of its own: the lock is given back before the work begins.
        let job = queue.lock().recv();
        match job {
            Ok(job) => {
                // A bug in one must not cost a worker.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                    tracing::error!("hashing a password panicked");
                }
            }
            Err(_) => return,
        }
    }
}

fn compute(
    password: &LoginPassword,
    salt: [u8; SALT_LEN],
    HashCost { memory_kib, passes, lanes }: HashCost,
) -> Result<PasswordHash, argon2::password_hash::Error> {
    let params = Params::new(memory_kib, passes, lanes, None)?;
    let hash: Phc = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
        .hash_password_customized(password.as_bytes(), &salt, None, None, params)?;
    Ok(PasswordHash(hash.to_string().into_boxed_str()))
}

fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HashingError {
    HashingError::Failed(StorageError::unavailable(cause))
}

impl fmt::Debug for PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHasher").field("cost", &self.cost).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use protocol::ambient::SeededEntropy;

    use super::*;

    fn hasher(cost: HashCost) -> PasswordHasher {
        let config = HashingConfig { cost, ..HashingConfig::default() };
        PasswordHasher::start(config, Arc::new(SeededEntropy::new(1)), || {}).unwrap()
    }

    fn password(text: &str) -> LoginPassword {
        LoginPassword::new(text).unwrap()
    }

    #[tokio::test]
    async fn a_hash_is_of_one_password_under_its_own_salt() {
        let hasher = hasher(HashCost::FLOOR);
        let hash = hasher.hash(password("correct horse")).await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_str());
        assert_ne!(hash, hasher.hash(password("correct horse")).await.unwrap());
        let compare = async |text: &str| hasher.compare(password(text), Some(hash.clone())).await.unwrap();
        assert_eq!(compare("correct horse").await, Comparison::Right);
        assert_eq!(compare("Correct horse").await, Comparison::Wrong);
        assert_eq!(hasher.compare(password("correct horse"), None).await.unwrap(), Comparison::Wrong);
        assert_eq!(PasswordHash::from_text(hash.as_str()), Some(hash));
        assert_eq!(PasswordHash::from_text("$argon2id$v=19$m=1"), None);
    }

    #[tokio::test]
    async fn a_hash_is_computed_anew_when_the_cost_has_risen() {
        let hash = hasher(HashCost::FLOOR).hash(password("correct horse")).await.unwrap();
        let dearer = hasher(HashCost { passes: 3, ..HashCost::FLOOR });
        let compared = dearer.compare(password("correct horse"), Some(hash.clone())).await.unwrap();
        let Comparison::Outdated(new) = compared else { panic!("{compared:?}") };
        assert!(new.as_str().contains("t=3"));
        let again = dearer.compare(password("correct horse"), Some(new.clone())).await.unwrap();
        assert_eq!(again, Comparison::Right);
        let wrong = dearer.compare(password("wrong horse"), Some(hash)).await.unwrap();
        assert_eq!(wrong, Comparison::Wrong, "nothing is computed for who does not know it");
        let cheaper = hasher(HashCost::FLOOR).compare(password("correct horse"), Some(new)).await.unwrap();
        assert_eq!(cheaper, Comparison::Right, "a dearer hash stays");
    }

    #[tokio::test]
    async fn more_than_may_wait_are_turned_away_at_once() {
        let config = HashingConfig { waiting_max: 1, ..HashingConfig::default() };
        let hasher = PasswordHasher::start(config, Arc::new(SeededEntropy::new(1)), || {}).unwrap();
        let all = (0..8).map(|_| hasher.hash(password("correct horse")));
        let done = futures_util::future::join_all(all).await;
        assert!(done.iter().any(Result::is_ok));
        assert!(done.iter().any(|hash| matches!(hash, Err(HashingError::Overloaded))));
    }

    #[test]
    fn costs_have_a_floor_and_a_ceiling() {
        assert!(HashCost::FLOOR.is_acceptable() && HashCost::CEILING.is_acceptable());
        assert!(!HashCost { memory_kib: 19_455, ..HashCost::FLOOR }.is_acceptable());
        assert!(!HashCost { passes: 1, ..HashCost::FLOOR }.is_acceptable());
        assert!(!HashCost { lanes: 17, ..HashCost::FLOOR }.is_acceptable());
    }
}
