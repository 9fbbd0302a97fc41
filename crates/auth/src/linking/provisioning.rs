//! Where a device that is being set up is reached, before it belongs to anybody.
//!
//! It is given an address, shows it to the primary device as a QR code, and gets what the primary sends there.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::Arc,
};

use limits::{LimitId, RateLimits, RetryAfter};
use parking_lot::Mutex;
use protocol::{ambient::Entropy, base64};
use tokio::sync::oneshot;

use crate::service::Authenticated;

/// Devices that wait at an address at once. Each keeps a connection besides, and leaves after a minute and a half.
const ADDRESSES_MAX: usize = 10_000;

/// Random bytes in an address: whoever knows one may send there.
const ADDRESS_LEN: usize = 16;

/// Hands what a primary device sends to the device that waits at an address. Addresses live in this process.
pub struct ProvisioningRelay {
    waiting: Arc<Waiting>,
    limits: Arc<RateLimits>,
    entropy: Arc<dyn Entropy>,
}

type Waiting = Mutex<HashMap<String, oneshot::Sender<Parcel>>>;

/// An address that somebody waits at; it is given up when this is dropped.
pub struct Mailbox {
    address: String,
    /// Until something has come.
    parcel: Option<oneshot::Receiver<Parcel>>,
    waiting: Arc<Waiting>,
}

/// What came to an address.
#[derive(Debug)]
pub struct Parcel {
    /// The envelope, which is encrypted for the device that waits.
    pub envelope: Vec<u8>,
    handed_over: oneshot::Sender<()>,
}

/// Why a primary's envelope did not get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProvisioned {
    /// Nobody waits at that address, or nobody does any longer.
    #[error("nobody waits at that address")]
    NobodyThere,
    /// Too many envelopes.
    #[error("rate limited")]
    RateLimited(RetryAfter),
}

impl ProvisioningRelay {
    /// A relay at which nobody waits yet.
    pub fn new(limits: Arc<RateLimits>, entropy: Arc<dyn Entropy>) -> Self {
        Self { waiting: Arc::default(), limits, entropy }
    }

    /// Gives out an address; nothing if too many devices are waiting.
    pub fn open(&self) -> Option<Mailbox> {
        // With padding: so it is in Signal's service, and one client puts it into a URL as it is.
        let address = base64::encode_url_padded(self.entropy.bytes::<ADDRESS_LEN>());
        let (sender, parcel) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.len() >= ADDRESSES_MAX {
            return None;
        }
        match waiting.entry(address.clone()) {
            Entry::Vacant(entry) => entry.insert(sender),
            // The same 128 bits drawn twice: not in this world.
            Entry::Occupied(_) => return None,
        };
        drop(waiting);
        Some(Mailbox { address, parcel: Some(parcel), waiting: Arc::clone(&self.waiting) })
    }

    /// Hands an envelope to whoever waits at the address, and answers when it has been sent on to them. An
    /// address takes one envelope.
    pub async fn deliver(
        &self,
        caller: &Authenticated,
        address: &str,
        envelope: Vec<u8>,
    ) -> Result<(), NotProvisioned> {
        self.limits
            .check(LimitId::Messages, caller.aci.0.as_bytes(), 1)
            .map_err(NotProvisioned::RateLimited)?;
        let sender = self.waiting.lock().remove(address).ok_or(NotProvisioned::NobodyThere)?;
        let (handed_over, confirmed) = oneshot::channel();
        sender.send(Parcel { envelope, handed_over }).map_err(|_| NotProvisioned::NobodyThere)?;
        confirmed.await.map_err(|_| NotProvisioned::NobodyThere)
    }
}

impl Mailbox {
    /// The address: 24 characters.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits for what comes to the address. After that nothing does.
    pub async fn parcel(&mut self) -> Parcel {
        if let Some(receiver) = &mut self.parcel {
            let parcel = receiver.await;
            self.parcel = None;
            if let Ok(parcel) = parcel {
                return parcel;
            }
        }
        std::future::pending().await
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.address);
    }
}

impl Parcel {
    /// Says that the envelope has been sent on to the device.
    pub fn handed_over(self) {
        // A sender that went away does not need to know.
        let _ = self.handed_over.send(());
    }
}

impl fmt::Debug for ProvisioningRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProvisioningRelay").finish_non_exhaustive()
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use protocol::{
        Aci, DeviceId,
        ambient::{SeededEntropy, SystemClock},
    };

    use super::*;

    fn relay() -> Arc<ProvisioningRelay> {
        let limits = Arc::new(RateLimits::new(Arc::new(SystemClock), []));
        Arc::new(ProvisioningRelay::new(limits, Arc::new(SeededEntropy::new(1))))
    }

    async fn deliver(relay: &ProvisioningRelay, address: &str) -> Result<(), NotProvisioned> {
        let caller = Authenticated { aci: Aci(uuid::Uuid::nil()), device_id: DeviceId::PRIMARY, pni: None };
        relay.deliver(&caller, address, vec![7]).await
    }

    #[tokio::test]
    async fn an_envelope_counts_as_delivered_when_it_was_handed_over() {
        let relay = relay();
        let (mut mailbox, other) = (relay.open().unwrap(), relay.open().unwrap());
        assert_ne!(mailbox.address(), other.address());
        assert!(mailbox.address().len() == 24 && mailbox.address().ends_with("=="));
        let address = mailbox.address().to_owned();
        let delivery = tokio::spawn({
            let (relay, address) = (Arc::clone(&relay), address.clone());
            async move { deliver(&relay, &address).await }
        });
        let parcel = mailbox.parcel().await;
        assert_eq!(parcel.envelope, [7]);
        assert!(!delivery.is_finished());
        parcel.handed_over();
        assert_eq!(delivery.await.unwrap(), Ok(()));
        assert_eq!(deliver(&relay, &address).await, Err(NotProvisioned::NobodyThere), "one envelope each");
    }

    #[tokio::test]
    async fn nobody_is_there_who_has_left() {
        let relay = relay();
        assert_eq!(deliver(&relay, "AAAA").await, Err(NotProvisioned::NobodyThere));
        let mailbox = relay.open().unwrap();
        let address = mailbox.address().to_owned();
        drop(mailbox);
        assert_eq!(deliver(&relay, &address).await, Err(NotProvisioned::NobodyThere));
        assert!(relay.waiting.lock().is_empty());
        let mut mailbox = relay.open().unwrap();
        let address = mailbox.address().to_owned();
        let (outcome, ()) = tokio::join!(deliver(&relay, &address), async move {
            // It leaves with the envelope in its hands.
            drop(mailbox.parcel().await);
        });
        assert_eq!(outcome, Err(NotProvisioned::NobodyThere));
    }

    #[test]
    fn addresses_are_bounded() {
        let relay = relay();
        let mut mailboxes: Vec<_> = (0..ADDRESSES_MAX).map(|_| relay.open().unwrap()).collect();
        assert!(relay.open().is_none());
        mailboxes.pop();
        assert!(relay.open().is_some());
    }
}
