//! Devices that are no longer used, and what becomes of them.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use protocol::{
    Aci, DeviceAddress,
    ambient::{Clock, StorageError, Timestamp},
};

use crate::{
    audit::{Action, AuditTrail, Detail, Party},
    revocation::{QueueClear, Revocations},
    service::day_of,
};

/// Devices or accounts looked up and dealt with at a time, each in a transaction of its own.
const BATCH: usize = 32;

/// Devices noted as seen in one transaction.
const SEEN_BATCH: usize = 256;

/// How long the work rests between batches, so that it never holds anybody up.
const REST: Duration = Duration::from_millis(100);

/// A server that has not looked for so long was off, and nobody could be seen.
const AWAY: Duration = Duration::from_hours(48);

/// How long everybody has then to show that they are still there.
const GRACE: Duration = Duration::from_hours(14 * 24);

/// After how long without being seen what becomes of a device; where nothing is said, nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdlePolicy {
    /// A linked device is unlinked.
    pub linked: Option<Duration>,
    /// All linked devices of an account whose primary has not been seen are unlinked.
    pub linked_of_primary: Option<Duration>,
    /// An account with a number is deleted whose primary has not been seen.
    pub account: Option<Duration>,
}

/// Since when something has not been seen that is to go. An earlier day than this counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnseenSince {
    /// The linked device itself.
    pub linked: Option<Timestamp>,
    /// The primary of its account.
    pub primary: Option<Timestamp>,
}

/// Finds devices that have not been seen. Each method happens whole or not at all.
#[async_trait]
pub trait IdleStore: Send + Sync + 'static {
    /// Notes that a round begins. Answers whether anybody may go in it: not within `grace` of a time in which there
    /// was no round for longer than `away`.
    async fn begin_round(&self, at: Timestamp, away: Duration, grace: Duration)
    -> Result<bool, StorageError>;

    /// Notes the day on which these devices were seen; an earlier one than known changes nothing.
    async fn seen_at_once(&self, devices: Vec<DeviceAddress>, day: Timestamp) -> Result<(), StorageError>;

    /// Linked devices of which one or the other is true, at most `limit`.
    async fn unseen_devices(
        &self,
        since: UnseenSince,
        limit: usize,
    ) -> Result<Vec<DeviceAddress>, StorageError>;

    /// Removes a linked device as [`AccountStore::remove_device`](crate::store::AccountStore::remove_device) does,
    /// if one or the other is still true. Answers whether it did.
    async fn remove_unseen_device(
        &self,
        device: DeviceAddress,
        since: UnseenSince,
        at: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Accounts with a number whose primary has not been seen since, at most `limit`.
    async fn unseen_accounts(&self, since: Timestamp, limit: usize) -> Result<Vec<Aci>, StorageError>;

    /// Deletes an account as [`AccountStore::delete`](crate::store::AccountStore::delete) does, if its primary has
    /// still not been seen since. Answers whether it did.
    async fn delete_unseen_account(
        &self,
        aci: Aci,
        since: Timestamp,
        at: Timestamp,
    ) -> Result<bool, StorageError>;
}

/// Knows who is connected.
pub trait Presence: Send + Sync + 'static {
    /// Every device that is connected now.
    fn connected(&self) -> Vec<DeviceAddress>;
}

/// What one round has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleRound {
    /// Devices that were unlinked.
    pub devices: usize,
    /// Accounts that were deleted.
    pub accounts: usize,
}

/// Unlinks devices, and deletes accounts, that are no longer used.
pub struct IdleService {
    parts: IdleParts,
    /// The day on which those that are connected were noted last.
    noted: Mutex<Timestamp>,
}

/// What an [`IdleService`] is made of.
pub struct IdleParts {
    /// Finds devices.
    pub store: Arc<dyn IdleStore>,
    /// Knows who is connected.
    pub presence: Arc<dyn Presence>,
    /// Told of devices that go.
    pub revocations: Revocations,
    /// What happens is written down there.
    pub audit: Arc<dyn AuditTrail>,
    /// What becomes of whom.
    pub policy: IdlePolicy,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

impl IdleService {
    /// A service made of these parts.
    pub fn new(parts: IdleParts) -> Self {
        Self { parts, noted: Mutex::default() }
    }

    /// Notes who is there, then deals with everybody who has not been seen for too long.
    pub async fn round(&self) -> Result<IdleRound, StorageError> {
        self.note_connected().await?;
        self.parts.audit.ready()?;
        if !self.parts.store.begin_round(self.parts.clock.now(), AWAY, GRACE).await? {
            return Ok(IdleRound::default());
        }
        Ok(IdleRound { devices: self.unlink().await?, accounts: self.expire().await? })
    }

    /// A device is seen when it proves its password, and one that stays connected for weeks does so once: so who is
    /// connected is noted every day.
    pub async fn note_connected(&self) -> Result<(), StorageError> {
        let day = day_of(self.parts.clock.now());
        if *self.noted.lock() >= day {
            return Ok(());
        }
        let connected = self.parts.presence.connected();
        for devices in connected.chunks(SEEN_BATCH) {
            self.parts.store.seen_at_once(devices.to_vec(), day).await?;
        }
        *self.noted.lock() = day;
        Ok(())
    }

    async fn unlink(&self) -> Result<usize, StorageError> {
        let IdlePolicy { linked, linked_of_primary, .. } = self.parts.policy;
        let since = UnseenSince {
            linked: linked.map(|time| self.ago(time)),
            primary: linked_of_primary.map(|time| self.ago(time)),
        };
        let mut unlinked = 0;
        if since == UnseenSince::default() {
            return Ok(unlinked);
        }
        loop {
            let devices = self.parts.store.unseen_devices(since, BATCH).await?;
            if devices.is_empty() {
                return Ok(unlinked);
            }
            for device in devices {
                let at = self.parts.clock.now();
                if self.parts.store.remove_unseen_device(device, since, at).await? {
                    let event = Action::RemoveDevice.by(Party::Server).on(device);
                    self.parts.audit.record(event.detail(Detail::Expired)).await;
                    self.parts.revocations.device_gone(device, at).await;
                    unlinked += 1;
                }
            }
            tokio::time::sleep(REST).await;
        }
    }

    async fn expire(&self) -> Result<usize, StorageError> {
        let Some(since) = self.parts.policy.account.map(|time| self.ago(time)) else { return Ok(0) };
        let mut expired = 0;
        loop {
            let accounts = self.parts.store.unseen_accounts(since, BATCH).await?;
            if accounts.is_empty() {
                return Ok(expired);
            }
            for aci in accounts {
                let at = self.parts.clock.now();
                if self.parts.store.delete_unseen_account(aci, since, at).await? {
                    let event = Action::DeleteAccount.by(Party::Server).on(aci);
                    self.parts.audit.record(event.detail(Detail::Expired)).await;
                    let clear = QueueClear { aci, device: None, cutoff: at };
                    self.parts.revocations.devices_gone(clear).await;
                    expired += 1;
                }
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// The day so long ago.
    fn ago(&self, time: Duration) -> Timestamp {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        day_of(Timestamp::from_millis(self.parts.clock.now().as_millis().saturating_sub(time)))
    }
}

impl fmt::Debug for IdleService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleService").field("policy", &self.parts.policy).finish_non_exhaustive()
    }
}
