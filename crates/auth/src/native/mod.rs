//! Accounts of people who log in with a name and a password, and what their apps call with afterwards.
//!
//! Underneath they are accounts like any other: an ACI and devices. What they have besides is a login
//! ([`username`], [`password`], [`hashing`]), and for each device that is logged in a session ([`session`]): short-lived
//! access tokens ([`access`]) show it, and refresh tokens ([`refresh`]) keep it up. A device can let another one in without
//! the password ([`linking`]). Guessing is slowed down by the guard. Second factors and passkeys are in [`factors`]. An
//! e-mail address ([`email`]) lets somebody in again who has forgotten the password. What must be remembered is declared in
//! [`store`] and beside what needs it.

pub mod access;
pub mod devices;
pub mod email;
pub mod error;
pub mod factors;
pub mod hashing;
pub mod linking;
pub mod operator;
pub mod password;
pub mod refresh;
pub mod session;
pub mod store;
pub mod username;

mod device;
mod guard;
mod keys;
mod login;
mod register;
mod sessions;

use std::{fmt, sync::Arc};

use limits::RateLimits;
use protocol::{
    DeviceAddress, DeviceId, RegistrationId,
    ambient::{Clock, Entropy, StorageError, Timestamp},
};
use uuid::Uuid;
use zeroize::Zeroizing;

pub use access::{AccessTokenConfig, AccessTokens};
pub use device::{DeviceClaim, DeviceIdentifier, DeviceLabel};
pub use email::{EmailStore, Letters};
pub use guard::Origin;
pub use hashing::{HashCost, HashingConfig, PasswordHasher};
pub use login::LoginRequest;
pub use password::{LoginPassword, PasswordPolicy};
pub use register::RegisterRequest;
pub use session::{Bearer, LoggedIn, SessionConfig, SessionId, Tokens};
pub use store::NativeStore;
pub use username::Username;

use crate::{
    admission::Admission,
    audit::{AuditTrail, Party},
    capabilities::Capabilities,
    device::{Agent, Credential, Device},
    revocation::Revocations,
    second_factor::SecondFactors,
    service::{Authenticated, day_of},
    waiters::Waiters,
};

use devices::NativeDeviceStore;
use factors::{FRESH_LIFE, FreshProofs, HalfwayLogins, SECOND_STEP_LIFE};
use guard::Guard;
use linking::store::NativeLinkStore;
use refresh::RefreshToken;
use session::NewSession;
use store::NewNativeDevice;

/// What the software of native devices is called, where that is asked for.
const AGENT: &str = "native";

/// What a [`NativeService`] is made of.
pub struct NativeParts {
    /// Remembers logins and sessions.
    pub store: Arc<dyn NativeStore>,
    /// Remembers e-mail addresses.
    pub emails: Arc<dyn EmailStore>,
    /// Writes to people, if mail is sent here.
    pub letters: Option<Letters>,
    /// Remembers what devices are called.
    pub devices: Arc<dyn NativeDeviceStore>,
    /// Remembers codes by which devices are let in.
    pub links: Arc<dyn NativeLinkStore>,
    /// Decides who may have an account.
    pub admission: Admission,
    /// Told of devices that are logged out.
    pub revocations: Revocations,
    /// Told of what happens.
    pub audit: Arc<dyn AuditTrail>,
    /// Hashes passwords.
    pub hasher: PasswordHasher,
    /// Which passwords are taken.
    pub policy: PasswordPolicy,
    /// Issues access tokens.
    pub tokens: Arc<AccessTokens>,
    /// How long sessions last.
    pub sessions: SessionConfig,
    /// What accounts ask for besides their password.
    pub second_factors: Arc<SecondFactors>,
    /// How often somebody may do what.
    pub limits: Arc<RateLimits>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws identities, salts and tokens.
    pub entropy: Arc<dyn Entropy>,
}

/// Registers native accounts, logs them in, and knows their sessions. Cheap to clone.
#[derive(Clone)]
pub struct NativeService(Arc<Inner>);

struct Inner {
    store: Arc<dyn NativeStore>,
    emails: Arc<dyn EmailStore>,
    letters: Option<Letters>,
    devices: Arc<dyn NativeDeviceStore>,
    links: Arc<dyn NativeLinkStore>,
    /// Those who wait for the device that the code of their session lets in.
    link_waiters: Waiters<SessionId>,
    admission: Admission,
    revocations: Revocations,
    audit: Arc<dyn AuditTrail>,
    hasher: PasswordHasher,
    policy: PasswordPolicy,
    tokens: Arc<AccessTokens>,
    sessions: SessionConfig,
    limits: Arc<RateLimits>,
    guard: Guard,
    second_factors: Arc<SecondFactors>,
    halfway: HalfwayLogins,
    fresh_proofs: FreshProofs,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl NativeService {
    /// A service of those parts.
    pub fn new(parts: NativeParts) -> Self {
        let guard = Guard::new(Arc::clone(&parts.limits), Arc::clone(&parts.clock));
        Self(Arc::new(Inner {
            store: parts.store,
            emails: parts.emails,
            letters: parts.letters,
            devices: parts.devices,
            links: parts.links,
            link_waiters: Waiters::default(),
            admission: parts.admission,
            revocations: parts.revocations,
            audit: parts.audit,
            hasher: parts.hasher,
            policy: parts.policy,
            tokens: parts.tokens,
            sessions: parts.sessions,
            limits: parts.limits,
            guard,
            second_factors: parts.second_factors,
            halfway: HalfwayLogins::new(SECOND_STEP_LIFE),
            fresh_proofs: FreshProofs::new(FRESH_LIFE),
            clock: parts.clock,
            entropy: parts.entropy,
        }))
    }

    /// What issues the access tokens.
    pub fn access_tokens(&self) -> &AccessTokens {
        &self.0.tokens
    }

    /// Removes sessions and mailed codes that are over.
    pub async fn remove_expired(&self) -> Result<usize, StorageError> {
        let now = self.0.clock.now();
        let sessions = self.0.store.remove_expired_sessions(now).await?;
        Ok(sessions + self.0.emails.remove_expired_codes(now).await?)
    }
}

impl From<SessionId> for Party {
    fn from(id: SessionId) -> Self {
        Self::Session(Uuid::from_bytes(*id.as_bytes()))
    }
}

impl From<&Username> for Party {
    fn from(username: &Username) -> Self {
        Self::Name(username.as_str().to_owned())
    }
}

impl Inner {
    /// A session that begins now, and its first refresh token.
    fn new_session(&self) -> (NewSession, RefreshToken) {
        let token = RefreshToken::first(&*self.entropy);
        let at = self.clock.now();
        let ends = at.saturating_add(self.sessions.longest);
        let session = NewSession {
            id: SessionId::random(&*self.entropy),
            family: token.family(),
            token: token.hash(),
            at,
            expires: at.saturating_add(self.sessions.idle).min(ends),
            ends,
        };
        (session, token)
    }

    /// A native device as it begins. It calls with access tokens: no password of Signal's kind is right for it.
    fn new_device(&self, claim: DeviceClaim) -> NewNativeDevice {
        let DeviceClaim { identifier, label, registration_id } = claim;
        let now = self.clock.now();
        let device = Device {
            id: DeviceId::PRIMARY,
            credential: Credential::unusable(&*self.entropy),
            registration_id: registration_id.unwrap_or_else(|| self.draw_registration_id()),
            pni_registration_id: None,
            name: None,
            fetches_messages: true,
            push_token: None,
            capabilities: Capabilities::default(),
            agent: Some(Agent::new(AGENT)),
            created: now,
            last_seen: day_of(now),
        };
        NewNativeDevice { device, identifier, label }
    }

    fn draw_registration_id(&self) -> RegistrationId {
        loop {
            let drawn = u32::from(u16::from_be_bytes(self.entropy.bytes()) & 0x3FFF);
            if let Ok(id) = RegistrationId::try_from(drawn) {
                return id;
            }
        }
    }

    /// What a session goes on with.
    fn tokens(
        &self,
        device: DeviceAddress,
        session: SessionId,
        refresh: &RefreshToken,
        expires: Timestamp,
    ) -> Result<Tokens, StorageError> {
        let access = self.tokens.issue(device, session).map_err(StorageError::unavailable)?;
        Ok(Tokens {
            access: Zeroizing::new(access),
            access_lifetime: self.tokens.lifetime(),
            refresh: refresh.to_text(),
            refresh_lifetime: expires.saturating_since(self.clock.now()),
        })
    }

    /// A session of that device has been opened at that moment. A former one of it has ended; what waited for a former
    /// device of its id is not for a new one.
    async fn session_opened(&self, device: Authenticated, joined: bool, at: Timestamp) {
        if joined {
            self.revocations.device_id_given(device.address(), at).await;
        } else {
            self.disconnect(device.aci, [device.device_id]);
        }
    }

    /// These devices are logged out: nothing of them stays open.
    fn disconnect(&self, aci: protocol::Aci, devices: impl IntoIterator<Item = DeviceId>) {
        for device_id in devices {
            self.revocations.session_ended(DeviceAddress { aci, device_id });
        }
    }
}

impl fmt::Debug for NativeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeService").finish_non_exhaustive()
    }
}
