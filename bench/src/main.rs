//! The load generator: starts the server and the floor, opens their sockets and measures them by turns. It
//! runs beside them, on the same processors, so it is as lean as it can be, and tells its own processor time
//! too.

mod contestant;
mod floor;
mod groups;
mod growth;
mod histogram;
mod idle;
mod link;
mod logins;
mod meter;
mod online;
mod options;
mod push;
mod queue;
mod report;
mod seed;
mod side_by_side;
mod starting;
mod stored;
mod table;
mod template;

use std::io::Write as _;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::runtime::{Builder, Runtime};

use crate::{
    options::{Options, Part},
    report::{Machine, Report, Runs},
};

fn main() -> anyhow::Result<()> {
    let options = Options::parse().resolve();
    idle::ensure_descriptors(options.sockets.iter().copied().max().unwrap_or(0))?;
    let runs = runtime(options.threads)?.block_on(measure(&options))?;
    let report = Report::new(Machine::of_this(), options, runs);
    report.write_json()?;
    let mut out = std::io::stdout().lock();
    table::write(&report, &mut out)?;
    writeln!(out, "all figures: {}", report.options.json.display())?;
    let lost = report.runs.lost();
    anyhow::ensure!(lost == 0, "{lost} accepted messages were lost");
    Ok(())
}

/// One thread suffices for what two processors can do, and spends least on waking others.
fn runtime(threads: usize) -> anyhow::Result<Runtime> {
    let mut builder = if threads > 1 { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    Ok(builder.worker_threads(threads.max(1)).enable_all().build()?)
}

/// Each part has servers and floors of its own, which end with it.
async fn measure(options: &Options) -> anyhow::Result<Runs> {
    let mut runs = Runs::default();
    if options.wants(Part::Start) {
        let started = starting::measure(contestant::server_options(options)).await;
        runs.start = Some(started.context("measuring the start")?);
    }
    if options.wants(Part::Online) {
        runs.online = side_by_side::online(options).await.context("measuring online pairs")?;
    }
    if options.wants(Part::Stored) {
        runs.stored = side_by_side::stored(options).await.context("measuring stored messages")?;
    }
    if options.wants(Part::Drain) {
        runs.drain = side_by_side::drain(options).await.context("measuring a long queue")?;
    }
    if options.wants(Part::Groups) {
        runs.groups = groups::measure(options).await.context("measuring multi-recipient messages")?;
    }
    if options.wants(Part::Queue) {
        runs.queue = Some(queue::measure(options).await.context("measuring memory of queues")?);
    }
    if options.wants(Part::Idle) {
        runs.idle = idle::measure(options).await.context("measuring idle sockets")?;
    }
    if options.wants(Part::Push) {
        runs.push = Some(push::measure(options).await.context("measuring pushes")?);
    }
    if options.wants(Part::Logins) {
        runs.logins = Some(logins::measure(options).await.context("measuring log-ins")?);
    }
    if options.wants(Part::Growth) {
        runs.growth = growth::measure(options).await.context("measuring large stores")?;
    }
    Ok(runs)
}
