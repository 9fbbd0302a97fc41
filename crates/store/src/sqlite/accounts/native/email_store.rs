//! E-mail addresses and resets, as the service asks for them.

use async_trait::async_trait;
use auth::{
    mail::MailAddress,
    native::{
        email::{
            EmailState, EmailStore,
            code::MailCodeHash,
            store::{ConfirmOutcome, EmailWish, NewReset, ResetDone, ResetOf, ResetTarget},
        },
        hashing::PasswordHash,
    },
};
use protocol::{
    Aci,
    ambient::{StorageError, Timestamp},
};
use rusqlite::Connection;
use vault::Vault;

use super::{super::SqliteAccounts, emails, resets};

impl SqliteAccounts {
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection, &Vault) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let vault = self.vault.clone();
        self.database.read(move |connection| read(connection, &vault)).await
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection, &Vault) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let vault = self.vault.clone();
        self.database.write(move |connection| write(connection, &vault)).await
    }
}

#[async_trait]
impl EmailStore for SqliteAccounts {
    async fn email(&self, aci: Aci, now: Timestamp) -> Result<EmailState, StorageError> {
        self.read(move |connection, vault| emails::state(connection, vault, aci, now)).await
    }

    async fn email_owner(&self, address: &MailAddress) -> Result<Option<Aci>, StorageError> {
        let address = address.clone();
        self.read(move |connection, vault| emails::owner(connection, vault, &address)).await
    }

    async fn wish(&self, aci: Aci, wish: EmailWish) -> Result<bool, StorageError> {
        self.write(move |connection, vault| emails::wish(connection, vault, aci, &wish)).await
    }

    async fn confirm_email(
        &self,
        aci: Aci,
        code: MailCodeHash,
        now: Timestamp,
    ) -> Result<ConfirmOutcome, StorageError> {
        self.write(move |connection, vault| emails::confirm(connection, vault, aci, code, now)).await
    }

    async fn remove_email(&self, aci: Aci) -> Result<Option<MailAddress>, StorageError> {
        self.write(move |connection, vault| emails::remove(connection, vault, aci)).await
    }

    async fn add_proof(&self, wish: EmailWish) -> Result<(), StorageError> {
        self.write(move |connection, vault| emails::add_proof(connection, vault, &wish)).await
    }

    async fn is_proof(
        &self,
        address: &MailAddress,
        code: MailCodeHash,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let address = address.clone();
        self.read(move |connection, vault| emails::is_proof(connection, vault, &address, code, now)).await
    }

    async fn reset_target(&self, of: &ResetOf) -> Result<Option<ResetTarget>, StorageError> {
        let of = of.clone();
        self.read(move |connection, vault| resets::target(connection, vault, &of)).await
    }

    async fn add_reset(&self, reset: NewReset) -> Result<bool, StorageError> {
        self.write(move |connection, vault| resets::add(connection, vault, &reset)).await
    }

    async fn reset(&self, code: MailCodeHash, now: Timestamp) -> Result<Option<ResetTarget>, StorageError> {
        self.read(move |connection, vault| resets::find(connection, vault, code, now)).await
    }

    async fn reset_password(
        &self,
        code: MailCodeHash,
        password: PasswordHash,
        now: Timestamp,
    ) -> Result<Option<ResetDone>, StorageError> {
        self.write(move |connection, vault| resets::reset(connection, vault, code, &password, now)).await
    }

    async fn remove_expired_codes(&self, now: Timestamp) -> Result<usize, StorageError> {
        self.write(move |connection, _| resets::remove_expired(connection, now)).await
    }
}
