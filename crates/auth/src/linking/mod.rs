//! How an account gets more devices.
//!
//! The new device waits at an address ([`provisioning`]). The primary device asks for a code and sends it there, and
//! the new device shows it together with its keys. The primary waits for that ([`wait`]).

mod code;
pub mod provisioning;
mod request;
pub mod store;
pub mod wait;

use std::{fmt, sync::Arc, time::Duration};

use limits::{LimitId, RateLimits, RetryAfter};
use protocol::{
    Aci, DeviceAddress, DeviceId, Pni,
    ambient::{Clock, Entropy, StorageError},
    keys::EcPublicKey,
};

pub use code::{LinkCode, LinkCodeId};
pub use request::{LinkRequest, PniPart};

use crate::{
    account::Account,
    audit::{Action, AuditTrail},
    capabilities::{Capabilities, Capability},
    credentials::BasicCredentials,
    device::{Agent, Credential, Device, PushService, PushToken},
    revocation::Revocations,
    service::{Authenticated, day_of},
    store::AccountStore,
    waiters::Waiters,
};
use store::{LinkOutcome, LinkStore, NewLinkedDevice, SignedKeys};
use wait::Backlog;

/// Devices of an account, the primary among them; as many as in Signal's service.
pub const DEVICES_MAX: usize = 6;

/// How long a code can be used.
pub const CODE_LIFE: Duration = Duration::from_mins(10);

/// How long it is remembered which device a code has linked.
pub const LINKED_LIFE: Duration = Duration::from_hours(1);

/// How often linking is tried again when the account changed between check and linking.
const TRIES: usize = 4;

/// Links devices.
pub struct LinkingService {
    parts: LinkingParts,
    waiters: Waiters<LinkCodeId>,
}

/// What a [`LinkingService`] is made of.
pub struct LinkingParts {
    /// Remembers accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Remembers codes, and takes devices in.
    pub links: Arc<dyn LinkStore>,
    /// Told of what waited for an earlier device of an id.
    pub revocations: Revocations,
    /// Knows whether the primary has read its messages.
    pub backlog: Arc<dyn Backlog>,
    /// Told of what happens.
    pub audit: Arc<dyn AuditTrail>,
    /// How often somebody may do what.
    pub limits: Arc<RateLimits>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws codes and salts.
    pub entropy: Arc<dyn Entropy>,
}

/// A device that was linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Its account.
    pub aci: Aci,
    /// The account's PNI, when it has a number.
    pub pni: Option<Pni>,
    /// The id it was given.
    pub device_id: DeviceId,
}

/// An account has as many devices as it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the account has {current} devices")]
pub struct DeviceLimitReached {
    /// Devices it has.
    pub current: usize,
}

/// Why no code was made.
#[derive(Debug, thiserror::Error)]
pub enum LinkCodeError {
    /// The account that called no longer exists.
    #[error("the account is gone")]
    Gone,
    /// Only the primary device brings others in.
    #[error("not the primary device")]
    NotPrimary,
    /// There is no place for another device.
    #[error(transparent)]
    Full(#[from] DeviceLimitReached),
    /// Too many codes.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a device was not linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The code is none, has expired, or has been used.
    #[error("the code is not valid")]
    WrongCode,
    /// Too many attempts.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// A pre-key is not signed by the account's identity key, or the keys are not those of the identities
    /// that the account has.
    #[error("the keys do not fit the account")]
    WrongKeys,
    /// There is no place for another device.
    #[error(transparent)]
    Full(#[from] DeviceLimitReached),
    /// The device does not say what it can do.
    #[error("the capabilities are missing")]
    NoCapabilities,
    /// The account would lose a capability that others rely on.
    #[error("the device lacks a capability")]
    Downgrade,
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl LinkingService {
    /// A service made of these parts.
    pub fn new(parts: LinkingParts) -> Self {
        Self { parts, waiters: Waiters::default() }
    }

    /// Makes a code by which one device can join the caller's account within [`CODE_LIFE`].
    pub async fn new_code(&self, caller: &Authenticated) -> Result<LinkCode, LinkCodeError> {
        let parts = &self.parts;
        parts.audit.ready()?;
        parts
            .limits
            .check(LimitId::AllocateDevice, caller.aci.0.as_bytes(), 1)
            .map_err(LinkCodeError::RateLimited)?;
        let account = parts.accounts.account(caller.aci.into()).await?.ok_or(LinkCodeError::Gone)?;
        free_id(&account)?;
        if !caller.device_id.is_primary() {
            return Err(LinkCodeError::NotPrimary);
        }
        let code = LinkCode::random(&*parts.entropy);
        let expires = parts.clock.now().saturating_add(CODE_LIFE);
        parts.links.add_code(code.id(), caller.aci, expires).await?;
        parts.audit.record(Action::OfferLinkCode.by(caller.address())).await;
        Ok(code)
    }

    /// Adds the device to the account whose code it shows; the password of the credentials becomes its own.
    ///
    /// From this answer on, whoever sends to the account must address the device.
    pub async fn link(
        &self,
        credentials: &BasicCredentials,
        request: LinkRequest,
    ) -> Result<Linked, LinkError> {
        let parts = &self.parts;
        parts.audit.ready()?;
        let code = request.code.id();
        let aci = parts.links.code_owner(code, parts.clock.now()).await?.ok_or(LinkError::WrongCode)?;
        parts.limits.check(LimitId::VerifyDevice, aci.0.as_bytes(), 1).map_err(LinkError::RateLimited)?;
        let credential = Credential::new(credentials.password(), &*parts.entropy);
        for _ in 0..TRIES {
            let account = parts.accounts.account(aci.into()).await?.ok_or(LinkError::WrongCode)?;
            let place = check(&account, &request)?;
            let new = self.new_device(&account, &request, credential, place);
            let (address, at) = (DeviceAddress { aci, device_id: new.device.id }, new.at);
            match parts.links.link(new).await? {
                LinkOutcome::Linked => {
                    parts.revocations.device_id_given(address, at).await;
                    self.waiters.tell(&code);
                    parts.audit.record(Action::LinkDevice.by(address)).await;
                    return Ok(Linked { aci, pni: account.pni(), device_id: address.device_id });
                }
                LinkOutcome::CodeUsed => return Err(LinkError::WrongCode),
                LinkOutcome::Outdated => {}
            }
        }
        Err(LinkError::Storage(StorageError::unavailable("the account is changed all the time")))
    }

    /// Forgets codes that nobody has used.
    pub async fn remove_expired(&self) -> Result<(), StorageError> {
        self.parts.links.remove_expired_codes(self.parts.clock.now()).await
    }

    fn new_device(
        &self,
        account: &Account,
        request: &LinkRequest,
        credential: Credential,
        place: Place,
    ) -> NewLinkedDevice {
        let at = self.parts.clock.now();
        let device = Device {
            id: place.id,
            credential,
            registration_id: request.registration_id,
            pni_registration_id: request.pni.as_ref().map(|pni| pni.registration_id),
            name: request.name.clone(),
            fetches_messages: request.push_token.is_none(),
            push_token: request.push_token.clone(),
            capabilities: place.capabilities,
            agent: Some(agent(request)),
            created: at,
            last_seen: day_of(at),
        };
        NewLinkedDevice {
            code: request.code.id(),
            aci: account.aci,
            version: account.version,
            device,
            aci_keys: request.aci_keys.clone(),
            pni_keys: request.pni.as_ref().map(|pni| pni.keys.clone()),
            at,
            remembered_until: at.saturating_add(LINKED_LIFE),
        }
    }
}

/// What a device that passed the checks becomes.
#[derive(Clone, Copy)]
struct Place {
    id: DeviceId,
    capabilities: Capabilities,
}

/// The checks that depend on the account, in the order in which clients are told.
fn check(account: &Account, request: &LinkRequest) -> Result<Place, LinkError> {
    // Devices of an account without a number must know that there is such a thing.
    let copes = |needed| request.capabilities.is_some_and(|capabilities| capabilities.contains(needed));
    if account.number.is_none() && !copes(Capability::OptionalPhoneNumber) {
        return Err(LinkError::Downgrade);
    }
    check_keys(account, request)?;
    let id = free_id(account)?;
    let capabilities = request.capabilities.ok_or(LinkError::NoCapabilities)?;
    let downgrade = Capability::ALL.into_iter().any(|capability| {
        capability.may_not_be_lost() && account.has(capability) && !capabilities.contains(capability)
    });
    if downgrade || !capabilities.contains(Capability::Spqr) {
        return Err(LinkError::Downgrade);
    }
    Ok(Place { id, capabilities })
}

/// Every key must be signed by the identity that the account has.
fn check_keys(account: &Account, request: &LinkRequest) -> Result<(), LinkError> {
    let signed = |keys: &SignedKeys, identity: &EcPublicKey| {
        keys.signed_pre_key.verify(identity) && keys.last_resort_pre_key.verify(identity)
    };
    let pni_fits = match (&account.number, &request.pni) {
        (Some(number), Some(pni)) => signed(&pni.keys, &number.identity_key),
        (None, None) => true,
        _ => false,
    };
    if pni_fits && account.identity_key.as_ref().is_some_and(|key| signed(&request.aci_keys, key)) {
        Ok(())
    } else {
        Err(LinkError::WrongKeys)
    }
}

/// The lowest id that no device of the account has, if there is room for another device.
fn free_id(account: &Account) -> Result<DeviceId, DeviceLimitReached> {
    let current = account.devices.len();
    let mut ids = (1..=u32::from(DeviceId::MAX)).filter_map(|id| DeviceId::try_from(id).ok());
    ids.find(|id| !id.is_primary() && account.device(*id).is_none())
        .filter(|_| current < DEVICES_MAX)
        .ok_or(DeviceLimitReached { current })
}

/// What kind of device it is: the way it is woken tells.
fn agent(request: &LinkRequest) -> Agent {
    Agent::new(match request.push_token.as_ref().map(PushToken::service) {
        Some(PushService::Apns) => "OWP",
        Some(PushService::Fcm) => "OWA",
        Some(PushService::WebPush) | None => "OWD",
    })
}

impl fmt::Debug for LinkingService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkingService").finish_non_exhaustive()
    }
}
