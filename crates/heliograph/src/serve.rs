//! `heliograph serve`: start, stay up, stop in two stages.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::Write,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use auth::{revocation::Revocations, verification::VerificationService};
use gateway::{Door, Listener, tls};
use messages::MessageQueue;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use crate::{
    config::Config,
    secrets::{DEVELOPMENT_NAMES, Secrets},
    state,
    wiring::{self, Backend, Stores},
};

/// Held while a server uses the data folder.
const LOCK_FILE: &str = "lock";

/// How long a stopping server waits for its connections. What waits for the disk is committed in any case.
const DRAIN_LIMIT: Duration = Duration::from_secs(8);

/// How often what is over is cleared away: queues of accounts that are gone, should their clearing have
/// failed, and verification sessions nobody came back to.
const TIDY_INTERVAL: Duration = Duration::from_mins(1);

/// Runs the server until it is told to stop.
pub(crate) async fn serve(config: Config, development: bool) -> Result<()> {
    let mut signals = Signals::listen()?;
    let secrets = Secrets::of(&config);
    if development {
        secrets.make_missing(&DEVELOPMENT_NAMES.map(str::to_owned))?;
    }
    secrets.check()?;
    let _lock = lock(&config.data)?;
    let stores = Stores::open(&config, development)?;
    let (chain, key) = secrets.tls()?;
    let tls = tls::server_config(chain, key)?;
    let backend = wiring::build(&config, &stores, &secrets.vault()?).await?;
    let door = Door::new(backend.services.clone(), config.gateway.to_gateway());
    let listener = Listener::bind(config.listen)
        .await
        .with_context(|| format!("{} cannot be listened on", config.listen))?;
    let address = listener.address();

    let mut committer = tokio::spawn(run_committer(backend.queue.clone()));
    let tidying = tokio::spawn(tidy(backend.revocations.clone(), Arc::clone(&backend.verification)));
    let accepting = tokio::spawn(listener.run(tls, door.clone()));
    state::write(&config.data, address)?;
    announce(address)?;

    tokio::select! {
        () = signals.wait() => tracing::info!("stopping"),
        // Without it no message is ever accepted again; whoever watches over this process starts it anew.
        _ = &mut committer => bail!("the queue's committer ended"),
    }
    let stopped = stop(&door, &backend, &stores);
    tokio::select! {
        () = stopped => {}
        () = signals.wait() => bail!("cut off by a second signal"),
    }
    accepting.abort();
    tidying.abort();
    committer.await.context("the queue's committer failed")?;
    tracing::info!("stopped");
    Ok(())
}

/// Stops taking requests, finishes those there are, then brings everything to the disk.
async fn stop(door: &Door, backend: &Backend, stores: &Stores) {
    if timeout(DRAIN_LIMIT, door.close()).await.is_err() {
        tracing::warn!("connections were cut off");
    }
    backend.queue.close().await;
    stores.close().await;
}

async fn run_committer(queue: MessageQueue) {
    queue.run_committer().await;
}

/// Finishes what a crash may have left undone, and clears away what is over.
async fn tidy(revocations: Revocations, verification: Arc<VerificationService>) {
    loop {
        if let Err(error) = revocations.finish().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "queues of former devices were not cleared"
            );
        }
        if let Err(error) = verification.remove_expired().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "expired sessions were not removed");
        }
        tokio::time::sleep(TIDY_INTERVAL).await;
    }
}

/// One line on standard output, for whoever started the server.
fn announce(address: SocketAddr) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready https://{address}").and_then(|()| out.flush()).context("standard output is gone")
}

/// Makes sure that no other server uses the folder; the lock goes with the process, however it ends.
fn lock(data: &Path) -> Result<File> {
    let path = data.join(LOCK_FILE);
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another server is using {}", data.display()),
        Err(TryLockError::Error(error)) => Err(error).context("the data folder cannot be locked"),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
