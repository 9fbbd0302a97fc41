//! Waiting for the device that a link code lets in.

use std::time::Duration;

use async_trait::async_trait;
use limits::{LimitId, RetryAfter};
use protocol::{
    DeviceAddress,
    ambient::{StorageError, Timestamp},
    keys::EcPublicKey,
};
use tokio::time::sleep;

use super::{LinkCodeId, LinkingService};
use crate::{devices::DeviceInfo, service::Authenticated, waiters::Told};

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
            arrived = self.arrival(caller, code, waiter.told()) => arrived,
            () = waiter.sent_away() => Ok(None),
            () = sleep(patience) => Ok(None),
        }
    }

    async fn arrival(
        &self,
        caller: &Authenticated,
        code: LinkCodeId,
        mut told: Told,
    ) -> Result<Option<NewDevice>, WaitError> {
        let parts = &self.parts;
        let look = || parts.links.linked(code, caller.aci, parts.clock.now());
        let mut found = look().await?;
        if found.is_none() {
            if !told.again().await {
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
