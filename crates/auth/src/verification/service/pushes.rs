//! Push challenges, which serve in place of captchas.

use std::sync::Arc;

use limits::LimitId;
use protocol::PhoneNumber;

use super::{SessionError, VerificationService};
use crate::{
    challenge::{PushChallenge, PushChallengeMessage, PushChallengeTo, PushChallenges},
    device::PushToken,
    verification::{Session, SessionId, SessionView},
};

/// A challenge, and whom it is sent through.
pub(super) struct Pushable {
    sender: Arc<dyn PushChallenges>,
    token: PushToken,
    pub(super) challenge: PushChallenge,
}

impl VerificationService {
    /// A fresh challenge for that token, if it can be pushed to.
    pub(super) fn pushable(&self, token: PushToken) -> Option<Pushable> {
        let sender = self.0.push.as_ref().filter(|push| push.reaches(token.service()))?;
        let challenge = PushChallenge::random(&*self.0.entropy);
        Some(Pushable { sender: Arc::clone(sender), token, challenge })
    }

    /// Sends a challenge in a session that is open already. The limit of answers bounds these too.
    pub(super) async fn push_anew(
        &self,
        id: &SessionId,
        session: Session,
        push: Pushable,
    ) -> Result<SessionView, SessionError> {
        self.limit(LimitId::VerificationPushChallenge, id.as_bytes(), id, &session)?;
        let challenge = &push.challenge;
        let (session, wanted) =
            self.change(id, |session, _| session.push_challenge(challenge.clone())).await?;
        let view = self.view(id, &session);
        if !wanted {
            return Ok(view);
        }
        Ok(self.push(id, session.number().clone(), push).await?.unwrap_or(view))
    }

    /// Sends a challenge that is noted already; should that fail, the session is as without. Answers how it is
    /// then.
    pub(super) async fn push(
        &self,
        id: &SessionId,
        number: PhoneNumber,
        Pushable { sender, token, challenge }: Pushable,
    ) -> Result<Option<SessionView>, SessionError> {
        let to = PushChallengeTo::Newcomer(number);
        let Err(error) = sender.send(PushChallengeMessage { to, token, challenge }).await else {
            return Ok(None);
        };
        tracing::warn!(error = &error as &dyn std::error::Error, "a push challenge was not sent");
        let (session, ()) = self.change(id, |session, _| session.push_failed()).await?;
        Ok(Some(self.view(id, &session)))
    }
}
