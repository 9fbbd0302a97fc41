//! The configuration file: TOML, one struct per section, unknown keys refused, all mistakes told together.

mod read;
mod sample;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use gateway::GatewayConfig;
use limits::{Limit, LimitId};
use messages::QueueConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use read::read;
pub(crate) use sample::sample;

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
    /// How phone numbers are proved.
    pub(crate) verification: Verification,
    /// What a client can make the server hold.
    pub(crate) gateway: Gateway,
    /// How messages are stored.
    pub(crate) queue: Queue,
    /// Rate limits by name, such as `messages = { size = 60, interval_ms = 1000 }`: that many at once, and one
    /// more per interval. An interval of 0 switches a limit off. What is not named keeps its default.
    pub(crate) limits: BTreeMap<String, RateLimit>,
    /// Switches that clients fetch, by name; every value is a text.
    pub(crate) remote_config: BTreeMap<String, String>,
    /// What is written to standard error.
    pub(crate) log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            data: PathBuf::from("heliograph-data"),
            public_url: String::new(),
            tls: Tls::default(),
            master_key: MasterKeySource::default(),
            verification: Verification::default(),
            gateway: Gateway::default(),
            queue: Queue::default(),
            limits: BTreeMap::new(),
            remote_config: BTreeMap::new(),
            log: Log::default(),
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

/// How phone numbers are proved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Verification {
    /// Who delivers codes. "outbox" appends them to outbox.jsonl in the data folder, for the operator to pass on.
    pub(crate) provider: Provider,
    /// Offer a captcha step, in which every answer is accepted. Some clients do not register without one.
    pub(crate) offer_captcha: bool,
}

impl Default for Verification {
    fn default() -> Self {
        Self { provider: Provider::Outbox, offer_captcha: true }
    }
}

/// Who delivers verification codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    /// A file that the operator reads.
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
}

/// A rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimit {
    /// Permits in a full bucket.
    pub(crate) size: u64,
    /// Milliseconds in which one permit comes back; 0 switches the limit off.
    pub(crate) interval_ms: f64,
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
        let QueueConfig { grace, delete_linger, pending_bytes_max } = QueueConfig::default();
        Self { grace_ms: millis(grace), delete_linger_ms: millis(delete_linger), pending_bytes_max }
    }
}

impl Gateway {
    /// As the gateway takes it.
    pub(crate) fn to_gateway(&self) -> GatewayConfig {
        GatewayConfig {
            connections_max: self.connections_max,
            handshake_timeout: Duration::from_millis(self.handshake_timeout_ms),
            head_timeout: Duration::from_millis(self.head_timeout_ms),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            socket_idle_timeout: Duration::from_millis(self.socket_idle_timeout_ms),
            ..GatewayConfig::default()
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
        }
    }
}

impl Config {
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
        check(self.queue.grace_ms <= 10_000, "queue.grace_ms: must be at most 10000");
        check(self.queue.delete_linger_ms <= 10_000, "queue.delete_linger_ms: must be at most 10000");
        check(self.queue.pending_bytes_max >= 1 << 20, "queue.pending_bytes_max: must be at least 1048576");
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
