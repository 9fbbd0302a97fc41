//! Codes: sending them, and judging what is handed in.

use limits::{LimitId, RetryAfter};
use protocol::PhoneNumber;

use super::{SessionError, VerificationService, read_id};
use crate::{
    admission::NumberStep,
    audit::{Action, Detail, Party},
    verification::{
        Code, CodeMessage, CodeVerdict, NotDelivered, SendCodeError, Session, SessionId, SessionView,
        Transport,
        session::{CodeDecision, Expected, GuessDecision, Judgement},
    },
};

/// A request for a code.
#[derive(Clone, Debug)]
pub struct CodeRequest {
    /// How it shall come.
    pub transport: Transport,
    /// What the client calls itself.
    pub client: Option<String>,
    /// The value of `Accept-Language`.
    pub languages: Option<String>,
}

impl VerificationService {
    /// Sends a code, or where an invitation's is expected, sends none.
    pub async fn request_code(&self, id: &str, request: CodeRequest) -> Result<SessionView, SessionError> {
        let id = read_id(id)?;
        let transport = request.transport;
        let mut expected = Expected::Code(Code::random(&*self.0.entropy));
        let decide = |session: &mut Session, expected: &Expected, now| {
            session.request_code(transport, expected.clone(), &self.0.policy, now)
        };
        let preview = self.load(&id).await?.session;
        let mut decision = decide(&mut preview.clone(), &expected, self.0.clock.now());
        let session = if let CodeDecision::Send(_) = decision {
            // The limit of the number is asked only for requests that would otherwise be carried out, and before
            // anything is noted.
            self.limit(LimitId::VerificationCodeSend, preview.number().as_str().as_bytes(), &id, &preview)?;
            expected = self.expected(preview.number(), expected).await?;
            // The code is kept before it is sent: one that arrives is always right, whatever happens here.
            let (session, decided) = self.change(&id, |session, now| decide(session, &expected, now)).await?;
            decision = decided;
            session
        } else {
            self.change(&id, |_, _| ()).await?.0
        };
        let view = self.view(&id, &session);
        match decision {
            CodeDecision::Send(Expected::Invite) | CodeDecision::JustSent => Ok(view),
            CodeDecision::Send(expected) => {
                // A provider that draws codes itself makes nothing of ours.
                let code = match expected {
                    Expected::Code(code) => code,
                    Expected::Provider | Expected::Invite => Code::random(&*self.0.entropy),
                };
                self.send(&id, &session, code, request).await.map(|()| view)
            }
            CodeDecision::NotReady => Err(SessionError::NotReady(view)),
            CodeDecision::TooEarly(wait) => {
                Err(SessionError::RateLimited { session: view, retry_after: wait.map(RetryAfter) })
            }
        }
    }

    /// Takes a code. A wrong one is no error; the session then is not verified.
    pub async fn submit_code(&self, id: &str, code: &str) -> Result<SessionView, SessionError> {
        let id = read_id(id)?;
        let guess = Code::guess(code).ok_or(SessionError::Malformed)?;
        let session = self.load(&id).await?.session;
        let judgement = self.judge(&id, &session, &guess).await?;
        if session.would_verify(&guess, judgement, self.0.clock.now()) {
            // Whoever knew the recovery password is not necessarily who holds the number now. Before the
            // session is verified, so that a failure in between can be tried again.
            self.0.accounts.remove_recovery_password(session.number()).await?;
        }
        let (session, decision) =
            self.change(&id, |session, now| session.submit(&guess, judgement, now)).await?;
        let view = self.view(&id, &session);
        match decision {
            GuessDecision::Right => {
                let event = Action::Verify.by(session.number());
                let by = if session.invite().is_some() { Detail::Invite } else { Detail::Session };
                self.0.audit.record(event.detail(by)).await;
                Ok(view)
            }
            GuessDecision::Wrong => {
                self.0.audit.record(Action::Verify.refused(session.number()).detail(Detail::WrongCode)).await;
                Ok(view)
            }
            GuessDecision::NotReady => Err(SessionError::NotReady(view)),
            GuessDecision::TooEarly(wait) => {
                Err(SessionError::RateLimited { session: view, retry_after: Some(RetryAfter(wait)) })
            }
        }
    }

    /// What code will be right for that number: a number without an account is asked for what admits it.
    async fn expected(&self, number: &PhoneNumber, fresh: Expected) -> Result<Expected, SessionError> {
        let known = self.0.accounts.number(number).await?.account.is_some();
        let step = if known { NumberStep::Send } else { self.0.admission.number_step(number).await? };
        match step {
            NumberStep::Send if self.0.sender.checks_codes() => Ok(Expected::Provider),
            NumberStep::Send => Ok(fresh),
            NumberStep::ExpectInvite => Ok(Expected::Invite),
            NumberStep::Refuse { permanent } => {
                Err(SessionError::NotDelivered { reason: NotDelivered::ProviderRejected, permanent })
            }
        }
    }

    /// Finds out about a code that the session cannot judge by itself, if it is looked at at all.
    async fn judge(
        &self,
        id: &SessionId,
        session: &Session,
        guess: &Code,
    ) -> Result<Judgement, SessionError> {
        let number = session.number();
        let Some(expected) = session.expects(self.0.clock.now()) else { return Ok(Judgement::Own) };
        self.limit(LimitId::VerificationCodeCheck, number.as_str().as_bytes(), id, session)?;
        match expected {
            Expected::Code(_) => Ok(Judgement::Own),
            Expected::Invite => {
                let invite = self.0.admission.invite_for_number(number, guess.as_str()).await?;
                Ok(invite.map_or(Judgement::Wrong, |invite| Judgement::Right(Some(invite))))
            }
            Expected::Provider => match self.0.sender.check(number, guess).await {
                Ok(CodeVerdict::Right) => Ok(Judgement::Right(None)),
                Ok(CodeVerdict::Wrong) => Ok(Judgement::Wrong),
                Ok(CodeVerdict::Over) => Ok(Judgement::Over),
                Err(SendCodeError::RateLimited(wait)) => Err(SessionError::RateLimited {
                    session: self.view(id, session),
                    retry_after: wait.map(RetryAfter),
                }),
                Err(SendCodeError::NotDelivered { .. } | SendCodeError::TransportUnavailable) => {
                    Err(SessionError::Unchecked)
                }
            },
        }
    }

    async fn send(
        &self,
        id: &SessionId,
        session: &Session,
        code: Code,
        request: CodeRequest,
    ) -> Result<(), SessionError> {
        let CodeRequest { transport, client, languages } = request;
        let message = CodeMessage { to: session.number().clone(), transport, code, client, languages };
        let by = Party::from(session.number());
        let detail = match transport {
            Transport::Sms => Detail::Sms,
            Transport::Voice => Detail::Voice,
        };
        let Err(error) = self.0.sender.send(message).await else {
            self.0.audit.record(Action::SendCode.by(by).detail(detail)).await;
            return Ok(());
        };
        self.0.audit.record(Action::SendCode.failed(by).detail(detail)).await;
        let (session, ()) = self.change(id, |session, _| session.send_failed(transport)).await?;
        let view = self.view(id, &session);
        Err(match error {
            SendCodeError::TransportUnavailable => SessionError::TransportUnavailable(view),
            SendCodeError::NotDelivered { reason, permanent } => {
                SessionError::NotDelivered { reason, permanent }
            }
            SendCodeError::RateLimited(wait) => {
                SessionError::RateLimited { session: view, retry_after: wait.map(RetryAfter) }
            }
        })
    }
}
