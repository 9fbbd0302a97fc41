//! The service: upload, count, check, fetch.

use std::{fmt, sync::Arc};

use protocol::{
    DeviceAddress, DeviceId, ServiceId, UnidentifiedCredential,
    ambient::StorageError,
    group_send::GroupSendTokens,
    keys::{EcPublicKey, check_digest},
};
use subtle::ConstantTimeEq;

use crate::{
    error::KeyError,
    fetch::{DeviceSelector, KeyBundles, Requester},
    ports::{
        KeyChanges, KeyCounts, KeyFetchLimit, KeyOwners, KeySlot, KeyStore, Owner, OwnerDevice,
        RepeatedUseKey,
    },
    upload::KeyUpload,
};

/// A device that manages its own keys, under one of its account's identities.
#[derive(Clone, Copy, Debug)]
pub struct KeyOwner {
    /// The identity.
    pub identity: ServiceId,
    /// The identity's key, by which uploaded keys must be signed.
    pub identity_key: EcPublicKey,
    /// The device.
    pub device: DeviceId,
}

impl KeyOwner {
    fn slot(&self) -> KeySlot {
        KeySlot { identity: self.identity.uuid(), device: self.device }
    }
}

/// Distributes pre-keys. Cheap to clone.
#[derive(Clone)]
pub struct KeyService {
    store: Arc<dyn KeyStore>,
    owners: Arc<dyn KeyOwners>,
    limit: Arc<dyn KeyFetchLimit>,
    tokens: Arc<dyn GroupSendTokens>,
    changes: Arc<dyn KeyChanges>,
}

impl KeyService {
    /// A service over that store.
    pub fn new(
        store: Arc<dyn KeyStore>,
        owners: Arc<dyn KeyOwners>,
        limit: Arc<dyn KeyFetchLimit>,
        tokens: Arc<dyn GroupSendTokens>,
        changes: Arc<dyn KeyChanges>,
    ) -> Self {
        Self { store, owners, limit, tokens, changes }
    }

    /// A device as the owner of its keys under one of its account's identities. The identity must be known
    /// to be the account's own; an account that is gone is [`KeyError::Unauthorized`].
    pub async fn owner(&self, identity: ServiceId, device: DeviceId) -> Result<KeyOwner, KeyError> {
        let owner = self.owners.owner(identity).await?.ok_or(KeyError::Unauthorized)?;
        Ok(KeyOwner { identity, identity_key: owner.identity_key, device })
    }

    /// Stores new keys of a device, all or none of them. Every signature is verified before.
    pub async fn upload(&self, owner: KeyOwner, keys: KeyUpload) -> Result<(), KeyError> {
        // Off the threads that serve sockets: verifying a full upload would hold all of them up.
        let verified = tokio::task::spawn_blocking(move || keys.verify(&owner.identity_key).map(|()| keys));
        let keys = verified.await.map_err(StorageError::unavailable)??;
        let signed = keys.signed.as_ref().map(|_| RepeatedUseKey::Signed);
        let last_resort = keys.last_resort.as_ref().map(|_| RepeatedUseKey::LastResort);
        self.store.put(owner.slot(), keys).await?;
        for key in signed.into_iter().chain(last_resort) {
            self.changes.replaced(owner.identity, owner.device, key).await;
        }
        Ok(())
    }

    /// How many one-time keys the device has left.
    pub async fn counts(&self, owner: KeyOwner) -> Result<KeyCounts, KeyError> {
        Ok(self.store.counts(owner.slot()).await?)
    }

    /// Whether the repeated-use keys of the device are those that it computed [`check_digest`] over. `false`
    /// also when one of them is missing; the client then uploads anew.
    pub async fn check(&self, owner: KeyOwner, digest: &[u8; 32]) -> Result<bool, KeyError> {
        let keys = self.store.repeated_use(owner.slot()).await?;
        Ok(keys.is_some_and(|(signed, last_resort)| {
            check_digest(&owner.identity_key, &signed, &last_resort).ct_eq(digest).into()
        }))
    }

    /// Takes the keys that start a session with each of the selected devices.
    pub async fn fetch(
        &self,
        requester: &Requester,
        target: ServiceId,
        selector: DeviceSelector,
    ) -> Result<KeyBundles, KeyError> {
        let owner = self.authorise(requester, target).await?;
        let selected = owner.select(selector).ok_or_else(|| requester.missing())?;
        if let Requester::Device(caller) = requester {
            self.check_limit(*caller, target, selector, &selected)?;
        }
        let devices = selected.iter().map(|device| device.id).collect();
        let keys = self.store.take(target.uuid(), devices).await?;
        let bundles = KeyBundles::new(&owner, &selected, keys);
        if bundles.devices.is_empty() { Err(KeyError::NotFound) } else { Ok(bundles) }
    }

    /// The target, if the requester may start a session with it.
    async fn authorise(&self, requester: &Requester, target: ServiceId) -> Result<Owner, KeyError> {
        // Before the target is looked up: a token that does not fit must not tell whether it exists.
        if let Requester::Unidentified(UnidentifiedCredential::GroupSendToken(token)) = requester
            && !self.tokens.admits(token, &[target])
        {
            return Err(KeyError::Unauthorized);
        }
        let owner = self.owners.owner(target).await?.ok_or_else(|| requester.missing())?;
        if owner.admits(requester, target) { Ok(owner) } else { Err(KeyError::Unauthorized) }
    }

    /// Counted per caller and target device. The registration id is part of the key so that a target that
    /// was installed anew can be reached at once.
    fn check_limit(
        &self,
        caller: DeviceAddress,
        target: ServiceId,
        selector: DeviceSelector,
        selected: &[OwnerDevice],
    ) -> Result<(), KeyError> {
        let (device, registration_id) = match (selector, selected) {
            (DeviceSelector::One(id), [device]) => (id.get(), device.registration_id.get()),
            _ => (0, 0),
        };
        let target = target.uuid();
        let key = [
            &caller.aci.0.as_bytes()[..],
            &[caller.device_id.get()],
            target.as_bytes(),
            &[device],
            &registration_id.to_be_bytes(),
        ];
        self.limit.check(&key.concat()).map_err(KeyError::RateLimited)
    }
}

impl fmt::Debug for KeyService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyService").finish_non_exhaustive()
    }
}
