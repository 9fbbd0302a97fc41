//! A device that is logged in lets another one in, which never sees the password: it shows a code, as a QR code, and the
//! other trades it in for a session of its own.
//!
//! A session has one code at a time, good once and for minutes. It goes with the session, and a change of the password
//! voids it.

pub mod store;

use std::{fmt, time::Duration};

use limits::LimitId;
use protocol::{
    DeviceId,
    ambient::{StorageError, Timestamp},
};

use super::{
    Bearer, DeviceClaim, LoggedIn, NativeService, Origin,
    error::{LinkError, OfferError},
};
use crate::{
    audit::{Action, Detail, Party},
    linking::{CODE_LIFE, DEVICES_MAX, LINKED_LIFE, LinkCode},
    store::IdentityKeys,
};
use store::{CodeOffer, CodeState, RedeemOutcome, Redemption};

/// A code to be shown to another device.
#[derive(Clone, Debug)]
pub struct OfferedCode {
    /// The code, a secret.
    pub code: LinkCode,
    /// For how long it is good.
    pub lifetime: Duration,
}

/// What the owner of a code is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeProgress {
    /// Nobody has shown it yet.
    Open {
        /// For so long it is good.
        lifetime: Duration,
    },
    /// It has let that device in.
    Used(DeviceId),
}

/// A device that wants to be let in.
pub struct LinkRequest {
    /// The code it shows.
    pub code: LinkCode,
    /// The device. One that the account does not know yet joins it.
    pub device: DeviceClaim,
    /// The keys it begins with, if it brings any.
    pub keys: Option<IdentityKeys>,
}

impl NativeService {
    /// Makes a code by which one device can join the caller's account within [`CODE_LIFE`], in place of the one that the
    /// caller's session may have.
    pub async fn offer_code(&self, bearer: &Bearer) -> Result<OfferedCode, OfferError> {
        let inner = &*self.0;
        inner.audit.ready()?;
        let account = bearer.device.aci.0;
        inner
            .limits
            .check(LimitId::AllocateDevice, account.as_bytes(), 1)
            .map_err(OfferError::RateLimited)?;
        let (code, at) = (LinkCode::random(&*inner.entropy), inner.clock.now());
        let expires = at.saturating_add(CODE_LIFE);
        let offer = CodeOffer { code: code.id(), session: bearer.session, at, expires };
        if !inner.links.offer_code(offer).await? {
            return Err(OfferError::Gone);
        }
        // Whoever waits for the former one is told that it is another.
        inner.link_waiters.tell(&bearer.session);
        inner.audit.record(Action::OfferLinkCode.by(bearer.device.address()).on(bearer.session)).await;
        Ok(OfferedCode { code, lifetime: CODE_LIFE })
    }

    /// What has become of the code of the caller's session, once somebody has used it or the patience is at its end;
    /// nothing if it has none that is good. One request of a session waits at a time.
    pub async fn await_linked(
        &self,
        bearer: &Bearer,
        patience: Duration,
    ) -> Result<Option<CodeProgress>, OfferError> {
        let inner = &*self.0;
        let account = bearer.device.aci.0;
        inner
            .limits
            .check(LimitId::WaitForLinkedDevice, account.as_bytes(), 1)
            .map_err(OfferError::RateLimited)?;
        let look = async || inner.links.offered_code(bearer.session, inner.clock.now()).await;
        let settled = inner.link_waiters.wait(bearer.session, patience, async || {
            let state = look().await?;
            Ok::<_, StorageError>((!matches!(state, Some(CodeState::Open { .. }))).then_some(state))
        });
        let state = match settled.await? {
            Some(state) => state,
            None => look().await?,
        };
        Ok(state.map(|state| CodeProgress::of(state, inner.clock.now())))
    }

    /// Voids the code of the caller's session.
    pub async fn withdraw_code(&self, bearer: &Bearer) -> Result<(), StorageError> {
        self.0.links.withdraw_code(bearer.session).await?;
        self.0.link_waiters.tell(&bearer.session);
        Ok(())
    }

    /// Lets a device in that shows a good code, and logs it in. From this answer on, whoever sends to the account must
    /// address the device, once it has published keys where others have.
    pub async fn link(&self, request: LinkRequest, origin: Origin) -> Result<LoggedIn, LinkError> {
        let inner = &*self.0;
        inner.audit.ready()?;
        inner.limits.check(LimitId::LinkAddress, &origin.0, 1).map_err(LinkError::RateLimited)?;
        if request.keys.as_ref().is_some_and(|keys| !keys.are_signed()) {
            return Err(LinkError::WrongSignature);
        }
        let (session, refresh) = inner.new_session();
        let (id, at, expires) = (session.id, session.at, session.expires);
        let redemption = Redemption {
            code: request.code.id(),
            device: inner.new_device(request.device),
            keys: request.keys,
            session,
            remembered_until: at.saturating_add(LINKED_LIFE),
            devices_max: DEVICES_MAX,
        };
        match inner.links.redeem_code(redemption).await? {
            RedeemOutcome::Redeemed { device, registration_id, joined, offered_by } => {
                inner.session_opened(device, joined, at).await;
                inner.link_waiters.tell(&offered_by);
                let event = Action::LinkDevice.by(device.address()).on(id).detail(Detail::NativeApi);
                inner.audit.record(event).await;
                let tokens = inner.tokens(device.address(), id, &refresh, expires)?;
                Ok(LoggedIn { device, registration_id, session: id, tokens })
            }
            RedeemOutcome::NoSuchCode => {
                let event = Action::LinkDevice.refused(Party::Stranger).detail(Detail::WrongCode);
                inner.audit.record(event).await;
                Err(LinkError::WrongCode)
            }
            RedeemOutcome::TooManyDevices => Err(LinkError::TooManyDevices),
            RedeemOutcome::OtherIdentity => Err(LinkError::OtherIdentity),
        }
    }
}

impl CodeProgress {
    fn of(state: CodeState, now: Timestamp) -> Self {
        match state {
            CodeState::Open { expires } => Self::Open { lifetime: expires.saturating_since(now) },
            CodeState::Used(device) => Self::Used(device),
        }
    }
}

impl fmt::Debug for LinkRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkRequest").finish_non_exhaustive()
    }
}
