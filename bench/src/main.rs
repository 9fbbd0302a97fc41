//! The load generator: starts a server, registers accounts through its API, opens their sockets and
//! measures. It runs beside the server, on the same processors, so it is as lean as it can be, and tells
//! its own processor time too.

mod histogram;
mod idle;
mod meter;
mod online;
mod options;
mod report;
mod stored;
mod template;

use std::{io::Write as _, time::Duration};

use anyhow::Context as _;
use clap::Parser as _;
use testkit::{Account, Server, ServerOptions, register_many};
use tokio::runtime::{Builder, Runtime};

use crate::{
    meter::Meter,
    online::{Load, Pair},
    options::{Options, Part},
    report::{Machine, Registration, Report},
    stored::StoredPlan,
};

/// Connections over which accounts are registered.
const REGISTRARS: usize = 64;
/// Messages that each sender keeps under way towards recipients who are away.
const STORED_OUTSTANDING: usize = 16;

fn main() -> anyhow::Result<()> {
    let options = Options::parse().resolve();
    idle::ensure_descriptors(options.accounts())?;
    let report = runtime(options.threads)?.block_on(measure(options))?;
    report.write_json(&report.options.json)?;
    let mut out = std::io::stdout().lock();
    report.write_table(&mut out)?;
    writeln!(out, "all figures: {}", report.options.json.display())?;
    let lost = report.stored.as_ref().map_or(0, |stored| stored.drain.lost);
    anyhow::ensure!(lost == 0, "{lost} accepted messages were lost");
    Ok(())
}

/// One thread suffices for what two processors can do, and spends least on waking others.
fn runtime(threads: usize) -> anyhow::Result<Runtime> {
    let mut builder = if threads > 1 { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    Ok(builder.worker_threads(threads.max(1)).enable_all().build()?)
}

async fn measure(options: Options) -> anyhow::Result<Report> {
    let mut server_options = ServerOptions::unlimited();
    server_options.log.clone_from(&options.log);
    server_options.parent.clone_from(&options.folder);
    let mut report = Report {
        machine: Machine::of_this(),
        options: options.clone(),
        start: None,
        registration: None,
        online: Vec::new(),
        stored: None,
        idle: None,
    };
    if options.wants(Part::Start) {
        report.start = Some(idle::start(&server_options).await.context("measuring the start")?);
    }
    if options.accounts() == 0 {
        return Ok(report);
    }
    let mut server = Server::start(server_options).await?;
    let accounts = registered(&server, options.accounts(), &mut report).await?;
    // First, while every queue is empty: later the senders have receipts waiting, and are not idle.
    if options.wants(Part::Idle) {
        let idle = idle::idle(&mut server, &accounts[..options.sockets]).await;
        report.idle = Some(idle.context("measuring idle sockets")?);
    }
    if options.wants(Part::Online) {
        online(&server, &accounts, &options, &mut report).await.context("measuring online pairs")?;
    }
    if options.wants(Part::Stored) {
        let plan = StoredPlan {
            outstanding: STORED_OUTSTANDING,
            content_len: options.size,
            warm_up: warm_up(&options),
            length: Duration::from_secs(options.seconds),
        };
        let (senders, others) = accounts.split_at(options.pairs);
        let recipients = &others[..options.recipients.max(options.pairs)];
        let stored = stored::run(server.pid(), server.target(), senders, recipients, plan).await;
        report.stored = Some(stored.context("measuring stored messages")?);
    }
    Ok(report)
}

fn warm_up(options: &Options) -> Duration {
    if options.quick { Duration::from_millis(300) } else { Duration::from_secs(2) }
}

async fn registered(server: &Server, count: usize, report: &mut Report) -> anyhow::Result<Vec<Account>> {
    let meter = Meter::start(server.pid())?;
    let accounts = register_many(server, 0, count, REGISTRARS).await.context("registering accounts")?;
    let usage = meter.stop()?;
    report.registration = Some(Registration {
        accounts: count as u64,
        per_second: usage.rate(count as u64),
        server_us_per_account: usage.server_us(count as u64),
        usage,
    });
    Ok(accounts)
}

async fn online(
    server: &Server,
    accounts: &[Account],
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (senders, recipients) = accounts[..2 * options.pairs].split_at(options.pairs);
    let mut pairs = Vec::with_capacity(options.pairs);
    for (sender, recipient) in senders.iter().zip(recipients) {
        pairs.push(Pair::connect(server.target(), sender, recipient, options.size).await?);
    }
    let closed = options.outstanding.iter().map(|&outstanding| Load::Closed { outstanding });
    let open = options.rates.iter().map(|&per_second| Load::Open { per_second });
    for load in closed.chain(open) {
        let length = Duration::from_secs(options.seconds);
        let (back, result) = online::run(server.pid(), pairs, load, warm_up(options), length)
            .await
            .with_context(|| format!("{load:?}"))?;
        pairs = back;
        report.online.push(result);
    }
    Ok(())
}
