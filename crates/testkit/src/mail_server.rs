//! A real mail server, which tells what it takes (`scripts/mail-server.sh`).

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// How long a start may take; the first one installs the server.
const READY_TIMEOUT: Duration = Duration::from_mins(2);
/// How long a message may be on its way.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(20);

/// The script, from the root of the working copy.
const SCRIPT: &str = "scripts/mail-server.sh";

/// How the server's connections are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// From the first byte.
    Implicit,
    /// After `STARTTLS`, without which it takes nothing.
    StartTls,
}

/// A mail server. It ends when it is dropped.
#[derive(Debug)]
pub struct MailServer {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    folder: TempDir,
    /// Where it listens, on loopback.
    pub port: u16,
}

/// A message that the server took.
#[derive(Clone, Debug, Deserialize)]
pub struct Received {
    /// Whom the connection said it is from.
    pub sender: String,
    /// Whom it is for.
    pub recipients: Vec<String>,
    /// What it is about.
    pub subject: String,
    /// What it says.
    pub text: String,
    /// The connection was made secure by `STARTTLS`.
    pub upgraded: bool,
    /// What the client called itself.
    pub hello: String,
}

#[derive(Deserialize)]
struct Started {
    port: u16,
}

impl MailServer {
    /// The user it knows.
    pub const USER: &str = "chat";
    /// The user's password.
    pub const PASSWORD: &str = "right horse";
    /// A recipient it refuses for good.
    pub const UNKNOWN: &str = "unknown@example.org";
    /// A recipient it refuses for now.
    pub const BUSY: &str = "busy@example.org";

    /// Starts one with a certificate of its own, for `localhost`.
    pub async fn start(tls: MailTls) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("heliograph-mail-")?;
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
        let key = folder.path().join("key.pem");
        std::fs::write(certificate(&folder), cert.pem())?;
        std::fs::write(&key, signing_key.serialize_pem())?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut child = Command::new(root.join(SCRIPT))
            .arg(match tls {
                MailTls::Implicit => "--tls",
                MailTls::StartTls => "--starttls",
            })
            .args(["--user", Self::USER, "--password", Self::PASSWORD])
            .args(["--unknown", Self::UNKNOWN, "--busy", Self::BUSY])
            .arg("--certificate")
            .arg(certificate(&folder))
            .arg("--key")
            .arg(key)
            // It ends when this does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context(SCRIPT)?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let first = timeout(READY_TIMEOUT, lines.next_line()).await.context("no mail server")??;
        let Started { port } = serde_json::from_str(&first.context("the mail server did not start")?)?;
        Ok(Self { _child: child, lines, folder, port })
    }

    /// The file of its certificate, in PEM.
    pub fn certificate(&self) -> PathBuf {
        certificate(&self.folder)
    }

    /// The next message it takes.
    pub async fn next(&mut self) -> anyhow::Result<Received> {
        match timeout(MESSAGE_TIMEOUT, self.lines.next_line()).await.context("no message came")?? {
            Some(line) => Ok(serde_json::from_str(&line)?),
            None => bail!("the mail server has ended"),
        }
    }
}

fn certificate(folder: &TempDir) -> PathBuf {
    folder.path().join("certificate.pem")
}
