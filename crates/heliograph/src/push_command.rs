//! `heliograph push`: which devices are reached how, and whether it works.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use auth::audit::{Action, Detail, Party};
use protocol::{
    Aci, DeviceAddress, DeviceId, PushService as Service, WebPushSubscription,
    ambient::{Clock, SystemClock, SystemEntropy},
};
use push::{Delivery, PushService, Verdict};

use crate::{
    audit_log,
    config::Config,
    secrets::Secrets,
    wiring::{self, Stores},
};

/// Which device is meant.
pub(crate) struct Which {
    /// The account's ACI.
    pub(crate) account: String,
    pub(crate) device: u32,
}

/// A subscription as a device gives it away.
pub(crate) struct Subscription {
    pub(crate) endpoint: String,
    pub(crate) p256dh: String,
    pub(crate) auth: String,
}

impl Which {
    fn address(&self) -> Result<DeviceAddress> {
        let aci = self.account.parse().map(Aci).context("that is not the UUID of an account")?;
        let device_id = DeviceId::try_from(self.device).context("device ids are from 1 to 127")?;
        Ok(DeviceAddress { aci, device_id })
    }
}

/// Makes a device reachable by Web Push.
pub(crate) async fn register(config: &Config, which: &Which, subscription: &Subscription) -> Result<String> {
    let device = which.address()?;
    let Subscription { endpoint, p256dh, auth } = subscription;
    let subscription = WebPushSubscription::new(endpoint, p256dh, auth).context(
        "that is not a subscription: an https endpoint, a public key of 65 bytes and a secret of 16 bytes in base64url",
    )?;
    with_service(config, async |push| {
        push.register(device, subscription.to_token()).await?;
        Ok(())
    })
    .await?;
    note(config, device, Detail::Set, "registered").await
}

/// Makes a device unreachable by Web Push.
pub(crate) async fn unregister(config: &Config, which: &Which) -> Result<String> {
    let device = which.address()?;
    with_service(config, async |push| {
        ensure!(
            push.unregister(device, Some(Service::WebPush)).await?,
            "the device has no subscription of Web Push"
        );
        Ok(())
    })
    .await?;
    note(config, device, Detail::Cleared, "unregistered").await
}

/// Pushes to a device, and tells what its provider answered.
pub(crate) async fn test(config: &Config, which: &Which) -> Result<String> {
    let device = which.address()?;
    with_service(config, async |push| {
        let (service, Delivery { verdict, answer }) = push.test(device).await?;
        let said = format!("{service:?} answered: {answer}");
        ensure!(verdict == Verdict::Accepted, "{said}\n{}", meaning(verdict));
        Ok(format!("{said}\nThe push was taken. The device has it as soon as it can be reached."))
    })
    .await
}

fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "The push was taken.",
        Verdict::Unregistered { .. } => {
            "The token reaches nobody any more. The server forgets it when it wakes the device the next time."
        }
        Verdict::Slower { .. } => "The device was pushed to too often.",
        Verdict::Refused => {
            "The push was refused: check the topic, or the list of allowed hosts and networks."
        }
        Verdict::Unauthorized => {
            "The provider does not take the credentials: check the key, its id and the team."
        }
        Verdict::Unavailable { .. } => "The provider was not reached, or is overloaded.",
    }
}

/// Writes into the audit log what the operator has changed about a device, and says so.
async fn note(config: &Config, device: DeviceAddress, detail: Detail, said: &str) -> Result<String> {
    let event = Action::ChangePushTarget.by(Party::Operator).on(device).detail(detail);
    audit_log::record(config, event).await?;
    Ok(said.to_owned())
}

/// The store may be in use by a server: what is written here, it reads when it wakes the device.
async fn with_service<T>(config: &Config, act: impl AsyncFnOnce(&PushService) -> Result<T>) -> Result<T> {
    let secrets = Secrets::of(config);
    let vault = secrets.vault()?;
    let stores = Stores::open(config, false)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let push =
        wiring::push_service(config, &stores, &secrets, &vault, &clock, &(Arc::new(SystemEntropy) as _))?;
    let outcome = act(&push).await;
    stores.close().await;
    outcome
}
