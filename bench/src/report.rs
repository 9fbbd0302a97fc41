//! The figures, for people and for programs.

use std::{fs, io::Write, path::Path};

use serde::Serialize;

use crate::{
    idle::{IdleResult, StartResult},
    meter::Usage,
    online::{Load, OnlineResult},
    options::Options,
    stored::StoredResult,
};

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) options: Options,
    pub(crate) start: Option<StartResult>,
    pub(crate) registration: Option<Registration>,
    pub(crate) online: Vec<OnlineResult>,
    pub(crate) stored: Option<StoredResult>,
    pub(crate) idle: Option<IdleResult>,
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) model: String,
    pub(crate) kernel: String,
}

/// Accounts made through the API.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Registration {
    pub(crate) accounts: u64,
    pub(crate) per_second: f64,
    pub(crate) server_us_per_account: f64,
    pub(crate) usage: Usage,
}

impl Machine {
    pub(crate) fn of_this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            model: model.trim_start_matches([' ', '\t', ':']).to_owned(),
            kernel: kernel.trim().to_owned(),
        }
    }
}

impl Report {
    pub(crate) fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// The table. CPU is the server's, in µs for each message; beside it the generator's.
    pub(crate) fn write_table(&self, out: &mut impl Write) -> std::io::Result<()> {
        let machine = &self.machine;
        writeln!(out, "{} processors, {}, Linux {}", machine.processors, machine.model, machine.kernel)?;
        writeln!(out, "{} bytes a message, TLS 1.3, generator on the same machine\n", self.options.size)?;
        self.write_loads(out)?;
        if let Some(made) = &self.registration {
            writeln!(
                out,
                "registration        {:>9.0} accounts/s, {:.0} µs CPU each",
                made.per_second, made.server_us_per_account
            )?;
        }
        if let Some(idle) = &self.idle {
            writeln!(
                out,
                "idle sockets        {:>9.1} KiB each at {} ({} MiB resident, {} before); \
                 {:.0} connects/s, {:.0} µs CPU each",
                idle.rss_kib_per_socket,
                idle.sockets,
                idle.after.rss_kib / 1024,
                idle.before.rss_kib / 1024,
                idle.connects_per_second,
                idle.server_us_per_connect,
            )?;
        }
        if let Some(start) = &self.start {
            writeln!(
                out,
                "start               {:>9.1} ms to ready ({:.1} the first time), {:.1} MiB one second later",
                start.median_ready_ms,
                start.first_ready_ms,
                crate::meter::float(start.memory.rss_kib) / 1024.0,
            )?;
        }
        Ok(())
    }

    fn write_loads(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(
            out,
            "{:<28} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>7}",
            "", "messages/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs", "gen. µs", "stolen"
        )?;
        for run in &self.online {
            let name = match run.load {
                Load::Closed { outstanding } => format!("online, {outstanding} outstanding"),
                Load::Open { per_second } => format!("online, {per_second}/s offered"),
            };
            let (latency, usage) = (run.latency, &run.usage);
            let times = [latency.p50_us, latency.p99_us, latency.p999_us];
            write_load(out, &name, run.per_second, Some(times), usage, run.messages)?;
        }
        if let Some(run) = &self.stored {
            let times = [run.latency.p50_us, run.latency.p99_us, run.latency.p999_us];
            write_load(
                out,
                "stored, recipients away",
                run.per_second,
                Some(times),
                &run.usage,
                run.messages,
            )?;
            let drain = &run.drain;
            write_load(out, "drained on their return", drain.per_second, None, &drain.usage, drain.messages)?;
            writeln!(out, "lost: {}", drain.lost)?;
        }
        writeln!(out)
    }
}

fn write_load(
    out: &mut impl Write,
    name: &str,
    per_second: f64,
    times_us: Option<[u64; 3]>,
    usage: &Usage,
    messages: u64,
) -> std::io::Result<()> {
    write!(out, "{name:<28} {per_second:>9.0}")?;
    for index in 0..3 {
        match times_us {
            Some(times) => write!(out, " {:>9.2}", crate::meter::float(times[index]) / 1e3)?,
            None => write!(out, " {:>9}", "–")?,
        }
    }
    let (server, own) = (usage.server_us(messages), usage.generator_us(messages));
    writeln!(out, " {server:>8.1} {own:>8.1} {:>6.1}%", usage.stolen_percent)
}
