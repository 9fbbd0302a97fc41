//! What the operator asks of clients.

use std::time::Duration;

/// What is asked of clients, and how often they get a code. The operator's choice.
#[derive(Clone, Debug)]
pub struct VerificationPolicy {
    /// Whether a captcha is asked for on creation.
    pub ask_for_captcha: bool,
    /// Whether a code may be requested before what was asked for is given. Together with asking for a
    /// captcha this serves all clients: Signal's desktop app cannot do without being asked, other clients
    /// do not answer.
    pub captcha_is_optional: bool,
    /// Wait after the first code, the second and so on, for each transport. One more code is sent than
    /// there are waits, then the session gives no more.
    pub resend_after: Vec<Duration>,
}

impl Default for VerificationPolicy {
    fn default() -> Self {
        let resend_after = [30, 60, 120, 300].map(Duration::from_secs).to_vec();
        Self { ask_for_captcha: true, captcha_is_optional: true, resend_after }
    }
}
