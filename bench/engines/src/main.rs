//! Measures engines and layouts for the message queue at equal durability: every batch is on disk before it
//! counts. What came of it, and what the columns mean, is in docs/performance.md.

mod engine;
mod fjall;
mod meter;
mod redb;
mod sqlite;
mod workload;

use std::{io::Write, time::Duration};

use anyhow::bail;

use crate::{
    engine::Contestant,
    meter::Cost,
    workload::{Run, Size, Store},
};

const ROUNDS: u32 = 3;
/// Devices among which the messages are spread: every queue long, and hardly one with more than one message.
const DEVICES: [usize; 2] = [200, 100_000];
/// No round is begun that would end later than this, going by the one before it.
const TIME: Duration = Duration::from_secs(170);

fn main() -> anyhow::Result<()> {
    let size = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => Size { waiting: 65_536, appends: 8_192 },
        [flag] if flag == "--quick" => Size { waiting: 1_024, appends: 512 },
        _ => bail!("usage: heliograph-engines [--quick]; TMPDIR says which disk is measured"),
    };
    let folder = tempfile::Builder::new().prefix("heliograph-engines").tempdir()?;
    let start = meter::now()?;
    let mut stores = Vec::new();
    for devices in DEVICES {
        for contestant in Contestant::ALL {
            let name = format!("{devices}-{contestant:?}");
            stores.push((
                devices,
                contestant,
                Store::fill(contestant, &folder.path().join(name), devices, size)?,
            ));
        }
    }
    let runs = measure(&stores, start + TIME)?;
    write_table(&stores, &runs, &mut std::io::stdout().lock())?;
    folder.close()?;
    Ok(())
}

/// The runs of each store, in the order of the stores. Each round visits all of them, so that a busy minute
/// of the machine falls on all alike.
fn measure(stores: &[(usize, Contestant, Store)], deadline: Duration) -> anyhow::Result<Vec<Vec<Run>>> {
    let mut runs = vec![Vec::new(); stores.len()];
    let mut longest = Duration::ZERO;
    for round in 0..ROUNDS {
        let began = meter::now()?;
        if began + longest > deadline {
            break;
        }
        for ((_, _, store), runs) in stores.iter().zip(&mut runs) {
            runs.push(store.run(round)?);
        }
        longest = longest.max(meter::now()?.saturating_sub(began));
    }
    Ok(runs)
}

/// Writes the medians. The three columns of each part are messages a second, µs of processor time for each,
/// and KiB written for each.
fn write_table(
    stores: &[(usize, Contestant, Store)],
    runs: &[Vec<Run>],
    out: &mut impl Write,
) -> anyhow::Result<()> {
    writeln!(out, "medians of {}\n", runs.first().map_or(0, Vec::len))?;
    writeln!(
        out,
        "| devices | engine, layout | append 64 | µs | KiB | append 512 | µs | KiB | drain | µs | KiB | MiB left |"
    )?;
    writeln!(out, "|--:|---|{}", "--:|".repeat(10))?;
    for ((devices, contestant, _), runs) in stores.iter().zip(runs) {
        write!(out, "| {devices} | {} |", contestant.name())?;
        for part in [|run: &Run| run.small, |run: &Run| run.large, |run: &Run| run.drain] {
            let of = |figure: fn(&Cost) -> f64| median(runs.iter().map(|run| figure(&part(run))));
            write!(out, " {:.0} | {:.1} | {:.2} |", of(Cost::rate), of(Cost::cpu_us), of(Cost::written_kib))?;
        }
        writeln!(out, " {:.0} |", median(runs.iter().map(|run| run.size_mib)))?;
    }
    Ok(())
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures = figures.collect::<Vec<_>>();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
