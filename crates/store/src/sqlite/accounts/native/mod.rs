//! Logins by name and password, and the sessions that follow.

mod devices;
mod email_store;
mod emails;
mod linking;
mod logins;
mod opening;
mod operator;
mod publishing;
mod resets;
mod sessions;

use async_trait::async_trait;
use auth::native::{
    DeviceIdentifier, SessionId, Username,
    hashing::PasswordHash,
    session::{LiveSession, SessionInfo},
    store::{
        ChangePasswordOutcome, NativeStore, NewNativeAccount, OpenSession, OpenSessionOutcome, Publication,
        PublishOutcome, RegisterNativeOutcome, RotateOutcome, Rotation, StoredLogin,
    },
};
use protocol::{
    Aci, DeviceId, ServiceId,
    ambient::{StorageError, Timestamp},
};

use super::SqliteAccounts;

#[async_trait]
impl NativeStore for SqliteAccounts {
    async fn register(&self, new: NewNativeAccount) -> Result<RegisterNativeOutcome, StorageError> {
        self.write_and_forget(move |connection, vault| {
            let outcome = opening::register(connection, vault, &new)?;
            Ok((outcome, vec![ServiceId::Aci(new.aci)]))
        })
        .await
    }

    async fn login(
        &self,
        username: &Username,
        device: &DeviceIdentifier,
    ) -> Result<Option<StoredLogin>, StorageError> {
        let vault = self.vault.clone();
        let (username, device) = (username.clone(), device.clone());
        self.database.read(move |connection| logins::by_name(connection, &vault, &username, &device)).await
    }

    async fn login_of(&self, aci: Aci) -> Result<Option<StoredLogin>, StorageError> {
        let vault = self.vault.clone();
        self.database.read(move |connection| logins::of_account(connection, &vault, aci)).await
    }

    async fn rehash(&self, aci: Aci, version: u64, hash: PasswordHash) -> Result<(), StorageError> {
        let vault = self.vault.clone();
        self.database
            .write(move |connection| logins::set(connection, &vault, aci, version, version, &hash).map(drop))
            .await
    }

    async fn change_password(
        &self,
        aci: Aci,
        version: u64,
        hash: PasswordHash,
        except: Option<SessionId>,
    ) -> Result<ChangePasswordOutcome, StorageError> {
        let vault = self.vault.clone();
        self.database
            .write(move |connection| {
                if !logins::set(connection, &vault, aci, version, version + 1, &hash)? {
                    return Ok(ChangePasswordOutcome::Outdated);
                }
                sessions::end_all(connection, aci, except).map(ChangePasswordOutcome::Changed)
            })
            .await
    }

    async fn open_session(&self, new: OpenSession) -> Result<OpenSessionOutcome, StorageError> {
        self.write_and_forget(move |connection, vault| {
            let outcome = opening::open(connection, vault, &new)?;
            let joined = matches!(outcome, OpenSessionOutcome::Opened { joined: true, .. });
            Ok((outcome, if joined { vec![ServiceId::Aci(new.aci)] } else { Vec::new() }))
        })
        .await
    }

    async fn session(&self, id: SessionId, now: Timestamp) -> Result<Option<LiveSession>, StorageError> {
        self.database.read(move |connection| sessions::live(connection, id, now)).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<RotateOutcome, StorageError> {
        self.database.write(move |connection| sessions::rotate(connection, &rotation)).await
    }

    async fn sessions(&self, aci: Aci, now: Timestamp) -> Result<Vec<SessionInfo>, StorageError> {
        let vault = self.vault.clone();
        self.database.read(move |connection| sessions::of_account(connection, &vault, aci, now)).await
    }

    async fn end_session(&self, aci: Aci, id: SessionId) -> Result<Option<DeviceId>, StorageError> {
        self.database.write(move |connection| sessions::end(connection, aci, id)).await
    }

    async fn end_sessions(&self, aci: Aci, except: Option<SessionId>) -> Result<Vec<DeviceId>, StorageError> {
        self.database.write(move |connection| sessions::end_all(connection, aci, except)).await
    }

    async fn publish_identity(&self, publication: Publication) -> Result<PublishOutcome, StorageError> {
        self.write_and_forget(move |connection, vault| {
            let outcome = publishing::publish(connection, vault, &publication)?;
            Ok((outcome, vec![ServiceId::Aci(publication.device.aci)]))
        })
        .await
    }

    async fn remove_expired_sessions(&self, now: Timestamp) -> Result<usize, StorageError> {
        self.database.write(move |connection| sessions::remove_expired(connection, now)).await
    }
}
