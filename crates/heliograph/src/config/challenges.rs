//! What whoever sends a great deal is asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether somebody who sends a great deal must show that it is a person.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Challenges {
    /// Ask accounts whose `challenge` limit is used up for an answer before more of their messages are taken.
    /// The limit counts messages that say who sends them, to whomever; a right answer fills it again.
    pub(crate) enabled: bool,
    /// Take captchas as answers. As when numbers are proved, every captcha is accepted: this stops programs that
    /// do not know the step.
    pub(crate) captcha: bool,
    /// Who delivers push challenges, which are answers too. "none" offers none; "push" sends them as pushes, to
    /// devices that can be pushed to; "outbox" appends them to outbox.jsonl in the data folder, for development.
    pub(crate) push: PushProvider,
}

impl Default for Challenges {
    fn default() -> Self {
        Self { enabled: false, captcha: true, push: PushProvider::None }
    }
}

impl Challenges {
    /// What makes no sense.
    pub(super) fn check(self, check: &mut impl FnMut(bool, &str)) {
        let Self { enabled, captcha, push } = self;
        check(
            !enabled || captcha || push != PushProvider::None,
            "challenges: enabled, but there is no way to answer one",
        );
    }
}

/// Who delivers push challenges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PushProvider {
    /// Nobody.
    None,
    /// The push providers.
    Push,
    /// A file that the developer reads.
    Outbox,
}
