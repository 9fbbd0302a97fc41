//! Kills the server at random moments under load, many times, and holds it to what it has answered.
//!
//! Senders (identified, sealed, to several at once), readers, a registrar and a key fetcher work without pause; again and again the server is killed
//! with SIGKILL and started on the same data. A ledger keeps what was answered with success. In the end
//! every accepted message must have been delivered, in order, and again only if its acknowledgement was not
//! on its way; every registration and key upload must be there; no one-time key may have been handed out
//! twice.

mod content;
mod fetcher;
mod ledger;
mod reader;
mod registrar;
mod sender;

use std::{io::Write as _, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use testkit::{
    Account, HttpVersion, Https, KeySet, Server, ServerOptions, Target,
    account::{link_over, register_many, register_over, register_with, test_number},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    ledger::Ledger,
    reader::Reader,
    sender::{Devices, Sender, Way},
};

/// Kills a server under load and checks that it keeps its promises.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// How often the server is killed.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Seed of everything that is random but the moments of other processes; drawn when absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Senders who say who they are, each without pause.
    #[arg(long, default_value_t = 4)]
    senders: u16,
    /// Senders with access keys, and as many who send to several readers at once.
    #[arg(long, default_value_t = 2)]
    sealed_senders: u16,
    /// Accounts that read, every third on two devices; some are away for several rounds.
    #[arg(long, default_value_t = 24)]
    readers: u16,
    /// What the server logs, in the notation of `RUST_LOG`.
    #[arg(long, default_value = "warn")]
    log: String,
}

impl Options {
    /// How each of the senders sends.
    fn ways(&self) -> impl Iterator<Item = Way> + use<> {
        let counts = [
            (Way::Identified, self.senders),
            (Way::Sealed, self.sealed_senders),
            (Way::MultiRecipient, self.sealed_senders),
        ];
        counts.into_iter().flat_map(|(way, count)| std::iter::repeat_n(way, usize::from(count)))
    }
}

/// The longest that a round lasts before the kill.
const ROUND_MS_MAX: u64 = 1_200;
/// One start in this many is itself interrupted.
const INTERRUPTED_START_EVERY: u32 = 6;
/// One reader in this many has two devices.
const TWO_DEVICES_EVERY: usize = 3;
/// How soon an interrupted start is killed, at most.
const INTERRUPTED_START_MS_MAX: u64 = 120;
/// How long the actors may take to come to their end.
const FINISH_TIMEOUT: Duration = Duration::from_mins(2);

/// What the actors are told.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    /// The running server; none while it is down.
    pub(crate) target: Option<Target>,
    pub(crate) stage: Stage,
}

/// How far the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Rounds of load and kills.
    Load,
    /// No new work; readers stay away.
    Quiet,
    /// Readers fetch what waits for them and end.
    Collect,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(rand::random);
    say(&format!("crash: {} rounds, seed {seed}", options.rounds))?;
    let began = Instant::now();
    let ledger = run(&options, seed).await?;
    let summary = ledger.summary();
    let faults = ledger.faults();
    for fault in faults.iter().take(50) {
        say(&format!("fault: {fault}"))?;
    }
    let verdict = if faults.is_empty() { "ok" } else { "FAILED" };
    let seconds = began.elapsed().as_secs();
    say(&format!("crash: {verdict} ({} rounds, seed {seed}, {seconds} s, {summary})", options.rounds))?;
    anyhow::ensure!(faults.is_empty(), "{} faults", faults.len());
    Ok(())
}

/// One line to standard output, at once.
fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

async fn run(options: &Options, seed: u64) -> anyhow::Result<Arc<Ledger>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let server_options = ServerOptions { log: options.log.clone(), ..ServerOptions::unlimited() };
    let mut server = Server::start(server_options).await?;
    let accounts = register_many(&server, 0, usize::from(options.senders).max(1), 8).await?;
    let readers = register_readers(&server, accounts.len(), usize::from(options.readers)).await?;
    let ledger = Arc::new(Ledger::default());
    let (control, watching) = watch::channel(running(&server, Stage::Load));
    let mut actors = spawn_actors(options, &accounts, readers, &ledger, &watching, &mut rng);
    let keys = KeySet::generate();
    let account = register_with(
        &server,
        &test_number(accounts.len() + usize::from(options.readers)),
        (&keys, &KeySet::generate()),
    )
    .await?;
    let owner = fetcher::Owner { account, keys };
    actors.spawn(fetcher::run(accounts[0].clone(), owner, Arc::clone(&ledger), watching.clone()));
    actors.spawn(registrar::run(
        Arc::clone(&ledger),
        Arc::clone(server.outbox()),
        watching.clone(),
        rng.random(),
    ));
    drop(watching);
    rounds(options, &mut server, &ledger, &control, &mut rng).await?;
    finish(&server, &control, actors, &ledger).await?;
    ledger.compare(options.ways());
    Ok(ledger)
}

/// Kills the server and starts it again, at random moments.
async fn rounds(
    options: &Options,
    server: &mut Server,
    ledger: &Ledger,
    control: &watch::Sender<Control>,
    rng: &mut StdRng,
) -> anyhow::Result<()> {
    for round in 1..=options.rounds {
        ledger.begin_round(round);
        sleep(Duration::from_millis(rng.random_range(20..ROUND_MS_MAX))).await;
        anyhow::ensure!(
            server.is_running()?,
            "the server ended by itself in round {round}\n{}",
            server.log()
        );
        ledger.killed(Instant::now());
        server.kill()?;
        control.send_modify(|control| control.target = None);
        if round.is_multiple_of(INTERRUPTED_START_EVERY) {
            let after = Duration::from_millis(rng.random_range(0..INTERRUPTED_START_MS_MAX));
            server.restart_interrupted(after).await?;
        }
        server.restart().await.with_context(|| format!("after round {round}"))?;
        registrar::check(ledger, server.target(), rng).await?;
        control.send_replace(running(server, Stage::Load));
        if round.is_multiple_of(20) {
            say(&format!("round {round}: {}", ledger.summary()))?;
        }
    }
    Ok(())
}

fn running(server: &Server, stage: Stage) -> Control {
    Control { target: Some(server.target().clone()), stage }
}

/// Registers the readers, and a second device for every third.
async fn register_readers(server: &Server, first: usize, count: usize) -> anyhow::Result<Vec<Devices>> {
    let keys = (KeySet::generate(), KeySet::generate());
    let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
    let mut readers = Vec::with_capacity(count);
    for index in 0..count {
        let number = test_number(first + index);
        let primary = register_over(server.outbox(), &mut https, &number, (&keys.0, &keys.1)).await?;
        let mut devices = vec![primary];
        if index.is_multiple_of(TWO_DEVICES_EVERY) {
            devices.push(link_over(&mut https, &devices[0], (&keys.0, &keys.1)).await?);
        }
        readers.push(devices);
    }
    Ok(readers)
}

fn spawn_actors(
    options: &Options,
    accounts: &[Account],
    readers: Vec<Devices>,
    ledger: &Arc<Ledger>,
    control: &watch::Receiver<Control>,
    rng: &mut StdRng,
) -> JoinSet<anyhow::Result<()>> {
    let mut actors = JoinSet::new();
    for (index, devices) in (0..).zip(&readers) {
        for device in devices {
            let reader = Reader::new(index, device.clone(), Arc::clone(ledger), rng.random());
            actors.spawn(reader.run(control.clone()));
        }
    }
    let readers = Arc::new(readers);
    for (sender, account) in (0..).zip(options.ways()).zip(accounts.iter().cycle()) {
        let seed = rng.random();
        let sender = Sender::new(sender, account.clone(), Arc::clone(&readers), Arc::clone(ledger), seed);
        actors.spawn(sender.run(control.clone()));
    }
    actors
}

/// Lets the senders end and has the readers collect what waits for them.
async fn finish(
    server: &Server,
    control: &watch::Sender<Control>,
    mut actors: JoinSet<anyhow::Result<()>>,
    ledger: &Ledger,
) -> anyhow::Result<()> {
    control.send_replace(running(server, Stage::Quiet));
    let ended = timeout(FINISH_TIMEOUT, ledger.senders_done(control)).await;
    ended.with_context(|| format!("the senders do not end\n{}", server.log()))?;
    control.send_replace(running(server, Stage::Collect));
    let ended = timeout(FINISH_TIMEOUT, async {
        while let Some(ended) = actors.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    });
    ended.await.with_context(|| format!("the readers do not end\n{}", server.log()))?
}
