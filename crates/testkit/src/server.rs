//! Starting and stopping the real program.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use crate::{outbox::Outbox, tls::Target};

/// How long a start may take, on a busy machine and with a store to recover.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of the log an error message shows.
const LOG_TAIL_LINES: usize = 25;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The configuration file's content, in TOML; none for the defaults.
    pub config: Option<String>,
    /// The folder to make the data folder in; the system's temporary folder when absent.
    pub parent: Option<PathBuf>,
    /// What to log, in the notation of `RUST_LOG`.
    pub log: String,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { config: None, parent: None, log: "warn".to_owned() }
    }
}

impl ServerOptions {
    /// The defaults, with the rate limits out of the way.
    pub fn unlimited() -> Self {
        Self::default().with_config(UNLIMITED)
    }

    /// With some more configuration.
    #[must_use]
    pub fn with_config(mut self, toml: &str) -> Self {
        let config = self.config.get_or_insert_default();
        config.push_str(toml);
        config.push('\n');
        self
    }
}

/// Rate limits that no test or measurement reaches.
pub const UNLIMITED: &str = include_str!("unlimited.toml");

/// A server with a data folder of its own. Dropping it kills the process and removes the folder.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
    options: ServerOptions,
    outbox: Arc<Outbox>,
    target: Target,
    ready_after: Duration,
}

impl Server {
    /// Starts the program on a fresh data folder and waits until it accepts connections.
    pub async fn start(options: ServerOptions) -> anyhow::Result<Self> {
        let mut folder = tempfile::Builder::new();
        folder.prefix("heliograph-test-");
        let folder = match &options.parent {
            Some(parent) => folder.tempdir_in(parent),
            None => folder.tempdir(),
        }?;
        if let Some(config) = &options.config {
            std::fs::write(folder.path().join(CONFIG), config)?;
        }
        let (child, address, ready_after) = start(folder.path(), &options).await?;
        let target = Target::new(address, &ca_pem(&folder.path().join(DATA))?)?;
        let outbox = Arc::new(Outbox::new(folder.path().join(DATA).join("outbox.jsonl")));
        Ok(Self { child, folder, options, outbox, target, ready_after })
    }

    /// Where it listens and how to trust it; changes with every restart.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The verification codes it has handed out.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Time from starting the process to its saying that it is ready.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join(DATA)
    }

    /// What it has logged since it was started for the first time.
    pub fn log(&self) -> String {
        read_log(self.folder.path())
    }

    /// Kills it on the spot (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM).
    pub fn terminate(&self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("pid")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Waits until it has ended by itself.
    pub async fn exited(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "still running after {within:?}\n{}", self.log());
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Whether it runs; a server that has fallen over by itself does not.
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Starts it again on the same data, killing it first if it still runs.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let (child, address, ready_after) = start(self.folder.path(), &self.options).await?;
        self.child = child;
        self.target = self.target.at(address);
        self.ready_after = ready_after;
        Ok(())
    }

    /// Starts it again and kills it after that time, ready or not.
    pub async fn restart_interrupted(&mut self, after: Duration) -> anyhow::Result<()> {
        self.kill()?;
        self.child = command(self.folder.path(), &self.options)?.spawn()?;
        sleep(after).await;
        self.kill()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

const DATA: &str = "data";
const CONFIG: &str = "heliograph.toml";
const LOG: &str = "server.log";

/// The program under test: `HELIOGRAPH_BIN`, or else the one built beside this program.
pub fn binary() -> anyhow::Result<PathBuf> {
    const NAME: &str = "heliograph";
    if let Some(path) = std::env::var_os("HELIOGRAPH_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "HELIOGRAPH_BIN is {}, and there is no such file", path.display());
        return Ok(path);
    }
    // Tests lie in target/PROFILE/deps, programs in target/PROFILE.
    let own = std::env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(NAME)).find(|path| path.is_file());
    found.context(
        "the server program is missing: build it (`cargo build -p heliograph`, with --release for \
         measurements) or name it in the environment variable HELIOGRAPH_BIN",
    )
}

fn command(folder: &Path, options: &ServerOptions) -> anyhow::Result<Command> {
    let log = File::options().create(true).append(true).open(folder.join(LOG))?;
    let mut command = Command::new(binary()?);
    command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"]).arg(folder.join(DATA));
    if options.config.is_some() {
        command.arg("--config").arg(folder.join(CONFIG));
    }
    command.env("RUST_LOG", &options.log);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    Ok(command)
}

async fn start(folder: &Path, options: &ServerOptions) -> anyhow::Result<(Child, SocketAddr, Duration)> {
    let mut command = command(folder, options)?;
    let began = Instant::now();
    let mut child = command.spawn().context("the server program cannot be started")?;
    match ready(&mut child).await {
        Ok(address) => Ok((child, address, began.elapsed())),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            let log = read_log(folder);
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n");
            bail!("the server did not start: {error:#}\n{tail}")
        }
    }
}

/// Reads the line `ready https://HOST:PORT` from its standard output.
async fn ready(child: &mut Child) -> anyhow::Result<SocketAddr> {
    let stdout = child.stdout.take().context("no standard output")?;
    let (line_out, line_in) = oneshot::channel();
    // A thread of its own: it ends with the line or with the process.
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = String::new();
        let result = reader.read_line(&mut line).map(|_| line);
        let _ = line_out.send(result);
        // Keeps the pipe open, so that a server that says more does not fail for it.
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    });
    let line = timeout(READY_TIMEOUT, line_in).await.context("no ready line in time")???;
    let address = line.trim_end().strip_prefix("ready https://").with_context(|| match line.as_str() {
        "" => "it ended without a ready line".to_owned(),
        other => format!("expected a ready line, got {other:?}"),
    })?;
    address.parse().with_context(|| format!("no address: {address:?}"))
}

fn read_log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join(LOG)).unwrap_or_default()
}

fn ca_pem(data: &Path) -> anyhow::Result<String> {
    let output = Command::new(binary()?).arg("client-config").arg("--data").arg(data).output()?;
    ensure!(
        output.status.success(),
        "client-config failed: {}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    let config: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(config["ca_pem"].as_str().context("client-config has no ca_pem")?.to_owned())
}
