//! The least program that does what a message server does: TLS 1.3, frames with a length, a message goes to
//! its recipient and the sender is answered. With `--mode sqlite` the answer means that the message is on
//! disk. No HTTP, no websocket, no JSON, no accounts, no order between a queue and what comes after it: what
//! the server is measured against, for nothing that keeps the same promise can do much less.

mod connection;
mod disk;
mod mailbox;

use std::{io::Write as _, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use floor_frame::Frame;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{
    connection::Connection,
    disk::Disk,
    mailbox::{Mailbox, Registry},
};

/// Listens on a free port of 127.0.0.1, writes its certificate to `floor.pem` in the folder and then says
/// `ready ADDRESS`.
#[derive(Debug, Parser)]
struct Options {
    /// What an answer to a sender means.
    #[arg(long, value_enum)]
    mode: Mode,
    /// Where the certificate and the table go.
    #[arg(long)]
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// The recipient has acknowledged it.
    Relay,
    /// It is on disk.
    Sqlite,
}

/// What the connections share.
#[derive(Debug)]
pub(crate) struct Floor {
    registry: Registry,
    /// None when it only relays.
    disk: Option<Disk>,
}

impl Floor {
    fn message(&self, from: u32, sender: &Arc<Mailbox>, to: u32, number: u64, payload: &[u8]) {
        let token = match &self.disk {
            Some(disk) => disk.insert(to, payload, sender, number),
            // The acknowledgement brings back whom to answer. Numbers fit: a run has fewer than 2^40.
            None => u64::from(from) << 40 | number,
        };
        if let Some(recipient) = self.registry.find(to) {
            recipient.push(&Frame::Delivery { token, payload });
        }
    }

    fn acknowledged(&self, token: u64) {
        if let Some(disk) = &self.disk {
            return disk.delete(token);
        }
        let sender = u32::try_from(token >> 40).ok().and_then(|client| self.registry.find(client));
        if let Some(sender) = sender {
            sender.push(&Frame::Answer { number: token & ((1 << 40) - 1) });
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let acceptor = TlsAcceptor::from(Arc::new(tls(&options.folder)?));
    let disk = match options.mode {
        Mode::Relay => None,
        Mode::Sqlite => Some(Disk::open(&options.folder).context("the table")?),
    };
    let floor = Arc::new(Floor { registry: Registry::default(), disk });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "ready {}", listener.local_addr()?)?;
        out.flush()?;
    }
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(accept(Arc::clone(&floor), acceptor.clone(), stream));
    }
}

async fn accept(floor: Arc<Floor>, acceptor: TlsAcceptor, stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    Connection::new(floor, stream).serve().await
}

/// A certificate of its own for `localhost`.
fn tls(folder: &std::path::Path) -> anyhow::Result<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write(folder.join("floor.pem"), made.cert.pem())?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?)
}
