//! How a native account comes to be.

use protocol::{Aci, DeviceId};

use super::{
    DeviceClaim, LoggedIn, LoginPassword, NativeService, Origin, Username,
    email::{Letter, Newcomer},
    error::RegisterError,
    password::PasswordRefused,
    store::{NewNativeAccount, RegisterNativeOutcome},
};
use crate::{
    admission::{
        AdmissionError, Admitted,
        invite::{InviteCode, InviteId},
    },
    audit::{Action, Detail, Party},
    service::Authenticated,
    store::IdentityKeys,
};

/// An account as a client asks for it.
pub struct RegisterRequest {
    /// The name, as it was typed.
    pub username: String,
    /// The password, as it was typed.
    pub password: zeroize::Zeroizing<String>,
    /// The first device.
    pub device: DeviceClaim,
    /// The keys it begins with, if it has any yet.
    pub keys: Option<IdentityKeys>,
    /// The code of an invitation.
    pub invite: Option<InviteCode>,
    /// The e-mail address it is to have.
    pub email: Option<Newcomer>,
}

impl NativeService {
    /// Creates an account and logs its first device in. Login, device and profile are written together.
    pub async fn register(
        &self,
        request: RegisterRequest,
        origin: Origin,
    ) -> Result<LoggedIn, RegisterError> {
        let inner = &*self.0;
        let username = Username::new(&request.username).map_err(|_| RegisterError::InvalidUsername)?;
        let password = LoginPassword::new(&request.password).map_err(|_| PasswordRefused::NotAPassword)?;
        inner.policy.check(&password, &username)?;
        if request.keys.as_ref().is_some_and(|keys| !keys.are_signed()) {
            return Err(RegisterError::WrongSignature);
        }
        inner.audit.ready()?;
        inner.guard.registration(origin).map_err(RegisterError::RateLimited)?;
        let arrival = match request.email {
            Some(newcomer) => Some(self.receive(newcomer).await?),
            None => None,
        };
        let proved = arrival.as_ref().and_then(|arrival| arrival.email.proved());
        // Before the password is hashed, which costs much more than saying no.
        let admitted = inner.admission.admit_name(username.as_str(), proved, request.invite.as_ref()).await?;
        if let Some(letter) = arrival.as_ref().and_then(|arrival| arrival.to_send.as_ref()) {
            inner.guard.letter(&letter.address).map_err(RegisterError::RateLimited)?;
        }
        let (email, to_send) = arrival.map(|arrival| (arrival.email, arrival.to_send)).unzip();
        let password = inner.hasher.hash(password).await?;
        let device = inner.new_device(request.device);
        let registration_id = device.device.registration_id;
        let (session, refresh) = inner.new_session();
        let (id, expires) = (session.id, session.expires);
        let aci = Aci(inner.entropy.uuid());
        let keys = request.keys;
        let new = NewNativeAccount { aci, username, password, keys, device, session, admitted, email };
        match inner.store.register(new).await? {
            RegisterNativeOutcome::UsernameTaken => Err(RegisterError::UsernameTaken),
            RegisterNativeOutcome::NotAdmitted => Err(RegisterError::NotAdmitted(AdmissionError::NoInvite)),
            RegisterNativeOutcome::NotProved => Err(RegisterError::WrongCode),
            RegisterNativeOutcome::Registered => {
                let device = Authenticated { aci, device_id: DeviceId::PRIMARY, pni: None };
                inner.audit.record(Action::Register.by(aci).detail(Detail::NativeApi)).await;
                if let Admitted::ByInvite(InviteId(invite)) = admitted {
                    inner.audit.record(Action::UseInvite.by(aci).on(Party::Invite(invite))).await;
                }
                if let Some(Letter { errand, address, code }) = to_send.flatten() {
                    self.send_confirmation(errand, aci, address, code);
                }
                let tokens = inner.tokens(device.address(), id, &refresh, expires)?;
                Ok(LoggedIn { device, registration_id, session: id, tokens })
            }
        }
    }
}
