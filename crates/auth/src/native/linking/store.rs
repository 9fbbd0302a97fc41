//! What linking by the native API needs remembered.

use async_trait::async_trait;
use protocol::{
    DeviceId, RegistrationId,
    ambient::{StorageError, Timestamp},
};

use super::super::{
    session::{NewSession, SessionId},
    store::NewNativeDevice,
};
use crate::{linking::LinkCodeId, service::Authenticated, store::IdentityKeys};

/// Remembers link codes of sessions, one of each at a time. Each method happens whole or not at all, and has happened
/// for good when it answers.
///
/// A code goes with the session that asked for it, and is void after the password has changed.
#[async_trait]
pub trait NativeLinkStore: Send + Sync + 'static {
    /// Keeps a code of that session, in place of the one it may have. Answers whether there is such a session.
    async fn offer_code(&self, offer: CodeOffer) -> Result<bool, StorageError>;

    /// What has become of the session's code, if it has one that is not over.
    async fn offered_code(
        &self,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Option<CodeState>, StorageError>;

    /// Forgets the session's code.
    async fn withdraw_code(&self, session: SessionId) -> Result<(), StorageError>;

    /// Uses a code up: opens a session of the device of that identifier, which joins the account if it is not one of its
    /// devices, and publishes its keys. A code is used up by nothing else than [`RedeemOutcome::Redeemed`].
    async fn redeem_code(&self, redemption: Redemption) -> Result<RedeemOutcome, StorageError>;
}

/// A code to be kept.
#[derive(Clone, Copy, Debug)]
pub struct CodeOffer {
    /// What it is known by.
    pub code: LinkCodeId,
    /// The session that asks for it.
    pub session: SessionId,
    /// The present moment.
    pub at: Timestamp,
    /// When it is over.
    pub expires: Timestamp,
}

/// What has become of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeState {
    /// It can be used.
    Open {
        /// Until then.
        expires: Timestamp,
    },
    /// It has let that device in, which still is one of the account's.
    Used(DeviceId),
}

/// A code that somebody shows.
#[derive(Clone, Debug)]
pub struct Redemption {
    /// What it is known by.
    pub code: LinkCodeId,
    /// The device, as it is to be if the account does not know it yet.
    pub device: NewNativeDevice,
    /// The keys it brings: the account's identity key, and keys of the device signed by it.
    pub keys: Option<IdentityKeys>,
    /// Its session; begins at the present moment.
    pub session: NewSession,
    /// How long it is remembered which device the code has let in.
    pub remembered_until: Timestamp,
    /// Devices an account may have.
    pub devices_max: usize,
}

/// What became of a code that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedeemOutcome {
    /// The device is logged in.
    Redeemed {
        /// The device.
        device: Authenticated,
        /// Which has that registration id.
        registration_id: RegistrationId,
        /// The device is new.
        joined: bool,
        /// The session that had asked for the code.
        offered_by: SessionId,
    },
    /// There is no such code, it is over, or it has been used.
    NoSuchCode,
    /// The device is new, and there is no room for it.
    TooManyDevices,
    /// The account has another identity key than the device brings.
    OtherIdentity,
}
