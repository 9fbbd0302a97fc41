//! What logins and sessions need remembered.

use async_trait::async_trait;
use protocol::{
    Aci, DeviceAddress, DeviceId, RegistrationId,
    ambient::{StorageError, Timestamp},
};

use super::{
    device::{DeviceIdentifier, DeviceLabel},
    email::NewcomerEmail,
    hashing::PasswordHash,
    refresh::{FamilyId, TokenHash},
    session::{LiveSession, NewSession, SessionId, SessionInfo},
    username::Username,
};
use crate::{admission::Admitted, device::Device, service::Authenticated, store::IdentityKeys};

/// Remembers logins, native devices and sessions. Each method happens whole or not at all, and has happened for good
/// when it answers. What is of a device goes with the device, and all of it with the account.
#[async_trait]
pub trait NativeStore: Send + Sync + 'static {
    /// Creates an account with its login, its first device, that device's session, and the profile record with the
    /// username: all of it in one transaction.
    async fn register(&self, new: NewNativeAccount) -> Result<RegisterNativeOutcome, StorageError>;

    /// The login of that name, and whether the account knows a device of that identifier.
    async fn login(
        &self,
        username: &Username,
        device: &DeviceIdentifier,
    ) -> Result<Option<StoredLogin>, StorageError>;

    /// The login of an account.
    async fn login_of(&self, aci: Aci) -> Result<Option<StoredLogin>, StorageError>;

    /// Remembers the same password under another hash, if the login is still of that version.
    async fn rehash(&self, aci: Aci, version: u64, hash: PasswordHash) -> Result<(), StorageError>;

    /// Remembers another password, if the login is still of that version, and ends all sessions but one.
    async fn change_password(
        &self,
        aci: Aci,
        version: u64,
        hash: PasswordHash,
        except: Option<SessionId>,
    ) -> Result<ChangePasswordOutcome, StorageError>;

    /// Opens a session, if the login is still of the version that was checked, and a second factor was shown or the
    /// account has none: of the device of that identifier, whose former session ends, or of a new one.
    async fn open_session(&self, new: OpenSession) -> Result<OpenSessionOutcome, StorageError>;

    /// The session of that id, unless it is over.
    async fn session(&self, id: SessionId, now: Timestamp) -> Result<Option<LiveSession>, StorageError>;

    /// Trades the present refresh token of a session for the next one; any other token of that session ends it.
    async fn rotate(&self, rotation: Rotation) -> Result<RotateOutcome, StorageError>;

    /// The sessions of an account, the longest first.
    async fn sessions(&self, aci: Aci, now: Timestamp) -> Result<Vec<SessionInfo>, StorageError>;

    /// Ends a session of that account, and answers whose it was.
    async fn end_session(&self, aci: Aci, id: SessionId) -> Result<Option<DeviceId>, StorageError>;

    /// Ends all sessions of an account but one, and answers whose they were.
    async fn end_sessions(&self, aci: Aci, except: Option<SessionId>) -> Result<Vec<DeviceId>, StorageError>;

    /// Publishes the identity key of an account and the keys of one device under it.
    async fn publish_identity(&self, publication: Publication) -> Result<PublishOutcome, StorageError>;

    /// Forgets sessions that are over.
    async fn remove_expired_sessions(&self, now: Timestamp) -> Result<usize, StorageError>;
}

/// A native account to be created.
#[derive(Clone, Debug)]
pub struct NewNativeAccount {
    /// Its identity.
    pub aci: Aci,
    /// The name to log in by, which is also that of the profile.
    pub username: Username,
    /// The hash of the password.
    pub password: PasswordHash,
    /// The keys it begins with, if it brings any.
    pub keys: Option<IdentityKeys>,
    /// The device.
    pub device: NewNativeDevice,
    /// The device's session.
    pub session: NewSession,
    /// Why there may be such an account; used up with it.
    pub admitted: Admitted,
    /// The e-mail address it begins with. Where a code proves it, the code is used up with it.
    pub email: Option<NewcomerEmail>,
}

/// A native device to be added.
#[derive(Clone, Debug)]
pub struct NewNativeDevice {
    /// The device; if it joins an account, the lowest free id takes the place of its id.
    pub device: Device,
    /// By what it knows itself again.
    pub identifier: DeviceIdentifier,
    /// What it is called.
    pub label: Option<DeviceLabel>,
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterNativeOutcome {
    /// The account exists.
    Registered,
    /// Somebody else has that name.
    UsernameTaken,
    /// What admitted the account has been used up or taken back. Nothing was done.
    NotAdmitted,
    /// The code for the address is no longer good, or the address is somebody's by now. Nothing was done.
    NotProved,
}

/// A login as it is remembered.
#[derive(Clone, Debug)]
pub struct StoredLogin {
    /// The account.
    pub aci: Aci,
    /// The name.
    pub username: Username,
    /// The hash of the password.
    pub password: PasswordHash,
    /// Another one after each change of the password.
    pub version: u64,
    /// Whether the account has a device of the identifier that was asked for.
    pub knows_device: bool,
}

/// What became of a change of password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangePasswordOutcome {
    /// It was made, and these devices are logged out.
    Changed(Vec<DeviceId>),
    /// The password is no longer the one that was checked, or the account is gone.
    Outdated,
}

/// A session to be opened.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// The account.
    pub aci: Aci,
    /// The version of the login that was checked.
    pub login_version: u64,
    /// Whether a second factor was shown. Without one, an account that has any gets no session.
    pub factor_shown: bool,
    /// The device, as it is to be if the account does not know it yet.
    pub device: NewNativeDevice,
    /// The session.
    pub session: NewSession,
    /// Devices an account may have.
    pub devices_max: usize,
}

/// What became of opening a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenSessionOutcome {
    /// It is open.
    Opened {
        /// Of that device.
        device: Authenticated,
        /// Which has that registration id.
        registration_id: RegistrationId,
        /// The device is new.
        joined: bool,
    },
    /// The password is no longer the one that was checked, there is a second factor by now, or the account is gone.
    Outdated,
    /// The device is new, and there is no room for it.
    TooManyDevices,
}

/// A refresh token to be traded in.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// What names its session.
    pub family: FamilyId,
    /// By what it is known.
    pub presented: TokenHash,
    /// By what the next one is known.
    pub next: TokenHash,
    /// The present moment.
    pub at: Timestamp,
    /// The day it is, for when the device was last seen.
    pub day: Timestamp,
    /// When the session is then over unless it is refreshed; no later than its end.
    pub expires: Timestamp,
}

/// What became of trading in a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotateOutcome {
    /// The next one counts.
    Rotated {
        /// The device.
        device: DeviceAddress,
        /// The session.
        session: SessionId,
        /// When it is over unless it is refreshed.
        expires: Timestamp,
    },
    /// The token had been traded in before. The session has been ended.
    Reused {
        /// The device.
        device: DeviceAddress,
        /// The session.
        session: SessionId,
    },
    /// There is no such session, or it is over.
    Unknown,
}

/// Keys to be published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The device whose keys they are.
    pub device: DeviceAddress,
    /// The account's identity key, and keys of that device signed by it.
    pub keys: IdentityKeys,
    /// The device's registration id, if it is to be another.
    pub registration_id: Option<RegistrationId>,
    /// Whether another identity key may take the place of the account's. All keys under that one go.
    pub replace: bool,
}

/// What became of publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It was done.
    Published,
    /// The account has another identity key.
    OtherIdentity,
    /// There is no such device.
    NoSuchDevice,
}
