//! Sessions while they last: who calls, going on, seeing and ending them.

use protocol::ambient::StorageError;

use super::{
    Bearer, NativeService, SessionId, Tokens,
    error::{BearerError, RefreshError},
    refresh::RefreshToken,
    session::SessionInfo,
    store::{RotateOutcome, Rotation},
};
use crate::{
    audit::{Action, Detail},
    service::day_of,
};

impl NativeService {
    /// Who calls with that access token. Its session is looked up every time: what has ended is over at once.
    pub async fn bearer(&self, access_token: &str) -> Result<Bearer, BearerError> {
        let inner = &*self.0;
        let token = inner.tokens.verify(access_token).map_err(|_| BearerError::Refused)?;
        let session = inner.store.session(token.session, inner.clock.now()).await?;
        let session = session.filter(|session| session.device.address() == token.device);
        Ok(session.ok_or(BearerError::Refused)?.bearer(token.session))
    }

    /// Who calls with a session that was shown before; nothing if it has ended since.
    pub async fn still_bears(&self, bearer: &Bearer) -> Result<Option<Bearer>, StorageError> {
        let session = self.0.store.session(bearer.session, self.0.clock.now()).await?;
        Ok(session
            .filter(|session| session.device == bearer.device)
            .map(|session| session.bearer(bearer.session)))
    }

    /// Trades a refresh token in for new tokens of the same session. One that was traded in before ends the session:
    /// there is a copy of it.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, RefreshError> {
        let inner = &*self.0;
        let token = RefreshToken::from_text(refresh_token).ok_or(RefreshError::Refused)?;
        let next = token.next(&*inner.entropy);
        let at = inner.clock.now();
        let rotation = Rotation {
            family: token.family(),
            presented: token.hash(),
            next: next.hash(),
            at,
            day: day_of(at),
            expires: at.saturating_add(inner.sessions.idle),
        };
        match inner.store.rotate(rotation).await? {
            RotateOutcome::Rotated { device, session, expires } => {
                inner.audit.record(Action::RefreshToken.by(device).on(session)).await;
                Ok(inner.tokens(device, session, &next, expires)?)
            }
            RotateOutcome::Reused { device, session } => {
                // By whom nobody can say: the owner, or whoever has the copy.
                let event = Action::ReuseToken.refused(device).on(session);
                inner.audit.record(event.detail(Detail::Replayed)).await;
                inner.disconnect(device.aci, [device.device_id]);
                Err(RefreshError::Refused)
            }
            RotateOutcome::Unknown => Err(RefreshError::Refused),
        }
    }

    /// The sessions of the caller's account.
    pub async fn sessions(&self, bearer: &Bearer) -> Result<Vec<SessionInfo>, StorageError> {
        self.0.store.sessions(bearer.device.aci, self.0.clock.now()).await
    }

    /// Ends a session of the caller's account, its own or another. Answers whether there was one.
    pub async fn end_session(&self, bearer: &Bearer, id: SessionId) -> Result<bool, StorageError> {
        let aci = bearer.device.aci;
        let ended = self.0.store.end_session(aci, id).await?;
        self.0.disconnect(aci, ended);
        if ended.is_some() {
            let action = if id == bearer.session { Action::LogOut } else { Action::RevokeSession };
            self.0.audit.record(action.by(bearer.device.address()).on(id)).await;
        }
        Ok(ended.is_some())
    }

    /// Ends every session of the caller's account but its own.
    pub async fn end_other_sessions(&self, bearer: &Bearer) -> Result<(), StorageError> {
        let aci = bearer.device.aci;
        let ended = self.0.store.end_sessions(aci, Some(bearer.session)).await?;
        self.0.disconnect(aci, ended);
        let event = Action::RevokeSession.by(bearer.device.address()).detail(Detail::All);
        self.0.audit.record(event).await;
        Ok(())
    }
}
