//! What is written to people, and having it delivered.

use std::{fmt, time::Duration};

use protocol::ambient::Timestamp;

use super::code::MailCode;
use crate::{
    mail::{MailAddress, MailMessage, Post, Slot},
    native::Username,
};

/// How long a notice is of use: what it tells stays true.
const NOTICE_LIFE: Duration = Duration::from_hours(1);

/// What stands for the code in a [`Link`].
const PLACEHOLDER: &str = "{code}";

/// Where a code is handed in: an address in which `{code}`, if it is there, stands for the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link(String);

impl Link {
    /// The link of that template.
    pub fn new(template: String) -> Self {
        Self(template)
    }

    fn with(&self, code: &str) -> String {
        self.0.replace(PLACEHOLDER, code)
    }
}

/// How letters are written.
#[derive(Clone, Debug)]
pub struct LetterSettings {
    /// What the server is called.
    pub server: String,
    /// Where a code for another password is handed in.
    pub reset: Option<Link>,
    /// Where a code for an address is handed in.
    pub confirm: Option<Link>,
}

/// Writes to people.
#[derive(Clone)]
pub struct Letters {
    post: Post,
    settings: LetterSettings,
}

impl Letters {
    /// Letters that go by that post.
    pub fn new(post: Post, settings: LetterSettings) -> Self {
        Self { post, settings }
    }

    /// Room for one letter; nothing while too many are waiting.
    pub(crate) fn reserve(&self) -> Option<Slot> {
        self.post.reserve()
    }

    /// Has a notice delivered in the background. It is not sent while too many are waiting.
    pub(crate) fn notify(&self, message: MailMessage, now: Timestamp) {
        if let Some(slot) = self.post.reserve() {
            tokio::spawn(slot.deliver(message, now.saturating_add(NOTICE_LIFE)));
        } else {
            tracing::error!("a notice was not sent: too many messages are waiting");
        }
    }

    /// The code by which an account makes an address its own.
    ///
    /// Whoever it goes to may never have heard of the server: nothing is in it that somebody else chose.
    pub(crate) fn confirm(&self, to: MailAddress, code: &MailCode) -> MailMessage {
        let about = "Somebody, hopefully you, wants to add this e-mail address to an account";
        self.with_code(
            to,
            "Confirm your e-mail address",
            about,
            code,
            self.settings.confirm.as_ref(),
            "one hour",
        )
    }

    /// The code by which somebody without an account proves an address.
    pub(crate) fn register(&self, to: MailAddress, code: &MailCode) -> MailMessage {
        let about = "Somebody, hopefully you, wants to register an account with this e-mail address";
        self.with_code(to, "Your code for registering", about, code, None, "one hour")
    }

    /// The code by which another password is set.
    pub(crate) fn reset(&self, to: MailAddress, username: &Username, code: &MailCode) -> MailMessage {
        let about = format!(
            "Somebody, hopefully you, asked for a new password for the account {}",
            username.as_str()
        );
        self.with_code(to, "Your new password", &about, code, self.settings.reset.as_ref(), "30 minutes")
    }

    /// That an address was asked for which an account has already.
    pub(crate) fn already_yours(&self, to: MailAddress) -> MailMessage {
        let about = "Somebody wants to use this e-mail address for an account";
        let rest = "It belongs to an account already, and nothing has changed.\n\nIf that was you: you can log in to the \
                    account that has it, or ask for a new password.";
        self.notice(to, "Your e-mail address is in use", about, rest)
    }

    /// That a password was set by a code.
    pub(crate) fn was_reset(&self, to: MailAddress, username: &Username) -> MailMessage {
        let about = format!("The password of the account {} was reset", username.as_str());
        let rest = "Every device was logged out.\n\nIf that was not you, somebody can read your mail: secure your \
                    mailbox, then ask for a new password.";
        self.notice(to, "Your password was reset", &about, rest)
    }

    /// That an address is no longer that of an account.
    pub(crate) fn no_longer_yours(&self, to: MailAddress) -> MailMessage {
        let about = "This e-mail address was taken away from your account";
        let rest = "It no longer serves to reset its password.\n\nIf that was not you, log in, change your password and set \
                    the address again, or turn to whoever runs the server.";
        self.notice(to, "Your e-mail address was removed", about, rest)
    }

    fn with_code(
        &self,
        to: MailAddress,
        subject: &str,
        about: &str,
        code: &MailCode,
        link: Option<&Link>,
        life: &str,
    ) -> MailMessage {
        let code = code.to_text();
        let place = match link {
            Some(link) => format!("Hand it in here:\n\n    {}", link.with(&code)),
            None => "Hand it in where you were asked for it.".to_owned(),
        };
        let rest = format!(
            "The code for that is\n\n    {code}\n\n{place}\n\nIt is good once, within {life}. If that was not you, \
             there is nothing to do: without the code nothing happens."
        );
        self.notice(to, subject, about, &rest)
    }

    fn notice(&self, to: MailAddress, subject: &str, about: &str, rest: &str) -> MailMessage {
        let server = &self.settings.server;
        MailMessage {
            to,
            subject: format!("{subject} ({server})"),
            text: format!("Hello,\n\n{about} at {server}.\n\n{rest}\n"),
        }
    }
}

impl fmt::Debug for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letters").finish_non_exhaustive()
    }
}
