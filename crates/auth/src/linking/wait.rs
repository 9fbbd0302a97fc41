//! Waiting for the device that a link code lets in.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use limits::{LimitId, RetryAfter};
use parking_lot::Mutex;
use protocol::{
    DeviceAddress,
    ambient::{StorageError, Timestamp},
    keys::EcPublicKey,
};
use tokio::{sync::watch, time::sleep};

use super::{LinkCodeId, LinkingService};
use crate::{devices::DeviceInfo, service::Authenticated};

/// How often it is looked whether the primary has read its messages.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(1);

/// Knows what still waits for a device.
#[async_trait]
pub trait Backlog: Send + Sync + 'static {
    /// Whether the device has yet to acknowledge a message that was accepted before that moment.
    async fn holds_before(&self, device: DeviceAddress, moment: Timestamp) -> Result<bool, StorageError>;
}

/// A device that has joined.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// The device.
    pub info: DeviceInfo,
    /// The account's identity key, to which what only its devices may read is sealed; none while it has
    /// published none.
    pub identity_key: Option<EcPublicKey>,
}

/// Why nobody waits.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// Only the primary device waits for others.
    #[error("not the primary device")]
    NotPrimary,
    /// The account that called no longer exists.
    #[error("the account is gone")]
    Gone,
    /// Too many waits.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl LinkingService {
    /// Waits until a device has joined by that code of the caller's, and until the caller has read what was
    /// sent to it before: what it hands to the new device shall be complete. Nothing if that takes longer than
    /// the patience, or if somebody else begins to wait for the same.
    pub async fn wait_for_linked(
        &self,
        caller: &Authenticated,
        code: LinkCodeId,
        patience: Duration,
    ) -> Result<Option<NewDevice>, WaitError> {
        if !caller.device_id.is_primary() {
            return Err(WaitError::NotPrimary);
        }
        self.parts
            .limits
            .check(LimitId::WaitForLinkedDevice, caller.aci.0.as_bytes(), 1)
            .map_err(WaitError::RateLimited)?;
        // Before the first look: a device that joins in between is not missed.
        let waiter = self.waiters.enter(code);
        tokio::select! {
            arrived = self.arrival(caller, code, waiter.linked.clone()) => arrived,
            () = replaced(waiter.linked.clone()) => Ok(None),
            () = sleep(patience) => Ok(None),
        }
    }

    async fn arrival(
        &self,
        caller: &Authenticated,
        code: LinkCodeId,
        mut linked: watch::Receiver<bool>,
    ) -> Result<Option<NewDevice>, WaitError> {
        let parts = &self.parts;
        let look = || parts.links.linked(code, caller.aci, parts.clock.now());
        let mut found = look().await?;
        if found.is_none() {
            if linked.wait_for(|linked| *linked).await.is_err() {
                return Ok(None);
            }
            found = look().await?;
        }
        let noticed = parts.clock.now();
        while self.parts.backlog.holds_before(caller.address(), noticed).await? {
            sleep(BACKLOG_INTERVAL).await;
        }
        let account = parts.accounts.account(caller.aci.into()).await?.ok_or(WaitError::Gone)?;
        let device = found.and_then(|id| account.device(id));
        Ok(device.map(|device| NewDevice { info: device.into(), identity_key: account.identity_key }))
    }
}

/// Resolves when somebody else has begun to wait for the same.
async fn replaced(mut linked: watch::Receiver<bool>) {
    while linked.changed().await.is_ok() {}
}

/// Who waits for which code.
#[derive(Debug, Default)]
pub(super) struct Waiters(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    by_code: HashMap<LinkCodeId, (u64, watch::Sender<bool>)>,
    last_number: u64,
}

/// A place among those who wait, given up when it is dropped.
struct Waiter {
    code: LinkCodeId,
    number: u64,
    /// Becomes true when the code has let a device in; closed when somebody else waits for the same.
    linked: watch::Receiver<bool>,
    waiters: Arc<Mutex<Entries>>,
}

impl Waiters {
    /// Tells whoever waits for a code that it has let a device in.
    pub(super) fn linked(&self, code: LinkCodeId) {
        if let Some((_, waiter)) = self.0.lock().by_code.get(&code) {
            waiter.send_replace(true);
        }
    }

    /// Begins to wait; whoever waited for the same before no longer does.
    fn enter(&self, code: LinkCodeId) -> Waiter {
        let (sender, linked) = watch::channel(false);
        let mut entries = self.0.lock();
        entries.last_number += 1;
        let number = entries.last_number;
        entries.by_code.insert(code, (number, sender));
        Waiter { code, number, linked, waiters: Arc::clone(&self.0) }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut entries = self.waiters.lock();
        if entries.by_code.get(&self.code).is_some_and(|(number, _)| *number == self.number) {
            entries.by_code.remove(&self.code);
        }
    }
}
