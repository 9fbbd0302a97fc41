//! Rosters in memory: who stands behind a service id is asked for every message.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use auth::Account;
use messages::{Recipients, Roster, RosterDevice};
use parking_lot::Mutex;
use protocol::{ServiceId, ambient::StorageError};
use quick_cache::sync::Cache;
use rusqlite::Connection;

use super::{
    super::sql,
    SqliteAccounts,
    rows::{self, Found},
};

/// Rosters kept: about 150 bytes each for an account with one device, so 10 MB for everybody who was
/// written to lately. Others are read from the file.
const ROSTERS_MAX: usize = 65_536;

/// Rosters by either identity of their account.
pub(super) struct Rosters {
    cache: Cache<ServiceId, Arc<Roster>>,
    /// How many writes have been. Held while a roster that was read is put in: one that was read before a
    /// write must not come back after it.
    writes: Mutex<u64>,
}

impl Rosters {
    pub(super) fn new() -> Self {
        Self { cache: Cache::new(ROSTERS_MAX), writes: Mutex::new(0) }
    }

    fn get(&self, id: ServiceId) -> Option<Arc<Roster>> {
        self.cache.get(&id)
    }

    /// The number of writes so far: to be taken before the roster is read.
    fn writes(&self) -> u64 {
        *self.writes.lock()
    }

    /// Keeps what was read, unless there was a write since.
    fn keep(&self, id: ServiceId, roster: &Arc<Roster>, writes_before: u64) {
        let writes = self.writes.lock();
        if *writes == writes_before {
            self.cache.insert(id, Arc::clone(roster));
        }
    }

    /// Forgets the rosters of these identities. To be called when the write has been committed, and before
    /// it is answered.
    pub(super) fn forget(&self, ids: Vec<ServiceId>) {
        let mut writes = self.writes.lock();
        *writes += 1;
        for id in ids {
            self.cache.remove(&id);
        }
    }

    /// Forgets every roster.
    pub(super) fn forget_all(&self) {
        let mut writes = self.writes.lock();
        *writes += 1;
        self.cache.clear();
    }
}

#[async_trait]
impl Recipients for SqliteAccounts {
    async fn roster(&self, id: ServiceId) -> Result<Option<Arc<Roster>>, StorageError> {
        if let Some(roster) = self.rosters.get(id) {
            return Ok(Some(roster));
        }
        let writes_before = self.rosters.writes();
        let vault = self.vault.clone();
        let read = self.database.read(move |connection| {
            let Some(found) = rows::account(connection, &vault, id)? else { return Ok(None) };
            let keyless = keyless(connection, &found)?;
            Ok(Some(roster_of(&found.account, &keyless)))
        });
        let Some(roster) = read.await?.map(Arc::new) else { return Ok(None) };
        self.rosters.keep(id, &roster, writes_before);
        Ok(Some(roster))
    }
}

/// The native devices of an account that have published no keys, while others have: nobody can write to them yet.
fn keyless(connection: &Connection, found: &Found) -> Result<Vec<u8>, StorageError> {
    if found.account.identity_key.is_none() {
        return Ok(Vec::new());
    }
    let keyless: Vec<u8> = connection
        .prepare_cached("SELECT device FROM auth_native_devices WHERE account = ?1 AND keyless")
        .and_then(|mut statement| {
            let devices = statement.query_map([found.id], |row| row.get(0))?;
            devices.collect()
        })
        .map_err(sql)?;
    // An account is never without a device that it can be written to.
    let all = found.account.devices.len() == keyless.len();
    Ok(if all { Vec::new() } else { keyless })
}

fn roster_of(account: &Account, keyless: &[u8]) -> Roster {
    let device = |device: &auth::Device| RosterDevice {
        id: device.id,
        registration_id: device.registration_id,
        pni_registration_id: device.pni_registration_id,
    };
    Roster {
        aci: account.aci,
        pni: account.pni(),
        unidentified_access: account.unidentified_access.clone(),
        devices: account
            .devices
            .iter()
            .filter(|device| !keyless.contains(&device.id.get()))
            .map(device)
            .collect(),
    }
}

impl fmt::Debug for Rosters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rosters").finish_non_exhaustive()
    }
}
