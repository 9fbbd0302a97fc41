//! Starting the floor (`heliograph-floor`) and speaking to it.

use std::{
    io,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    task::{Context, Poll},
};

use anyhow::{Context as _, bail};
use floor_frame::Frame;
use tempfile::TempDir;
use testkit::{Carrier, HttpVersion, Pipe, Target};

use crate::{link::Incoming, template::content_number};

/// Room behind a frame that is not whole yet.
const READ_AHEAD: usize = 16 * 1024;

/// A running floor. Dropping it kills the process and removes its folder.
#[derive(Debug)]
pub(crate) struct Floor {
    child: Child,
    target: Target,
    _folder: TempDir,
}

impl Floor {
    /// Starts it in that mode, `relay` or `sqlite`, with its folder inside `parent`.
    pub(crate) fn start(mode: &str, parent: Option<&Path>) -> anyhow::Result<Self> {
        let mut folder = tempfile::Builder::new();
        folder.prefix("heliograph-floor-");
        let folder = match parent {
            Some(parent) => folder.tempdir_in(parent),
            None => folder.tempdir(),
        }?;
        let mut child = Command::new(binary()?)
            .args(["--mode", mode, "--folder"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the floor cannot be started")?;
        match ready(&mut child, folder.path()) {
            Ok(target) => Ok(Self { child, target, _folder: folder }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.context("the floor did not start"))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// It is built beside this program.
fn binary() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("heliograph-floor");
    anyhow::ensure!(path.is_file(), "{} is missing: build heliograph-bench as a whole", path.display());
    Ok(path)
}

fn ready(child: &mut Child, folder: &Path) -> anyhow::Result<Target> {
    let stdout = child.stdout.take().context("no standard output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim_end().strip_prefix("ready ").context("no ready line")?;
    Target::new(address.parse()?, &std::fs::read_to_string(folder.join("floor.pem"))?)
}

/// A connection to the floor: the same buffers and the same TLS as a chat socket's, other frames.
#[derive(Debug)]
pub(crate) struct FloorSocket(Pipe);

impl FloorSocket {
    pub(crate) async fn connect(target: &Target, client: u32) -> anyhow::Result<Self> {
        let stream = target.connect(HttpVersion::Http1).await?;
        let mut pipe = Pipe::new(Carrier::Tls(Box::new(stream)), Vec::new());
        Frame::Hello { client }.put(pipe.outbox());
        Ok(Self(pipe))
    }

    pub(crate) fn queue_raw(&mut self, bytes: &[u8]) {
        self.0.outbox().extend_from_slice(bytes);
    }

    pub(crate) fn queue_ack(&mut self, token: u64) {
        Frame::Ack { token }.put(self.0.outbox());
    }

    pub(crate) fn received(&mut self) -> anyhow::Result<Option<Incoming>> {
        let Some((frame, len)) = Frame::first(self.0.received())? else {
            self.0.make_room(self.0.received().len() + READ_AHEAD);
            return Ok(None);
        };
        let incoming = match frame {
            Frame::Delivery { token, payload } => Incoming::Delivery {
                token,
                number: content_number(payload).context("not a message of ours")?,
            },
            Frame::Answer { number } => Incoming::Answer { number },
            Frame::Empty => Incoming::QueueEmpty,
            other => bail!("the floor sent {other:?}"),
        };
        self.0.take(len);
        Ok(Some(incoming))
    }

    pub(crate) fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_io(cx)
    }

    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_send(cx)
    }
}
