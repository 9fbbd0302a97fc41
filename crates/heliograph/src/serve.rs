//! `heliograph serve`: start, stay up, stop in two stages.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::Write,
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use auth::audit::{Action, Party};
use gateway::{Door, GatewayMetrics, Listener, tls};
use messages::MessageQueue;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    background,
    config::Config,
    metrics,
    secrets::{DEVELOPMENT_NAMES, Secrets},
    state,
    wiring::{self, Backend, Stores, Waking},
};

/// Held while a server uses the data folder.
const LOCK_FILE: &str = "lock";

/// How long a stopping server waits for its connections. What waits for the disk is committed in any case.
const DRAIN_LIMIT: Duration = Duration::from_secs(8);

/// How long it waits for letters that are under way. Those that the mail server does not take by then are not sent.
const LETTERS_LIMIT: Duration = Duration::from_secs(3);

/// Runs the server until it is told to stop.
pub(crate) async fn serve(config: Config, development: bool) -> Result<()> {
    let mut signals = Signals::listen()?;
    let hangup = signal(SignalKind::hangup())?;
    let secrets = Secrets::of(&config);
    if development {
        secrets.make_missing(&DEVELOPMENT_NAMES.map(str::to_owned))?;
    }
    secrets.check()?;
    let _lock = lock(&config.data)?;
    let stores = Stores::open(&config, development)?;
    let (chain, key) = secrets.tls()?;
    let tls = tls::server_config(chain, key)?;
    let vault = secrets.vault()?;
    let backend = wiring::build(&config, &stores, &secrets, &vault, development).await?;
    let gateway_metrics = GatewayMetrics::default();
    let door = Door::new(backend.services.clone(), config.to_gateway(), gateway_metrics.clone());
    let listener = Listener::bind(config.listen)
        .await
        .with_context(|| format!("{} cannot be listened on", config.listen))?;
    let address = listener.address();
    let operator = metrics::listen(&config, &door, &gateway_metrics, &backend).await?;

    backend.audit.record(Action::StartServer.by(Party::Server)).await;
    let mut committer = tokio::spawn(run_committer(backend.queue.clone()));
    let background = background::start(&backend, secrets, vault, config.access_tokens.key_age(), hangup);
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
    operator.inspect(JoinHandle::abort);
    drop(background);
    committer.await.context("the queue's committer failed")?;
    tracing::info!("stopped");
    Ok(())
}

/// Stops taking requests, finishes those there are, then brings everything to the disk.
async fn stop(door: &Door, backend: &Backend, stores: &Stores) {
    if timeout(DRAIN_LIMIT, door.close()).await.is_err() {
        tracing::warn!("connections were cut off");
    }
    if let Some(post) = &backend.post
        && timeout(LETTERS_LIMIT, post.idle()).await.is_err()
    {
        tracing::warn!("letters were not sent");
    }
    if let Some(Waking { recovery, .. }) = &backend.waking
        && let Err(error) = recovery.note().await
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "wake-ups were not noted");
    }
    backend.queue.close().await;
    backend.audit.record(Action::StopServer.by(Party::Server)).await;
    backend.recorder.close().await;
    if let Err(error) = backend.checkpoints.lock().await.write().await {
        tracing::error!("where the audit log ends was not noted: {error:#}");
    }
    stores.close().await;
}

async fn run_committer(queue: MessageQueue) {
    queue.run_committer().await;
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
