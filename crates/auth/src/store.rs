//! What accounts need remembered.

use async_trait::async_trait;
use protocol::{
    Aci, DeviceAddress, PhoneNumber, Pni, ServiceId, UnidentifiedAccess,
    ambient::{StorageError, Timestamp},
    keys::{EcPublicKey, EcSignedPreKey, KemSignedPreKey},
};

use crate::{
    account::{Account, AccountVersion},
    admission::Admitted,
    capabilities::Capabilities,
    device::{Agent, Credential, Device, DeviceName, PushToken},
    revocation::QueueClear,
    secrets::SaltedHash,
};

/// Remembers accounts and their devices. Each method happens whole or not at all, and has happened for
/// good when it answers.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// What authenticating a device takes.
    async fn sign_in(&self, device: DeviceAddress) -> Result<Option<SignIn>, StorageError>;

    /// The account with that identity, ACI or PNI.
    async fn account(&self, id: ServiceId) -> Result<Option<Account>, StorageError>;

    /// Whether there is an account with that identity.
    async fn exists(&self, id: ServiceId) -> Result<bool, StorageError>;

    /// What is known of a phone number.
    async fn number(&self, number: &PhoneNumber) -> Result<NumberRecord, StorageError>;

    /// Creates the account of a number or replaces it, with its keys.
    ///
    /// A number that was seen before keeps its PNI. If an account holds it, that account keeps its ACI and
    /// loses all its devices and keys; otherwise, if the account that held it last was deleted no longer
    /// ago than `reuse_deleted_since`, that ACI is taken up again. Where an account is replaced, a
    /// [`QueueClear`] is recorded too.
    async fn register(&self, registration: NewRegistration) -> Result<RegisterOutcome, StorageError>;

    /// Locks every device of the account, and unless it is to be kept, removes the recovery password of
    /// its number. Does nothing if the account is no longer in that state.
    async fn lock(&self, aci: Aci, at: AccountVersion, keep_recovery: bool) -> Result<(), StorageError>;

    /// Removes the recovery password of a number.
    async fn remove_recovery_password(&self, number: &PhoneNumber) -> Result<(), StorageError>;

    /// Changes an account and one of its devices.
    async fn change(
        &self,
        device: DeviceAddress,
        account_change: AccountChange,
        device_change: DeviceChange,
    ) -> Result<ChangeOutcome, StorageError>;

    /// Notes the day on which a device was last seen; an earlier one than known changes nothing.
    async fn seen(&self, device: DeviceAddress, day: Timestamp) -> Result<(), StorageError>;

    /// Deletes an account with its devices and keys, and records a [`QueueClear`]. The number keeps its
    /// PNI, and remembers the ACI for a while. Answers whether there was an account.
    async fn delete(&self, aci: Aci, at: Timestamp) -> Result<bool, StorageError>;

    /// Removes a linked device with its keys under both identities, and records a [`QueueClear`] of it. Answers
    /// whether there was one. The primary goes only with its account.
    async fn remove_device(&self, device: DeviceAddress, at: Timestamp) -> Result<bool, StorageError>;

    /// The queues that are still to be cleared, oldest first, at most `limit`.
    async fn queue_clears(&self, limit: usize) -> Result<Vec<QueueClear>, StorageError>;

    /// Forgets one of them. One with a later cutoff for the same devices stays.
    async fn queue_cleared(&self, clear: QueueClear) -> Result<(), StorageError>;
}

/// What authenticating a device takes.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// What its password is checked against.
    pub credential: Credential,
    /// The PNI of its account, when it has a number.
    pub pni: Option<Pni>,
    /// When it was last seen.
    pub last_seen: Timestamp,
}

/// What is known of a phone number.
#[derive(Clone, Debug, Default)]
pub struct NumberRecord {
    /// The account that holds it.
    pub account: Option<Account>,
    /// The hash of the password by which its owner registers again without a code.
    pub recovery_password: Option<SaltedHash>,
}

/// A registration that passed every check.
#[derive(Clone, Debug)]
pub struct NewRegistration {
    /// The number to register.
    pub number: PhoneNumber,
    /// The account that held the number when the checks were made, and its state then.
    pub replaces: Option<(Aci, AccountVersion)>,
    /// The ACI for a number that brings none.
    pub new_aci: Aci,
    /// The PNI for a number never seen before.
    pub new_pni: Pni,
    /// Keys under the ACI.
    pub aci_keys: IdentityKeys,
    /// Keys under the PNI.
    pub pni_keys: IdentityKeys,
    /// The primary device.
    pub device: Device,
    /// Who may send without saying who they are.
    pub unidentified_access: UnidentifiedAccess,
    /// Whether the account may be found by its number.
    pub discoverable: bool,
    /// The registration lock.
    pub registration_lock: Option<SaltedHash>,
    /// The recovery password; none leaves that of the number as it is.
    pub recovery_password: Option<SaltedHash>,
    /// Why there may be an account if there is none; used up with it.
    pub admitted: Admitted,
    /// The present moment.
    pub at: Timestamp,
    /// How long ago an account may have been deleted for its ACI to be taken up again.
    pub reuse_deleted_since: Timestamp,
}

/// The keys with which an identity begins.
#[derive(Clone, Debug)]
pub struct IdentityKeys {
    /// The public identity key.
    pub identity_key: EcPublicKey,
    /// The signed pre-key.
    pub signed_pre_key: EcSignedPreKey,
    /// The Kyber pre-key that is handed out when there are no others.
    pub last_resort_pre_key: KemSignedPreKey,
}

impl IdentityKeys {
    /// Whether both pre-keys are signed by the identity key.
    pub(crate) fn are_signed(&self) -> bool {
        self.signed_pre_key.verify(&self.identity_key) && self.last_resort_pre_key.verify(&self.identity_key)
    }
}

/// What became of a registration.
#[derive(Clone, Debug)]
pub enum RegisterOutcome {
    /// The account as it is now, and whether it replaced one.
    Registered {
        /// The account as it is now.
        account: Box<Account>,
        /// The account it replaced, as it was.
        replaced: Option<Box<Account>>,
    },
    /// The number's account is no longer the one that the checks were made on. Nothing was done.
    Outdated,
    /// What admitted the account has been used up or taken back. Nothing was done.
    NotAdmitted,
}

/// What is to become of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays.
    #[default]
    Keep,
    /// It becomes this.
    Set(T),
}

/// What is to become of an account's settings.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// The registration lock.
    pub registration_lock: Change<Option<SaltedHash>>,
    /// The recovery password, of the account and of its number.
    pub recovery_password: Change<SaltedHash>,
    /// Who may send without saying who they are.
    pub unidentified_access: Change<UnidentifiedAccess>,
    /// Whether the account may be found by its number.
    pub discoverable: Change<bool>,
}

/// What is to become of a device's settings.
#[derive(Clone, Debug, Default)]
pub struct DeviceChange {
    /// Its encrypted name.
    pub name: Change<Option<DeviceName>>,
    /// Whether it fetches messages by itself.
    pub fetches_messages: Change<bool>,
    /// Where a push reaches it.
    pub push_token: PushTokenChange,
    /// What its software can do.
    pub capabilities: Change<Capabilities>,
    /// What its software calls itself.
    pub agent: Change<Option<Agent>>,
}

/// What is to become of where a push reaches a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PushTokenChange {
    /// It stays.
    #[default]
    Keep,
    /// It becomes this, at that moment.
    Set(PushToken, Timestamp),
    /// A token of Apple's or Google's goes. A subscription of Web Push stays: clients that say they have no
    /// token do not know of it, and it was not they who gave it.
    ForgetPlatform,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// It was made.
    Done,
    /// There is no such device.
    NoSuchDevice,
}
