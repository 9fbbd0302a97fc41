//! What `/proc` tells about a process: its processor time and its memory.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident pages.
    pub rss_kib: u64,
    /// Resident pages, shared ones counted by share.
    pub pss_kib: u64,
    /// Resident pages that no file backs.
    pub anonymous_kib: u64,
}

/// Processor time that a process has used, user and system, over all its threads, ended ones included.
/// The kernel counts it in ticks, usually of 10 ms.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    stat_cpu(Path::new(&format!("/proc/{pid}/stat")))
}

/// Processor time of the living threads, summed by thread name.
pub fn cpu_time_by_thread(pid: u32) -> anyhow::Result<BTreeMap<String, Duration>> {
    let mut by_name = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path();
        // A thread may end while we read.
        let (Ok(name), Ok(time)) = (fs::read_to_string(path.join("comm")), stat_cpu(&path.join("stat")))
        else {
            continue;
        };
        *by_name.entry(name.trim_end().to_owned()).or_insert(Duration::ZERO) += time;
    }
    Ok(by_name)
}

fn stat_cpu(path: &Path) -> anyhow::Result<Duration> {
    let text = fs::read_to_string(path).with_context(|| format!("no {}", path.display()))?;
    // The name in parentheses may hold anything; utime and stime are fields 14 and 15 of the line.
    let (_, fields) = text.rsplit_once(") ").context("unexpected stat line")?;
    let ticks: u64 =
        fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>().context("stat")?;
    Ok(Duration::from_micros(ticks * 1_000_000 / rustix::param::clock_ticks_per_second()))
}

/// Memory of a process.
pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| -> anyhow::Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?)
    };
    Ok(Memory { rss_kib: field("Rss")?, pss_kib: field("Pss")?, anonymous_kib: field("Anonymous")? })
}

/// Resident memory of a process in KiB, as cheaply as it can be asked: for looking often.
pub fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = text.split(' ').nth(1).context("statm")?.parse()?;
    Ok(pages * (rustix::param::page_size() as u64) / 1024)
}

/// Number of descriptors a process holds.
pub fn descriptors(pid: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Share of all processors' time that the machine's owner took away (`steal`), as total and stolen ticks
/// since the start: a measurement during which much was stolen says little.
pub fn stolen_ticks() -> anyhow::Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("empty /proc/stat")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    Ok((ticks.iter().take(8).sum(), ticks.get(7).copied().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_figures_are_plausible() {
        let pid = std::process::id();
        // Threads that have ended count for the process and for no thread.
        let threads = || cpu_time_by_thread(pid).unwrap().values().sum::<Duration>();
        while threads() < Duration::from_millis(20) {}
        assert!(cpu_time(pid).unwrap() >= Duration::from_millis(20));
        let memory = memory(pid).unwrap();
        assert!(memory.rss_kib >= memory.pss_kib && memory.pss_kib > 0);
        assert!(resident_kib(pid).unwrap() >= memory.pss_kib / 2);
        assert!(descriptors(pid).unwrap() >= 3);
        let (total, stolen) = stolen_ticks().unwrap();
        assert!(total > stolen);
    }
}
