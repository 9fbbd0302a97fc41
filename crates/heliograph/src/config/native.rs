//! Logging in with a name and a password.

use std::time::Duration;

use auth::native::{AccessTokenConfig, HashCost, HashingConfig, PasswordPolicy, SessionConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DAY;

/// Most words of the deployment's own: each is compared with every new password.
const WORDS_MAX: usize = 1000;

const MINUTE: Duration = Duration::from_mins(1);

/// Passwords of the native API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Passwords {
    /// Fewest characters of a new password; at least 8.
    pub(crate) length_min: usize,
    /// Most characters of a new password, 64 to 1024. Longer ones are refused, never cut.
    pub(crate) length_max: usize,
    /// Words that no password may be, also not with digits and signs around them, such as the name of your organisation:
    /// `["acme", "acmecorp"]`.
    pub(crate) words: Vec<String>,
    /// Memory that hashing a password takes (Argon2id), in KiB; at least 19456. Raising the cost takes effect for each
    /// person when they next log in.
    pub(crate) hash_memory_kib: u32,
    /// Passes over that memory; at least 2.
    pub(crate) hash_passes: u32,
    /// Lanes; at least 1.
    pub(crate) hash_lanes: u32,
    /// Passwords hashed at once. More make logging in faster when many do, and leave less to everything else.
    pub(crate) hash_workers: usize,
    /// Passwords that wait to be hashed. Beyond it people are asked to try again in a moment.
    pub(crate) hash_waiting_max: usize,
}

/// Access tokens of the native API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AccessTokens {
    /// Who issues them (iss). Empty: `public_url`, or "heliograph" if that is empty too.
    pub(crate) issuer: String,
    /// Whom they are for (aud).
    pub(crate) audience: String,
    /// Minutes a token is good for, 1 to 60. Sessions end at once all the same: shorter only helps others who check
    /// tokens by themselves.
    pub(crate) lifetime_minutes: u32,
    /// Days after which the running server makes a new key to sign with. 0: only `heliograph keys rotate access-token`
    /// does.
    pub(crate) rotate_days: u32,
}

/// How long people stay logged in to the native API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sessions {
    /// Days after which a session is over in which its refresh token was not used.
    pub(crate) idle_days: u32,
    /// Days after which a session is over in any case.
    pub(crate) longest_days: u32,
}

impl Default for Passwords {
    fn default() -> Self {
        let PasswordPolicy { length_min, length_max, words } = PasswordPolicy::default();
        let HashingConfig { cost: HashCost { memory_kib, passes, lanes }, workers, waiting_max } =
            HashingConfig::default();
        Self {
            length_min,
            length_max,
            words,
            hash_memory_kib: memory_kib,
            hash_passes: passes,
            hash_lanes: lanes,
            hash_workers: workers,
            hash_waiting_max: waiting_max,
        }
    }
}

impl Default for AccessTokens {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: "heliograph".to_owned(),
            lifetime_minutes: 15,
            rotate_days: 90,
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self { idle_days: 30, longest_days: 365 }
    }
}

impl Passwords {
    /// Which passwords are taken.
    pub(crate) fn to_policy(&self) -> PasswordPolicy {
        PasswordPolicy {
            length_min: self.length_min,
            length_max: self.length_max,
            words: self.words.iter().map(|word| word.to_lowercase()).collect(),
        }
    }

    /// How they are hashed.
    pub(crate) fn to_hashing(&self) -> HashingConfig {
        HashingConfig {
            cost: HashCost {
                memory_kib: self.hash_memory_kib,
                passes: self.hash_passes,
                lanes: self.hash_lanes,
            },
            workers: self.hash_workers,
            waiting_max: self.hash_waiting_max,
        }
    }

    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        let (floor, ceiling) = (PasswordPolicy::LENGTH_MAX_FLOOR, PasswordPolicy::LENGTH_MAX_CEILING);
        check(
            (PasswordPolicy::LENGTH_MIN_FLOOR..=floor).contains(&self.length_min),
            "passwords.length_min: must be from 8 to 64",
        );
        check((floor..=ceiling).contains(&self.length_max), "passwords.length_max: must be from 64 to 1024");
        let is_word = |word: &String| {
            word.chars().next().is_some_and(char::is_alphabetic)
                && word.chars().last().is_some_and(char::is_alphabetic)
        };
        check(
            self.words.len() <= WORDS_MAX && self.words.iter().all(is_word),
            "passwords.words: at most 1000, each beginning and ending with a letter",
        );
        check(
            self.to_hashing().cost.is_acceptable(),
            "passwords.hash_memory_kib, hash_passes, hash_lanes: must be from 19456, 2 and 1 to 1048576, 64 and 16",
        );
        check((1..=64).contains(&self.hash_workers), "passwords.hash_workers: must be from 1 to 64");
        check(
            (1..=4096).contains(&self.hash_waiting_max),
            "passwords.hash_waiting_max: must be from 1 to 4096",
        );
    }
}

impl AccessTokens {
    /// As they are issued by a server of that public address.
    pub(crate) fn to_tokens(&self, public_url: &str) -> AccessTokenConfig {
        let issuer =
            [self.issuer.as_str(), public_url, "heliograph"].into_iter().find(|text| !text.is_empty());
        AccessTokenConfig {
            issuer: issuer.unwrap_or_default().to_owned(),
            audience: self.audience.clone(),
            lifetime: MINUTE.saturating_mul(self.lifetime_minutes),
        }
    }

    /// How old a key becomes, if the server makes new ones by itself.
    pub(crate) fn key_age(&self) -> Option<Duration> {
        (self.rotate_days > 0).then(|| DAY.saturating_mul(self.rotate_days))
    }

    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        check(
            (1..=60).contains(&self.lifetime_minutes),
            "access_tokens.lifetime_minutes: must be from 1 to 60",
        );
        check(
            !self.audience.is_empty() && self.audience.len() <= 255,
            "access_tokens.audience: must have 1 to 255 characters",
        );
        check(self.issuer.len() <= 255, "access_tokens.issuer: must have at most 255 characters");
    }
}

impl Sessions {
    /// As the service takes it.
    pub(crate) fn to_sessions(&self) -> SessionConfig {
        SessionConfig {
            idle: DAY.saturating_mul(self.idle_days),
            longest: DAY.saturating_mul(self.longest_days),
        }
    }

    pub(super) fn check(&self, check: &mut impl FnMut(bool, &str)) {
        check((1..=366).contains(&self.idle_days), "sessions.idle_days: must be from 1 to 366");
        check(
            (self.idle_days..=3660).contains(&self.longest_days),
            "sessions.longest_days: must be from idle_days to 3660",
        );
    }
}
