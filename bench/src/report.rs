//! The figures, for programs: what decides at the top, and every run.

use std::fs;

use serde::Serialize;

use crate::{
    contestant::System,
    groups::GroupResult,
    growth::GrowthRun,
    idle::IdleResult,
    logins::LoginResult,
    meter::float,
    online::{Load, OnlineResult},
    options::Options,
    push::PushResult,
    queue::QueueResult,
    side_by_side::Run,
    starting::StartResult,
    stored::StoredResult,
};

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Messages a second of the server divided by those of the floor with SQLite: medians of the same run.
    pub(crate) ratios: Ratios,
    /// Latency that 99 of 100 online messages stay below, at half of what each program can do.
    pub(crate) p99_ms_at_half_load: SideBySide,
    /// Server processor time for each online message, in microseconds: the dearest of the numbers outstanding.
    pub(crate) online_cpu_us: Option<f64>,
    /// Server processor time for each stored message, in microseconds.
    pub(crate) stored_cpu_us: Option<f64>,
    /// KiB of server memory for each idle socket: the most over all numbers and both versions of HTTP.
    pub(crate) idle_kb_per_socket: Option<f64>,
    /// The same when each has received one large message.
    pub(crate) idle_kb_per_socket_after_large: Option<f64>,
    pub(crate) machine: Machine,
    pub(crate) options: Options,
    #[serde(flatten)]
    pub(crate) runs: Runs,
}

/// What was not measured is null.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Ratios {
    pub(crate) online_1: Option<f64>,
    pub(crate) online_16: Option<f64>,
    pub(crate) stored: Option<f64>,
    /// Many sockets, each with a share of what was stored.
    pub(crate) drain_100: Option<f64>,
    /// One socket with a long queue.
    pub(crate) drain_1: Option<f64>,
}

/// A figure of the server and of the floor with SQLite.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct SideBySide {
    pub(crate) server: Option<f64>,
    pub(crate) floor: Option<f64>,
}

/// Every run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Runs {
    pub(crate) start: Option<StartResult>,
    pub(crate) online: Vec<Run<OnlineResult>>,
    pub(crate) stored: Vec<Run<StoredResult>>,
    pub(crate) drain: Vec<Run<StoredResult>>,
    pub(crate) groups: Vec<GroupResult>,
    pub(crate) queue: Option<QueueResult>,
    pub(crate) idle: Vec<IdleResult>,
    pub(crate) push: Option<PushResult>,
    pub(crate) logins: Option<LoginResult>,
    pub(crate) growth: Vec<GrowthRun>,
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) model: String,
    pub(crate) kernel: String,
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

impl<T> Run<T> {
    /// The median of a figure over the runs of that system.
    pub(crate) fn median_of(
        runs: &[Self],
        system: System,
        figure: impl Fn(&T) -> Option<f64>,
    ) -> Option<f64> {
        median(runs.iter().filter(|run| run.system == system).filter_map(|run| figure(&run.result)))
    }

    /// The server's median divided by that of the floor with SQLite.
    fn ratio(runs: &[Self], figure: impl Fn(&T) -> Option<f64>) -> Option<f64> {
        let server = Self::median_of(runs, System::Heliograph, &figure)?;
        Some(server / Self::median_of(runs, System::FloorSqlite, &figure)?)
    }
}

/// The figure, where the run was a closed loop with so many outstanding.
pub(crate) fn closed(
    outstanding: usize,
    figure: impl Fn(&OnlineResult) -> f64,
) -> impl Fn(&OnlineResult) -> Option<f64> {
    move |result| match result.load {
        Load::Closed { outstanding: found } if found == outstanding => Some(figure(result)),
        _ => None,
    }
}

impl Report {
    pub(crate) fn new(machine: Machine, options: Options, runs: Runs) -> Self {
        let online = |outstanding| Run::ratio(&runs.online, closed(outstanding, |result| result.per_second));
        let ratios = Ratios {
            online_1: online(1),
            online_16: online(16),
            stored: Run::ratio(&runs.stored, |result| Some(result.per_second)),
            drain_100: Run::ratio(&runs.stored, |result| Some(result.drain.per_second)),
            drain_1: Run::ratio(&runs.drain, |result| Some(result.drain.per_second)),
        };
        let p99_ms = |system| {
            Run::median_of(&runs.online, system, |result| {
                matches!(result.load, Load::Open { .. }).then(|| float(result.latency.p99_us) / 1e3)
            })
        };
        let cpu = options.outstanding.iter().filter_map(|&outstanding| {
            let figure = closed(outstanding, |result| result.server_us_per_message);
            Run::median_of(&runs.online, System::Heliograph, figure)
        });
        let most = |figure: fn(&IdleResult) -> f64| runs.idle.iter().map(figure).max_by(f64::total_cmp);
        Self {
            ratios,
            p99_ms_at_half_load: SideBySide {
                server: p99_ms(System::Heliograph),
                floor: p99_ms(System::FloorSqlite),
            },
            online_cpu_us: cpu.max_by(f64::total_cmp),
            stored_cpu_us: Run::median_of(&runs.stored, System::Heliograph, |result| {
                Some(result.server_us_per_message)
            }),
            idle_kb_per_socket: most(|result| result.rss_kib_per_socket),
            idle_kb_per_socket_after_large: most(|result| result.rss_kib_per_socket_after_large),
            machine,
            options,
            runs,
        }
    }

    pub(crate) fn write_json(&self) -> anyhow::Result<()> {
        let path = &self.options.json;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }
}

impl Runs {
    /// Messages that the server or the floor accepted and did not deliver, and devices not woken, over all runs.
    pub(crate) fn lost(&self) -> u64 {
        let stored = self.stored.iter().chain(&self.drain).map(|run| run.result.drain.lost);
        let groups = self.groups.iter().map(|run| run.drain.lost);
        let growth = self.growth.iter().map(|run| run.stored.drain.lost);
        let push = self.push.iter().map(|run| run.lost as u64);
        stored.chain(groups).chain(growth).chain(push).sum()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
