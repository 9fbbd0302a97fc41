//! What to measure.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Measures Heliograph beside the floor, the least program that does the same work: throughput, latency,
/// memory and processor time.
///
/// Starts both itself: the server named in `HELIOGRAPH_BIN`, or else the one built beside this.
#[derive(Clone, Debug, Parser, Serialize)]
pub(crate) struct Options {
    /// A smoke run of half a minute; its figures say nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// What to measure; everything when absent.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// Runs of each measurement, by turns with those it is compared to; the median counts.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Length of each throughput measurement in seconds, after one of warming up.
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
    /// Bytes of content in each message.
    #[arg(long, default_value_t = 1024)]
    pub(crate) size: usize,
    /// Online pairs of a sender and a recipient; as many senders store messages.
    #[arg(long, default_value_t = 64)]
    pub(crate) pairs: usize,
    /// Messages that each online pair keeps under way; several values are measured in turn.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    pub(crate) outstanding: Vec<usize>,
    /// Messages a second offered to the online pairs. When absent, half of what each program has done at the
    /// highest --outstanding.
    #[arg(long, value_delimiter = ',')]
    pub(crate) rates: Vec<u32>,
    /// Recipients who are away while messages are stored for them.
    #[arg(long, default_value_t = 100)]
    pub(crate) recipients: usize,
    /// Messages stored for one device, which then fetches them.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) queue: u64,
    /// Recipients of one multi-recipient message.
    #[arg(long, default_value_t = 100)]
    pub(crate) group: usize,
    /// Devices that are woken by push, all at once in a burst.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) pushed: usize,
    /// Pushes a second that are asked for while as many as can be are made.
    #[arg(long, default_value_t = 8_000)]
    pub(crate) push_rate: u32,
    /// Idle sockets; several numbers are measured in turn.
    #[arg(long, value_delimiter = ',', default_value = "10000,18000")]
    pub(crate) sockets: Vec<usize>,
    /// Bytes of the one large message that each idle socket gets.
    #[arg(long, default_value_t = 60_000)]
    pub(crate) large: usize,
    /// Accounts in the large store of the growth measurement; the small one has 1,000.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) many_accounts: u64,
    /// Messages that lie in the full store of the growth measurement, for accounts that never come.
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) many_messages: u64,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Where the data folders are made: the disk matters for stored messages.
    #[arg(long)]
    pub(crate) folder: Option<PathBuf>,
    /// What the server logs, in the notation of `RUST_LOG`.
    #[arg(long, default_value = "warn")]
    pub(crate) log: String,
    /// Where the figures are written as JSON.
    #[arg(long, default_value = "target/bench.json")]
    pub(crate) json: PathBuf,
}

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// Time to ready, and memory one second later.
    Start,
    /// Online pairs: as fast as they can, and latency at half of that.
    Online,
    /// Messages to recipients who are away, and their return, each on a socket of its own.
    Stored,
    /// A long queue on one socket.
    Drain,
    /// Multi-recipient messages.
    Groups,
    /// Memory for each message that lies in a queue.
    Queue,
    /// Memory of idle sockets.
    Idle,
    /// Pushes to a service that is fast, slow and down.
    Push,
    /// Logging in, and what messages notice of it.
    Logins,
    /// The same work with many accounts and many messages stored.
    Growth,
}

impl Options {
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// The smoke run's sizes, where `--quick` was given.
    pub(crate) fn resolve(mut self) -> Self {
        if self.quick {
            self.rounds = 1;
            self.seconds = 1;
            self.pairs = self.pairs.min(8);
            self.recipients = self.recipients.min(16);
            self.queue = self.queue.min(2_000);
            self.group = self.group.min(15);
            self.sockets = vec![200];
            self.pushed = self.pushed.min(40);
            self.push_rate = self.push_rate.min(200);
            self.many_accounts = self.many_accounts.min(2_000);
            self.many_messages = self.many_messages.min(5_000);
        }
        self.rounds = self.rounds.max(1);
        self
    }

    /// The parties that send and receive, online or stored: they take turns in all roles.
    pub(crate) fn parties(&self) -> usize {
        self.pairs + self.pairs.max(self.recipients).max(1)
    }
}
