//! Who is calling, and the service that account calls go to.

use std::{fmt, sync::Arc, time::Duration};

use protocol::{
    Aci, DeviceAddress, DeviceId, Pni,
    ambient::{Clock, Entropy, StorageError, Timestamp},
};
use tokio::sync::Semaphore;

use crate::{
    audit::{Action, AuditTrail, Detail},
    credentials::BasicCredentials,
    device::Credential,
    revocation::Revocations,
    secrets::Password,
    store::AccountStore,
};

/// Notes of "seen today" in flight at once. Beyond that a note is left out; the next sign-in makes it.
const SEEN_NOTES_MAX: usize = 64;

const DAY: Duration = Duration::from_hours(24);

/// Authenticates devices and changes what accounts may set about themselves.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct AccountService {
    pub(crate) store: Arc<dyn AccountStore>,
    pub(crate) revocations: Revocations,
    pub(crate) audit: Arc<dyn AuditTrail>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// What the password of a device that does not exist is compared with, so that it takes as long.
    nobody: Credential,
    seen_notes: Arc<Semaphore>,
}

/// A device that proved its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// Its account.
    pub aci: Aci,
    /// Which of the account's devices it is.
    pub device_id: DeviceId,
    /// The account's PNI, when it has a number.
    pub pni: Option<Pni>,
}

impl Authenticated {
    /// The device's address.
    pub fn address(&self) -> DeviceAddress {
        DeviceAddress { aci: self.aci, device_id: self.device_id }
    }
}

/// Why a caller was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// There is no such device, or the password is wrong. Which one is not said.
    #[error("wrong credentials")]
    Refused,
    /// Nothing can be said about the credentials.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl AccountService {
    /// A service on that store.
    pub fn new(
        store: Arc<dyn AccountStore>,
        revocations: Revocations,
        audit: Arc<dyn AuditTrail>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let nobody = Credential { locked: true, ..Credential::new(&Password::new(String::new()), &*entropy) };
        let seen_notes = Arc::new(Semaphore::new(SEEN_NOTES_MAX));
        Self { store, revocations, audit, clock, entropy, nobody, seen_notes }
    }

    /// Checks the credentials of a device: one look-up, and no write that the caller waits for.
    pub async fn authenticate(
        &self,
        credentials: &BasicCredentials,
    ) -> Result<Authenticated, AuthenticateError> {
        let device = credentials.device().ok_or(AuthenticateError::Refused)?;
        let found = self.store.sign_in(device).await?;
        let credential = found.as_ref().map_or(&self.nobody, |found| &found.credential);
        let accepted = credential.accepts(credentials.password());
        match found {
            Some(found) if accepted => {
                let first_today = self.note_seen(device, found.last_seen);
                self.audit.signed_in(device, first_today);
                Ok(Authenticated { aci: device.aci, device_id: device.device_id, pni: found.pni })
            }
            _ => {
                let event = Action::SignIn.refused(device).detail(Detail::WrongCredentials);
                self.audit.record(event).await;
                Err(AuthenticateError::Refused)
            }
        }
    }

    /// Notes in the background that the device was seen today, unless it is known. Answers whether it was not.
    fn note_seen(&self, device: DeviceAddress, last_seen: Timestamp) -> bool {
        let now = self.clock.now();
        if last_seen
            >= day_of(Timestamp::from_millis(now.as_millis().saturating_sub(note_offset(device.aci))))
        {
            return false;
        }
        let Ok(permit) = Arc::clone(&self.seen_notes).try_acquire_owned() else { return false };
        let store = Arc::clone(&self.store);
        tokio::spawn(async move {
            if let Err(error) = store.seen(device, day_of(now)).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "when a device was last seen was not noted"
                );
            }
            drop(permit);
        });
        true
    }
}

/// Midnight (UTC) of that day. Days and not moments are kept of when somebody was last seen.
pub(crate) fn day_of(moment: Timestamp) -> Timestamp {
    let millis = moment.as_millis();
    Timestamp::from_millis(millis - millis % DAY_MILLIS)
}

const DAY_MILLIS: u64 = DAY.as_secs() * 1000;

/// How long after midnight an account's day is noted, in milliseconds: each account has its own time, or
/// every device would be written at midnight.
fn note_offset(aci: Aci) -> u64 {
    (aci.0.as_u64_pair().1) % DAY_MILLIS
}

impl fmt::Debug for AccountService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountService").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight() {
        let noon = Timestamp::from_millis(1_700_049_600_000);
        assert_eq!(day_of(noon).as_millis(), 1_700_006_400_000);
        assert_eq!(day_of(day_of(noon)), day_of(noon));
    }
}
