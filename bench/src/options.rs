//! What to measure.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Measures a running Heliograph: throughput, latency, memory and processor time.
///
/// Starts the server itself: the program named in `HELIOGRAPH_BIN`, or else the one built beside this.
#[derive(Clone, Debug, Parser, Serialize)]
pub(crate) struct Options {
    /// A smoke run of some twenty seconds; its figures say little.
    #[arg(long)]
    pub(crate) quick: bool,
    /// What to measure; everything when absent.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// Online pairs of a sender and a recipient.
    #[arg(long, default_value_t = 64)]
    pub(crate) pairs: usize,
    /// Length of each throughput measurement, in seconds, after two of warming up.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Bytes of content in each message.
    #[arg(long, default_value_t = 1024)]
    pub(crate) size: usize,
    /// Closed loop: messages that each pair keeps under way; several values are measured in turn.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    pub(crate) outstanding: Vec<usize>,
    /// Open loop: messages a second over all pairs; several values are measured in turn.
    #[arg(long, value_delimiter = ',', default_value = "1000,4000,8000")]
    pub(crate) rates: Vec<u32>,
    /// Recipients who are away while messages are stored for them.
    #[arg(long, default_value_t = 200)]
    pub(crate) recipients: usize,
    /// Idle sockets.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) sockets: usize,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Where the server's data folder is made: the disk matters for stored messages.
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
    /// Online pairs.
    Online,
    /// Recipients who are away, and their return.
    Stored,
    /// Memory of idle sockets.
    Idle,
}

impl Options {
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// The smoke run's sizes, where `--quick` was given.
    pub(crate) fn resolve(mut self) -> Self {
        if self.quick {
            self.pairs = self.pairs.min(16);
            self.seconds = 1;
            self.rates = vec![500];
            self.recipients = self.recipients.min(32);
            self.sockets = self.sockets.min(300);
        }
        self
    }

    /// Accounts that the wanted parts need: they take turns in all roles.
    pub(crate) fn accounts(&self) -> usize {
        let idle = if self.wants(Part::Idle) { self.sockets } else { 0 };
        idle.max(self.accounts_under_load())
    }

    /// The accounts that send and receive.
    pub(crate) fn accounts_under_load(&self) -> usize {
        let online = if self.wants(Part::Online) { 2 * self.pairs } else { 0 };
        let stored = if self.wants(Part::Stored) { self.pairs + self.recipients.max(self.pairs) } else { 0 };
        online.max(stored)
    }
}
