//! A session as its client sees it.

use std::time::Duration;

use protocol::ambient::Timestamp;
use serde::Serialize;

use super::{Session, SessionId, VerificationPolicy, sends::Sends};

/// Information that a client may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RequestedInformation {
    /// What was pushed to the phone.
    PushChallenge,
    /// The answer to a captcha.
    Captcha,
}

/// A session as its client sees it. JSON carries all seven fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// The session's id as text.
    pub id: String,
    /// Seconds until a text message may be requested; none when it cannot be.
    pub next_sms: Option<u64>,
    /// Seconds until a call may be requested; none when it cannot be.
    pub next_call: Option<u64>,
    /// Seconds until a code may be handed in; none when there is no code.
    pub next_verification_attempt: Option<u64>,
    /// Whether a code may be requested.
    pub allowed_to_request_code: bool,
    /// What the client is asked for.
    pub requested_information: Vec<RequestedInformation>,
    /// Whether the number is proved.
    pub verified: bool,
}

impl Session {
    pub(in crate::verification) fn view(
        &self,
        id: &SessionId,
        policy: &VerificationPolicy,
        now: Timestamp,
    ) -> SessionView {
        let may_request = self.may_request(policy);
        let next = |sends: &Sends| {
            sends.wait(policy, now).filter(|_| may_request && !self.verified).map(whole_seconds)
        };
        let next_guess = self.code.as_ref().map(|issued| issued.next_guess.saturating_since(now));
        SessionView {
            id: id.to_text(),
            next_sms: next(&self.sms),
            next_call: next(&self.voice),
            next_verification_attempt: next_guess.map(whole_seconds),
            allowed_to_request_code: may_request,
            requested_information: self.requested_information(),
            verified: self.verified,
        }
    }

    fn requested_information(&self) -> Vec<RequestedInformation> {
        let push = self.pushed.as_ref().map(|_| RequestedInformation::PushChallenge);
        let captcha = self.captcha_outstanding.then_some(RequestedInformation::Captcha);
        push.into_iter().chain(captcha).collect()
    }
}

/// Rounded up: whoever waits that long is not too early.
fn whole_seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}
