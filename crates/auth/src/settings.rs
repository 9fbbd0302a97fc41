//! What an account may ask and set about itself.

use protocol::{
    AccessKey, Aci, DeviceId, PhoneNumber, Pni, ServiceId, UnidentifiedAccess, UnidentifiedCredential,
    ambient::{StorageError, Timestamp},
};

use crate::{
    account::Account,
    attributes::AccountAttributes,
    audit::{Action, AuditEvent, Detail},
    capabilities::{Capabilities, Capability},
    device::{Agent, DeviceName, PushService, PushToken},
    revocation::QueueClear,
    secrets::{RecoveryPassword, RegistrationLockToken, SaltedHash},
    service::{AccountService, Authenticated},
    store::{AccountChange, Change, ChangeOutcome, DeviceChange, PushTokenChange},
};

/// Who an account is, as it may know itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountIdentity {
    /// Its account identity.
    pub aci: Aci,
    /// Its phone number.
    pub number: Option<PhoneNumber>,
    /// The identity of that number.
    pub pni: Option<Pni>,
    /// Whether the account keeps its state with the storage service.
    pub storage_capable: bool,
}

/// What the server knows of an account, for its owner to read.
#[derive(Clone, Debug)]
pub struct DataReport {
    /// Names this report.
    pub id: uuid::Uuid,
    /// When it was made.
    pub at: Timestamp,
    /// The phone number.
    pub number: Option<PhoneNumber>,
    /// Whether everybody may send without saying who they are.
    pub unrestricted_unidentified_access: bool,
    /// Whether the account may be found by its number.
    pub discoverable: bool,
    /// Its devices.
    pub devices: Vec<DeviceReport>,
}

/// What the server knows of a device.
#[derive(Clone, Debug)]
pub struct DeviceReport {
    /// Its id.
    pub id: DeviceId,
    /// The day on which it was last seen.
    pub last_seen: Timestamp,
    /// When it was added.
    pub created: Timestamp,
    /// What its software calls itself.
    pub agent: Option<Agent>,
}

/// Why an account call was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The account or device that called no longer exists.
    #[error("the account is gone")]
    Gone,
    /// This takes a phone number, and the account has none.
    #[error("the account has no number")]
    NoNumber,
    /// This takes an identity key, and the account has published none yet.
    #[error("the account has no identity key")]
    NoIdentityKey,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a caller who does not say who it is was not told what an account can do.
#[derive(Debug, thiserror::Error)]
pub enum ShownCapabilitiesError {
    /// What it shows is not good for such an account.
    #[error("not authorised")]
    Unauthorized,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a device was not renamed.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// A linked device may rename only itself.
    #[error("not this device's to rename")]
    NotPermitted,
    /// The account has no such device.
    #[error("no such device")]
    NoSuchDevice,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<&Account> for AccountIdentity {
    fn from(account: &Account) -> Self {
        Self {
            aci: account.aci,
            number: account.number.as_ref().map(|number| number.number.clone()),
            pni: account.pni(),
            storage_capable: account.has(Capability::Storage),
        }
    }
}

impl AccountService {
    /// Who the caller is.
    pub async fn identity(&self, caller: &Authenticated) -> Result<AccountIdentity, AccountError> {
        Ok(AccountIdentity::from(&self.account(caller).await?))
    }

    /// The PNI that the caller's account has now, which may not be the one that it had when the caller said who it is.
    pub async fn present_pni(&self, caller: &Authenticated) -> Result<Option<Pni>, StorageError> {
        Ok(self.store.sign_in(caller.address()).await?.and_then(|found| found.pni))
    }

    /// What the caller's account can do.
    pub async fn capabilities(&self, caller: &Authenticated) -> Result<Capabilities, AccountError> {
        let account = self.account(caller).await?;
        Ok(Capability::ALL.into_iter().filter(|capability| account.has(*capability)).collect())
    }

    /// What an account can do that concerns those who write to it, for a caller who shows no more than that it may. That
    /// there is no such account is not told apart from that it may not.
    pub async fn shown_capabilities(
        &self,
        target: ServiceId,
        credential: &UnidentifiedCredential,
    ) -> Result<Capabilities, ShownCapabilitiesError> {
        // Nobody issues these yet, so that none is good.
        if matches!(credential, UnidentifiedCredential::GroupSendToken(_)) {
            return Err(ShownCapabilitiesError::Unauthorized);
        }
        let account = self.store.account(target).await?.ok_or(ShownCapabilitiesError::Unauthorized)?;
        if !account.unidentified_access.admits(credential, target) {
            return Err(ShownCapabilitiesError::Unauthorized);
        }
        let shown = |capability: &Capability| capability.is_shown_to_everyone() && account.has(*capability);
        Ok(Capability::ALL.into_iter().filter(shown).collect())
    }

    /// What the server knows of the caller's account.
    pub async fn data_report(&self, caller: &Authenticated) -> Result<DataReport, AccountError> {
        let account = self.account(caller).await?;
        let device = |device: &crate::Device| DeviceReport {
            id: device.id,
            last_seen: device.last_seen,
            created: device.created,
            agent: device.agent.clone(),
        };
        Ok(DataReport {
            id: self.entropy.uuid(),
            at: self.clock.now(),
            unrestricted_unidentified_access: account.unidentified_access.unrestricted,
            discoverable: account.discoverable,
            devices: account.devices.iter().map(device).collect(),
            number: account.number.map(|number| number.number),
        })
    }

    /// Whether there is an account with that identity.
    pub async fn exists(&self, id: ServiceId) -> Result<bool, StorageError> {
        self.store.exists(id).await
    }

    /// Takes over what the caller says about itself and its account. Registration ids are only set by
    /// registering.
    pub async fn set_attributes(
        &self,
        caller: &Authenticated,
        attributes: AccountAttributes,
        agent: Option<Agent>,
    ) -> Result<(), AccountError> {
        if attributes.discoverable {
            require_number(caller)?;
        }
        // Clients send all of this whenever they start: only what becomes different is worth a record.
        let lock = self.lock_change(caller, attributes.registration_lock.as_ref()).await?;
        let account = AccountChange {
            registration_lock: Change::Set(attributes.registration_lock.map(|token| self.hash_lock(&token))),
            recovery_password: match attributes.recovery_password {
                Some(password) => Change::Set(password.hash(&*self.entropy)),
                None => Change::Keep,
            },
            unidentified_access: Change::Set(attributes.unidentified_access),
            discoverable: Change::Set(attributes.discoverable),
        };
        let device = DeviceChange {
            name: Change::Set(attributes.name),
            fetches_messages: Change::Set(attributes.fetches_messages),
            push_token: PushTokenChange::Keep,
            capabilities: Change::Set(attributes.capabilities),
            agent: Change::Set(agent),
        };
        self.change(caller, account, device).await?;
        if let Some(event) = lock {
            self.audit.record(event).await;
        }
        Ok(())
    }

    /// Replaces what the calling device can do.
    pub async fn set_capabilities(
        &self,
        caller: &Authenticated,
        capabilities: Capabilities,
    ) -> Result<(), AccountError> {
        let change = DeviceChange { capabilities: Change::Set(capabilities), ..Default::default() };
        self.change(caller, AccountChange::default(), change).await
    }

    /// Names a device. The primary may name every device of its account, others only themselves.
    pub async fn set_device_name(
        &self,
        caller: &Authenticated,
        device_id: DeviceId,
        name: DeviceName,
    ) -> Result<(), RenameError> {
        if !caller.device_id.is_primary() && caller.device_id != device_id {
            return Err(RenameError::NotPermitted);
        }
        let named = Authenticated { device_id, ..*caller };
        let change = DeviceChange { name: Change::Set(Some(name)), ..Default::default() };
        match self.store.change(named.address(), AccountChange::default(), change).await? {
            ChangeOutcome::Done => Ok(()),
            ChangeOutcome::NoSuchDevice => Err(RenameError::NoSuchDevice),
        }
    }

    /// Sets where a push reaches the calling device, which then no longer fetches by itself.
    pub async fn set_push_token(&self, caller: &Authenticated, token: PushToken) -> Result<(), AccountError> {
        let change = DeviceChange {
            push_token: PushTokenChange::Set(token, self.clock.now()),
            fetches_messages: Change::Set(false),
            ..Default::default()
        };
        self.change(caller, AccountChange::default(), change).await
    }

    /// Forgets where a push reaches the calling device. The kind of token it gives up tells what kind of
    /// device it is.
    pub async fn clear_push_token(
        &self,
        caller: &Authenticated,
        service: PushService,
    ) -> Result<(), AccountError> {
        let agent = match service {
            PushService::Apns if caller.device_id.is_primary() => "OWI",
            PushService::Apns => "OWP",
            PushService::Fcm => "OWA",
            // Given and taken back by other ways than an app's own settings.
            PushService::WebPush => return Ok(()),
        };
        let change = DeviceChange {
            push_token: PushTokenChange::ForgetPlatform,
            fetches_messages: Change::Set(false),
            agent: Change::Set(Some(Agent::new(agent))),
            ..Default::default()
        };
        self.change(caller, AccountChange::default(), change).await
    }

    /// Forgets where a push reaches the calling device, which from now on fetches by itself.
    pub async fn fetch_without_push(&self, caller: &Authenticated) -> Result<(), AccountError> {
        let change = DeviceChange {
            push_token: PushTokenChange::ForgetPlatform,
            fetches_messages: Change::Set(true),
            ..Default::default()
        };
        self.change(caller, AccountChange::default(), change).await
    }

    /// Sets the registration lock, or takes it away.
    pub async fn set_registration_lock(
        &self,
        caller: &Authenticated,
        token: Option<RegistrationLockToken>,
    ) -> Result<(), AccountError> {
        if token.is_some() {
            require_number(caller)?;
        }
        self.audit.ready()?;
        let told = Action::ChangeRegistrationLock.by(caller.address());
        let told = told.detail(if token.is_some() { Detail::Set } else { Detail::Cleared });
        let lock = token.map(|token| self.hash_lock(&token));
        let change = AccountChange { registration_lock: Change::Set(lock), ..Default::default() };
        self.change(caller, change, DeviceChange::default()).await?;
        self.audit.record(told).await;
        Ok(())
    }

    /// Sets the password for registering again.
    pub async fn set_recovery_password(
        &self,
        caller: &Authenticated,
        password: RecoveryPassword,
    ) -> Result<(), AccountError> {
        self.audit.ready()?;
        let hash = password.hash(&*self.entropy);
        let change = AccountChange { recovery_password: Change::Set(hash), ..Default::default() };
        self.change(caller, change, DeviceChange::default()).await?;
        self.audit.record(Action::ChangeRecoveryPassword.by(caller.address()).detail(Detail::Set)).await;
        Ok(())
    }

    /// Sets whether the account may be found by its number.
    pub async fn set_discoverable(
        &self,
        caller: &Authenticated,
        discoverable: bool,
    ) -> Result<(), AccountError> {
        require_number(caller)?;
        let change = AccountChange { discoverable: Change::Set(discoverable), ..Default::default() };
        self.change(caller, change, DeviceChange::default()).await
    }

    /// Sets who may send to the account without saying who they are: who knows the key, or everybody.
    pub async fn set_unidentified_access(
        &self,
        caller: &Authenticated,
        key: Option<AccessKey>,
    ) -> Result<(), AccountError> {
        let access = UnidentifiedAccess { unrestricted: key.is_none(), key };
        let change = AccountChange { unidentified_access: Change::Set(access), ..Default::default() };
        self.change(caller, change, DeviceChange::default()).await
    }

    /// Deletes the caller's account: its devices and keys are gone when this answers, what waited for
    /// them goes, and their connections are closed. Doing it twice is the same as once.
    pub async fn delete(&self, caller: &Authenticated) -> Result<(), StorageError> {
        self.audit.ready()?;
        let at = self.clock.now();
        if self.store.delete(caller.aci, at).await? {
            // Before the sockets are told: the answer to the caller should not come long after they begin to close.
            self.audit.record(Action::DeleteAccount.by(caller.address())).await;
            self.revocations.devices_gone(QueueClear { aci: caller.aci, device: None, cutoff: at }).await;
        }
        Ok(())
    }

    pub(crate) async fn account(&self, caller: &Authenticated) -> Result<Account, AccountError> {
        self.store.account(ServiceId::Aci(caller.aci)).await?.ok_or(AccountError::Gone)
    }

    async fn change(
        &self,
        caller: &Authenticated,
        account: AccountChange,
        device: DeviceChange,
    ) -> Result<(), AccountError> {
        match self.store.change(caller.address(), account, device).await? {
            ChangeOutcome::Done => Ok(()),
            ChangeOutcome::NoSuchDevice => Err(AccountError::Gone),
        }
    }

    /// What is to be written down if the registration lock becomes that one.
    async fn lock_change(
        &self,
        caller: &Authenticated,
        token: Option<&RegistrationLockToken>,
    ) -> Result<Option<AuditEvent>, AccountError> {
        let before = self.account(caller).await?.registration_lock;
        let detail = match (before, token) {
            (None, None) => return Ok(None),
            (Some(lock), Some(token)) if lock.matches(token.as_bytes()) => return Ok(None),
            (_, Some(_)) => Detail::Set,
            (Some(_), None) => Detail::Cleared,
        };
        self.audit.ready()?;
        Ok(Some(Action::ChangeRegistrationLock.by(caller.address()).detail(detail)))
    }

    fn hash_lock(&self, token: &RegistrationLockToken) -> SaltedHash {
        SaltedHash::new(token.as_bytes(), &*self.entropy)
    }
}

fn require_number(caller: &Authenticated) -> Result<(), AccountError> {
    caller.pni.map(drop).ok_or(AccountError::NoNumber)
}
