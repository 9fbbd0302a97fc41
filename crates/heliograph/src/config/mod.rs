//! The configuration file: TOML, one struct and one file per section, unknown keys refused, all mistakes told together.

mod audit;
mod challenges;
mod devices;
mod gateway;
mod log;
mod mail;
mod master_key;
mod metrics;
mod native;
mod passkeys;
mod push;
mod queue;
mod rate_limit;
mod read;
mod registration;
mod sample;
mod sender_certificates;
mod tls;
mod verification;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use ::gateway::GatewayConfig;
use auth::second_factor::webauthn::RelyingParty;
use limits::{Limit, LimitId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    audit::Audit,
    challenges::{Challenges, PushProvider},
    devices::Devices,
    gateway::Gateway,
    log::{Log, LogFormat},
    mail::Mail,
    master_key::MasterKeySource,
    metrics::Metrics,
    native::{AccessTokens, Passwords, Sessions},
    passkeys::{Passkeys, public_name},
    push::{ApnsSection, FcmSection, Push, WebPushSection},
    queue::Queue,
    rate_limit::RateLimit,
    read::read,
    registration::Registration,
    sample::sample,
    sender_certificates::SenderCertificates,
    tls::Tls,
    verification::{Provider, Verification},
};

const DAY: Duration = Duration::from_hours(24);

/// Everything that can be configured.
#[expect(clippy::struct_field_names, reason = "`remote_config` is what clients call it")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Address and port to listen on. Port 0 takes a free one. The command line's --listen wins.
    pub(crate) listen: SocketAddr,
    /// Folder of the store and, unless they are elsewhere, the secrets. The command line's --data wins.
    pub(crate) data: PathBuf,
    /// The address clients are told to use, such as `https://chat.example.org`. Empty: the name and port this
    /// server listens on.
    pub(crate) public_url: String,
    /// The certificate clients see.
    pub(crate) tls: Tls,
    /// The key that protects all other keys.
    pub(crate) master_key: MasterKeySource,
    /// Who may register. A development server (--dev) lets everybody in unless this says otherwise.
    pub(crate) registration: Registration,
    /// How phone numbers are proved.
    pub(crate) verification: Verification,
    /// How mail is sent to people with native accounts: codes for e-mail addresses and forgotten passwords.
    pub(crate) mail: Mail,
    /// Passkeys, and where they may be used.
    pub(crate) passkeys: Passkeys,
    /// The server's word on who a sender is, which recipients of sealed messages check.
    pub(crate) sender_certificates: SenderCertificates,
    /// Whether somebody who sends a great deal must show that it is a person.
    pub(crate) challenges: Challenges,
    /// Passwords of the native API.
    pub(crate) passwords: Passwords,
    /// Access tokens of the native API.
    pub(crate) access_tokens: AccessTokens,
    /// How long people stay logged in to the native API.
    pub(crate) sessions: Sessions,
    /// What a client can make the server hold.
    pub(crate) gateway: Gateway,
    /// How messages are stored.
    pub(crate) queue: Queue,
    /// What becomes of devices that are not used.
    pub(crate) devices: Devices,
    /// How devices that are away are woken, whoever delivers it.
    pub(crate) push: Push,
    /// Web Push, which `UnifiedPush` speaks too: pushes by any push server that a device subscribes at.
    pub(crate) web_push: WebPushSection,
    /// Apple's push service, for apps of your own. Switched on by a key.
    pub(crate) apns: ApnsSection,
    /// Google's push service, for apps of your own. Switched on by a service account.
    pub(crate) fcm: FcmSection,
    /// Rate limits by name, such as `messages = { size = 60, interval_ms = 1000 }`: that many at once, and one
    /// more per interval. An interval of 0 switches a limit off. What is not named keeps its default.
    pub(crate) limits: BTreeMap<String, RateLimit>,
    /// Switches that clients fetch, by name; every value is a text.
    pub(crate) remote_config: BTreeMap<String, String>,
    /// What is written down of who came in and what changed: `heliograph audit`.
    pub(crate) audit: Audit,
    /// What is written to standard error.
    pub(crate) log: Log,
    /// What is counted, for monitoring.
    pub(crate) metrics: Metrics,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            data: PathBuf::from("heliograph-data"),
            public_url: String::new(),
            tls: Tls::default(),
            master_key: MasterKeySource::default(),
            registration: Registration::default(),
            verification: Verification::default(),
            mail: Mail::default(),
            passkeys: Passkeys::default(),
            sender_certificates: SenderCertificates::default(),
            challenges: Challenges::default(),
            passwords: Passwords::default(),
            access_tokens: AccessTokens::default(),
            sessions: Sessions::default(),
            gateway: Gateway::default(),
            queue: Queue::default(),
            devices: Devices::default(),
            push: Push::default(),
            web_push: WebPushSection::default(),
            apns: ApnsSection::default(),
            fcm: FcmSection::default(),
            limits: BTreeMap::new(),
            remote_config: BTreeMap::new(),
            audit: Audit::default(),
            log: Log::default(),
            metrics: Metrics::default(),
        }
    }
}

impl Config {
    /// What the gateway is told.
    pub(crate) fn to_gateway(&self) -> GatewayConfig {
        self.gateway.to_gateway(&self.devices)
    }

    /// Who asks for passkeys.
    pub(crate) fn relying_party(&self) -> RelyingParty {
        self.passkeys.relying_party(&self.public_url)
    }

    /// The rate limits that differ from their defaults. Names that are none were refused when reading.
    pub(crate) fn rate_limits(&self) -> Vec<(LimitId, Limit)> {
        self.limits.iter().filter_map(|(name, limit)| Some((name.parse().ok()?, limit.to_limit()))).collect()
    }

    /// What is wrong with values that can be read but make no sense, each with its key.
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut check = |fine: bool, mistake: &str| {
            if !fine {
                mistakes.push(mistake.to_owned());
            }
        };
        check(
            self.public_url.is_empty() || self.public_url.starts_with("https://"),
            "public_url: must begin with https://",
        );
        self.tls.check(&mut check);
        self.registration.check(&mut check);
        self.verification.check(&mut check);
        self.mail.check(&mut check);
        self.passkeys.check(&mut check);
        self.sender_certificates.check(&mut check);
        self.challenges.check(&mut check);
        self.passwords.check(&mut check);
        self.access_tokens.check(&mut check);
        self.sessions.check(&mut check);
        self.gateway.check(&mut check);
        self.queue.check(&mut check);
        self.devices.check(&mut check);
        push::check(&self.push, &self.apns, &self.fcm, &self.web_push, &mut check);
        for (name, limit) in &self.limits {
            limit.check(name, &mut check);
        }
        self.audit.check(&mut check);
        self.metrics.check(&mut check);
        mistakes
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
