//! Who an identity's keys belong to.

use async_trait::async_trait;
use keys::{KeyOwners, Owner, OwnerDevice};
use protocol::{ServiceId, ambient::StorageError};

use super::SqliteAccounts;

#[async_trait]
impl KeyOwners for SqliteAccounts {
    async fn owner(&self, target: ServiceId) -> Result<Option<Owner>, StorageError> {
        let Some(account) = self.read_account(target).await? else { return Ok(None) };
        let Some(identity_key) = account.identity_key(target).copied() else { return Ok(None) };
        let devices = account.devices.iter().filter_map(|device| {
            let registration_id = device.registration_id(target.kind())?;
            Some(OwnerDevice { id: device.id, registration_id })
        });
        Ok(Some(Owner {
            identity_key,
            devices: devices.collect(),
            unidentified_access: account.unidentified_access,
        }))
    }
}
