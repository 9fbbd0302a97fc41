//! The configuration file: TOML, one struct per section, unknown keys refused, all mistakes told together.

mod native;
mod push;
mod read;
mod sample;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use ::audit::address::AddressPolicy;
use auth::{
    admission::{AdmissionMode, AdmissionPolicy},
    idle::IdlePolicy,
    second_factor::webauthn::RelyingParty,
    sender_certificate::LIFETIME_MAX,
};
use gateway::GatewayConfig;
use http::Uri;
use limits::{Limit, LimitId};
use messages::{QueueConfig, Volume};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use native::{AccessTokens, Passwords, Sessions};
pub(crate) use push::{ApnsSection, FcmSection, Push, WebPushSection};
pub(crate) use read::read;
pub(crate) use sample::sample;

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

/// The certificate clients see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// PEM file of the certificate chain, the server's own first. Empty: the one that `heliograph init --name`
    /// made.
    pub(crate) certificate: PathBuf,
    /// PEM file of its private key.
    pub(crate) key: PathBuf,
}

/// The key that protects all other keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MasterKeySource {
    /// File that holds it; best on another disk than the data. Empty: secrets/master.key in the data folder.
    pub(crate) file: PathBuf,
    /// Environment variable that holds it; wins over the file.
    pub(crate) env: String,
}

/// Who may register.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Registration {
    /// Who may have a new account: "open" everybody, "invite" whoever has an invitation (`heliograph invite`), "approval"
    /// whoever the operator approves (`heliograph registration`), "closed" nobody. "default" is "invite", and "open" for a
    /// development server. Whoever has an account is not asked.
    pub(crate) mode: RegistrationMode,
    /// With what the numbers of new accounts must begin, such as `["+49", "+43"]`. Empty: all may come.
    pub(crate) number_prefixes: Vec<String>,
    /// Domains of which the e-mail address of a new account without a number must be, such as `["example.org"]`. Empty: all
    /// may come, and an address is not needed.
    pub(crate) email_domains: Vec<String>,
}

/// On what condition somebody may register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RegistrationMode {
    /// As fits the kind of server.
    #[default]
    Default,
    /// None.
    Open,
    /// An invitation.
    Invite,
    /// The operator's word.
    Approval,
    /// Nobody may.
    Closed,
}

impl Registration {
    /// What the server is told.
    pub(crate) fn policy(&self, development: bool) -> AdmissionPolicy {
        let mode = match self.mode {
            RegistrationMode::Default if development => AdmissionMode::Open,
            RegistrationMode::Default | RegistrationMode::Invite => AdmissionMode::Invite,
            RegistrationMode::Open => AdmissionMode::Open,
            RegistrationMode::Approval => AdmissionMode::Approval,
            RegistrationMode::Closed => AdmissionMode::Closed,
        };
        AdmissionPolicy {
            mode,
            number_prefixes: self.number_prefixes.clone(),
            email_domains: self.email_domains.iter().map(|domain| domain.to_lowercase()).collect(),
        }
    }
}

/// How phone numbers are proved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Verification {
    /// Who delivers codes. "outbox" appends them to outbox.jsonl in the data folder; "operator" keeps them for
    /// `heliograph codes`; "webhook" hands them to a server of yours; "twilio" is Twilio Verify, which draws and checks
    /// them itself.
    pub(crate) provider: Provider,
    /// Offer a captcha step, in which every answer is accepted. Some clients do not register without one.
    pub(crate) offer_captcha: bool,
    /// Who delivers push challenges, which serve in place of a captcha. "push" sends them as pushes, to clients that
    /// say where a push reaches them; "none" offers none; "outbox" is for development.
    pub(crate) push: PushProvider,
    /// Where the webhook is: an https address, or http on this machine.
    pub(crate) webhook_url: String,
    /// File with the secret that requests to it are signed with, at least 16 bytes.
    pub(crate) webhook_secret_file: PathBuf,
    /// Twilio's account (AC…), or an API key of it (SK…).
    pub(crate) twilio_account: String,
    /// File with its token, or the key's secret.
    pub(crate) twilio_token_file: PathBuf,
    /// The Verify service (VA…).
    pub(crate) twilio_service: String,
    /// Where Twilio Verify is.
    pub(crate) twilio_url: String,
    /// PEM file of certificate authorities that are trusted besides the system's, for a webhook under a private one.
    pub(crate) ca_file: PathBuf,
}

impl Default for Verification {
    fn default() -> Self {
        Self {
            provider: Provider::Outbox,
            offer_captcha: true,
            push: PushProvider::Push,
            webhook_url: String::new(),
            webhook_secret_file: PathBuf::new(),
            twilio_account: String::new(),
            twilio_token_file: PathBuf::new(),
            twilio_service: String::new(),
            twilio_url: codes::twilio::BASE.to_owned(),
            ca_file: PathBuf::new(),
        }
    }
}

impl Verification {
    /// What the provider needs and does not have.
    fn check(&self, check: &mut impl FnMut(bool, &str)) {
        let (webhook, twilio) = (self.provider == Provider::Webhook, self.provider == Provider::Twilio);
        let set = |text: &str| !text.is_empty();
        let address = |text: &str| {
            let here = ["http://localhost", "http://127.0.0.1", "http://[::1]"];
            text.parse::<Uri>().is_ok()
                && (text.starts_with("https://")
                    || here.iter().any(|start| {
                        text.strip_prefix(start)
                            .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
                    }))
        };
        check(
            !webhook || address(&self.webhook_url),
            "verification.webhook_url: must be an https address, or http on this machine",
        );
        check(
            !webhook || !self.webhook_secret_file.as_os_str().is_empty(),
            "verification.webhook_secret_file: the webhook needs one",
        );
        check(!twilio || set(&self.twilio_account), "verification.twilio_account: Twilio needs it");
        check(!twilio || set(&self.twilio_service), "verification.twilio_service: Twilio needs it");
        check(
            !twilio || !self.twilio_token_file.as_os_str().is_empty(),
            "verification.twilio_token_file: Twilio needs it",
        );
        check(
            !twilio || address(&self.twilio_url),
            "verification.twilio_url: must be an https address, or http on this machine",
        );
    }
}

/// Who delivers verification codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    /// A file that the operator reads.
    Outbox,
    /// The operator, who looks them up.
    Operator,
    /// A server of the operator's.
    Webhook,
    /// Twilio Verify.
    Twilio,
}

/// Passkeys, and where they may be used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Passkeys {
    /// The domain that passkeys belong to. Browsers only use them under it. Empty: the name in `public_url`, or
    /// localhost. Passkeys made under one domain are lost under another.
    pub(crate) domain: String,
    /// Where they may be used from: origins of pages, such as `https://chat.example.org`, and what apps have
    /// instead, such as `android:apk-key-hash:…`. Empty: https and the domain.
    pub(crate) origins: Vec<String>,
}

impl Config {
    /// Who asks for passkeys.
    pub(crate) fn relying_party(&self) -> RelyingParty {
        let Passkeys { domain, origins } = &self.passkeys;
        let id = if domain.is_empty() { public_name(&self.public_url) } else { domain };
        let origins = if origins.is_empty() { vec![format!("https://{id}")] } else { origins.clone() };
        RelyingParty { id: id.to_owned(), origins }
    }
}

/// The name in an `https://` URL, or localhost where there is none.
fn public_name(url: &str) -> &str {
    let authority = url.strip_prefix("https://").and_then(|rest| rest.split('/').next());
    let name = authority.and_then(|authority| authority.split(':').next());
    name.filter(|name| !name.is_empty()).unwrap_or("localhost")
}

/// The server's word on who a sender is, which recipients of sealed messages check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SenderCertificates {
    /// Days a certificate is good for. Certificates cannot be taken back: longer lets a device that was removed
    /// go on as one of the account, shorter makes clients fetch more often. At most 30.
    pub(crate) lifetime_days: u32,
}

impl Default for SenderCertificates {
    fn default() -> Self {
        Self { lifetime_days: 7 }
    }
}

impl SenderCertificates {
    /// How long a certificate is good for.
    pub(crate) fn lifetime(&self) -> Duration {
        DAY.saturating_mul(self.lifetime_days)
    }
}

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

/// What a client can make the server hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Gateway {
    /// Connections at once; more are closed at once. Each needs a file descriptor (`ulimit -n`).
    pub(crate) connections_max: usize,
    /// Milliseconds for a TLS handshake. Too short locks out slow phones.
    pub(crate) handshake_timeout_ms: u64,
    /// Milliseconds for the head of a request, also for the next one on an idle HTTP/1.1 connection.
    pub(crate) head_timeout_ms: u64,
    /// Milliseconds for a request as a whole.
    pub(crate) request_timeout_ms: u64,
    /// Milliseconds of silence after which a websocket is closed. Clients ping every 31 seconds.
    pub(crate) socket_idle_timeout_ms: u64,
}

/// How messages are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Queue {
    /// Milliseconds that a message for a connected device waits for its acknowledgement before it is written to
    /// disk. Longer saves writes; senders to slow readers wait so much longer.
    pub(crate) grace_ms: u64,
    /// Milliseconds that deletions wait to be written together. What waits when the machine loses power is
    /// delivered again.
    pub(crate) delete_linger_ms: u64,
    /// Bytes of messages that may wait for the disk; beyond it senders are asked to try again.
    pub(crate) pending_bytes_max: usize,
    /// Hours that a message waits to be fetched before it is forgotten.
    pub(crate) lifetime_hours: u64,
    /// Messages that may wait for one account, all its devices together; beyond it senders are asked to try again
    /// later. Nothing that was accepted is dropped to make room.
    pub(crate) account_messages_max: u64,
    /// Bytes of messages that may wait for one account, all its devices together.
    pub(crate) account_bytes_max: u64,
}

/// What becomes of devices that are not used.
#[expect(clippy::struct_field_names, reason = "the unit stands last in every key")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Devices {
    /// Days for which a primary device has not been seen until its linked devices are told to remind their owner
    /// of it. 0: they are never told.
    pub(crate) primary_idle_days: u64,
    /// The same, until they are told that it is urgent; best some days before they are unlinked. 0: they are never
    /// told.
    pub(crate) primary_critical_days: u64,
    /// Days for which a linked device has not been seen until it is unlinked. 0: it never is.
    pub(crate) unlink_days: u64,
    /// Days for which a primary device has not been seen until its linked devices are unlinked. 0: they never are.
    pub(crate) unlink_with_primary_days: u64,
    /// Days for which a primary device has not been seen until its account is deleted, with what waits for it. Only
    /// accounts with a phone number, which can be registered again. 0: it never is.
    pub(crate) delete_account_days: u64,
}

impl Default for Devices {
    fn default() -> Self {
        let GatewayConfig { primary_idle, primary_critical, .. } = GatewayConfig::default();
        Self {
            primary_idle_days: primary_idle.as_secs() / DAY_SECS,
            primary_critical_days: primary_critical.as_secs() / DAY_SECS,
            unlink_days: 45,
            unlink_with_primary_days: 90,
            delete_account_days: 180,
        }
    }
}

impl Devices {
    /// When linked devices are told of an idle primary, as the gateway takes it.
    fn alerts(&self) -> [Duration; 2] {
        [self.primary_idle_days, self.primary_critical_days]
            .map(|days| days_of(days).unwrap_or(Duration::MAX))
    }

    /// What becomes of devices and accounts.
    pub(crate) fn to_policy(&self) -> IdlePolicy {
        IdlePolicy {
            linked: days_of(self.unlink_days),
            linked_of_primary: days_of(self.unlink_with_primary_days),
            account: days_of(self.delete_account_days),
        }
    }
}

/// So many days; nothing for never.
fn days_of(days: u64) -> Option<Duration> {
    (days > 0).then(|| Duration::from_secs(days.saturating_mul(DAY_SECS)))
}

/// Fewest days after which something of somebody's goes: a holiday must not be enough.
const IDLE_DAYS_MIN: u64 = 14;

const DAY_SECS: u64 = 24 * 60 * 60;

/// A rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimit {
    /// Permits in a full bucket.
    pub(crate) size: u64,
    /// Milliseconds in which one permit comes back; 0 switches the limit off.
    pub(crate) interval_ms: f64,
}

/// What is written down of who came in and what changed: `heliograph audit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audit {
    /// Days that records are kept.
    pub(crate) keep_days: u32,
    /// Bits of IPv4 addresses that are kept: 24 is the network of 256 addresses, 32 all of it, 0 nothing.
    pub(crate) ipv4_bits: u8,
    /// Bits of IPv6 addresses that are kept: 48 is what a provider gives to a site, 128 all of it, 0 nothing.
    pub(crate) ipv6_bits: u8,
}

impl Default for Audit {
    fn default() -> Self {
        let AddressPolicy { v4_bits, v6_bits } = AddressPolicy::default();
        Self { keep_days: 365, ipv4_bits: v4_bits, ipv6_bits: v6_bits }
    }
}

impl Audit {
    /// How long records are kept.
    pub(crate) fn life(&self) -> Duration {
        DAY.saturating_mul(self.keep_days)
    }

    /// How much of an address is kept.
    pub(crate) fn addresses(&self) -> AddressPolicy {
        AddressPolicy { v4_bits: self.ipv4_bits, v6_bits: self.ipv6_bits }
    }
}

/// What is written to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// Which lines: error, warn, info, debug or trace; or finer, such as "info,gateway=debug".
    pub(crate) filter: String,
    /// "text" for people, "json" for machines.
    pub(crate) format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// What is counted, for monitoring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Metrics {
    /// Address and port, such as "127.0.0.1:9464", where GET /metrics answers in OpenMetrics text and GET /health
    /// whether requests are taken. Plain HTTP without a password: not for the public. Empty: nowhere.
    pub(crate) listen: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Default for Gateway {
    fn default() -> Self {
        let GatewayConfig {
            connections_max,
            handshake_timeout,
            head_timeout,
            request_timeout,
            socket_idle_timeout,
            ..
        } = GatewayConfig::default();
        Self {
            connections_max,
            handshake_timeout_ms: millis(handshake_timeout),
            head_timeout_ms: millis(head_timeout),
            request_timeout_ms: millis(request_timeout),
            socket_idle_timeout_ms: millis(socket_idle_timeout),
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        let QueueConfig { grace, delete_linger, pending_bytes_max, lifetime, account_max } =
            QueueConfig::default();
        Self {
            grace_ms: millis(grace),
            delete_linger_ms: millis(delete_linger),
            pending_bytes_max,
            lifetime_hours: lifetime.as_secs() / 3600,
            account_messages_max: account_max.envelopes,
            account_bytes_max: account_max.bytes,
        }
    }
}

impl Queue {
    /// As the queue takes it.
    pub(crate) fn to_queue(&self) -> QueueConfig {
        QueueConfig {
            grace: Duration::from_millis(self.grace_ms),
            delete_linger: Duration::from_millis(self.delete_linger_ms),
            pending_bytes_max: self.pending_bytes_max,
            lifetime: Duration::from_secs(self.lifetime_hours.saturating_mul(3600)),
            account_max: Volume { envelopes: self.account_messages_max, bytes: self.account_bytes_max },
        }
    }
}

impl Metrics {
    /// Where to listen, if anywhere. Text that is no address was refused when reading.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }
}

impl Config {
    /// What the gateway is told.
    pub(crate) fn to_gateway(&self) -> GatewayConfig {
        let Gateway {
            connections_max,
            handshake_timeout_ms,
            head_timeout_ms,
            request_timeout_ms,
            socket_idle_timeout_ms,
        } = self.gateway;
        let [primary_idle, primary_critical] = self.devices.alerts();
        GatewayConfig {
            connections_max,
            handshake_timeout: Duration::from_millis(handshake_timeout_ms),
            head_timeout: Duration::from_millis(head_timeout_ms),
            request_timeout: Duration::from_millis(request_timeout_ms),
            socket_idle_timeout: Duration::from_millis(socket_idle_timeout_ms),
            primary_idle,
            primary_critical,
            ..GatewayConfig::default()
        }
    }

    /// The rate limits that differ from their defaults. Names that are none were refused when reading.
    pub(crate) fn rate_limits(&self) -> Vec<(LimitId, Limit)> {
        let limit = |limit: &RateLimit| Limit {
            size: limit.size,
            interval: Duration::try_from_secs_f64(limit.interval_ms / 1000.0).unwrap_or_default(),
        };
        self.limits.iter().filter_map(|(name, found)| Some((name.parse().ok()?, limit(found)))).collect()
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
            self.tls.certificate.as_os_str().is_empty() == self.tls.key.as_os_str().is_empty(),
            "tls: certificate and key go together",
        );
        check(
            self.public_url.is_empty() || self.public_url.starts_with("https://"),
            "public_url: must begin with https://",
        );
        let Gateway {
            connections_max,
            handshake_timeout_ms,
            head_timeout_ms,
            request_timeout_ms,
            socket_idle_timeout_ms,
        } = self.gateway;
        check(connections_max > 0, "gateway.connections_max: must be at least 1");
        check(handshake_timeout_ms >= 100, "gateway.handshake_timeout_ms: must be at least 100");
        check(head_timeout_ms >= 100, "gateway.head_timeout_ms: must be at least 100");
        check(request_timeout_ms >= 1000, "gateway.request_timeout_ms: must be at least 1000");
        check(
            socket_idle_timeout_ms >= 45_000,
            "gateway.socket_idle_timeout_ms: must be at least 45000, for clients ping every 31 seconds",
        );
        check(
            self.sender_certificates.lifetime_days > 0 && self.sender_certificates.lifetime() <= LIFETIME_MAX,
            "sender_certificates.lifetime_days: must be from 1 to 30",
        );
        check(
            !self.passkeys.domain.contains(['/', ':']),
            "passkeys.domain: must be a name, such as chat.example.org",
        );
        check(
            self.passkeys.origins.iter().all(|origin| origin.contains(':') && !origin.ends_with('/')),
            "passkeys.origins: must be origins, such as https://chat.example.org",
        );
        let Registration { number_prefixes, email_domains, .. } = &self.registration;
        let is_prefix = |text: &String| {
            text.len() <= 16
                && text.strip_prefix('+').is_some_and(|digits| {
                    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
                })
        };
        check(
            number_prefixes.iter().all(is_prefix),
            "registration.number_prefixes: each must be + and digits, such as +49",
        );
        check(
            email_domains.iter().all(|domain| domain.contains('.') && !domain.contains(['@', ' '])),
            "registration.email_domains: each must be a domain, such as example.org",
        );
        self.verification.check(&mut check);
        let Challenges { enabled, captcha, push } = self.challenges;
        check(
            !enabled || captcha || push != PushProvider::None,
            "challenges: enabled, but there is no way to answer one",
        );
        let Devices { unlink_days, unlink_with_primary_days, delete_account_days, .. } = self.devices;
        for (name, days) in [
            ("unlink_days", unlink_days),
            ("unlink_with_primary_days", unlink_with_primary_days),
            ("delete_account_days", delete_account_days),
        ] {
            check(
                days == 0 || days >= IDLE_DAYS_MIN,
                &format!("devices.{name}: must be 0 or at least {IDLE_DAYS_MIN}"),
            );
        }
        check(self.queue.grace_ms <= 10_000, "queue.grace_ms: must be at most 10000");
        check(self.queue.delete_linger_ms <= 10_000, "queue.delete_linger_ms: must be at most 10000");
        check(self.queue.pending_bytes_max >= 1 << 20, "queue.pending_bytes_max: must be at least 1048576");
        check(self.queue.lifetime_hours >= 1, "queue.lifetime_hours: must be at least 1");
        check(self.queue.account_messages_max >= 100, "queue.account_messages_max: must be at least 100");
        check(self.queue.account_bytes_max >= 1 << 20, "queue.account_bytes_max: must be at least 1048576");
        check(self.audit.keep_days >= 1, "audit.keep_days: must be at least 1");
        check(self.audit.ipv4_bits <= 32, "audit.ipv4_bits: must be at most 32");
        check(self.audit.ipv6_bits <= 128, "audit.ipv6_bits: must be at most 128");
        check(
            self.metrics.listen.is_empty() || self.metrics.address().is_some(),
            "metrics.listen: must be an address and a port, such as 127.0.0.1:9464",
        );
        push::check(&self.push, &self.apns, &self.fcm, &self.web_push, &mut check);
        self.passwords.check(&mut check);
        self.access_tokens.check(&mut check);
        self.sessions.check(&mut check);
        for (name, limit) in &self.limits {
            check(name.parse::<LimitId>().is_ok(), &format!("limits.{name}: there is no such limit"));
            check(limit.size > 0, &format!("limits.{name}.size: must be at least 1"));
            let interval = limit.interval_ms.is_finite() && limit.interval_ms >= 0.0;
            check(interval, &format!("limits.{name}.interval_ms: must not be negative"));
        }
        mistakes
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
