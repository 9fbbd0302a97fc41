//! What is measured side by side: the server, and the floor in its two modes.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use testkit::{Account, Server, ServerOptions, Target, register_many};

use crate::{
    floor::Floor,
    link::{Link, Party},
    options::Options,
};

/// Connections over which accounts are registered.
const REGISTRARS: usize = 64;
/// Idle sockets and those of the others' turns send nothing for minutes.
const PATIENT: &str = "[gateway]\nsocket_idle_timeout_ms = 3600000\n";
/// Nothing here takes so long, however busy the machine.
const EXIT_TIMEOUT: Duration = Duration::from_mins(1);

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum System {
    Heliograph,
    FloorSqlite,
    FloorRelay,
}

/// A running program and those who may connect to it.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) system: System,
    pub(crate) parties: Vec<Party>,
    process: Process,
}

#[derive(Debug)]
enum Process {
    Server(Box<Server>),
    Floor(Floor),
}

/// How to start a server that is to be measured.
pub(crate) fn server_options(options: &Options) -> ServerOptions {
    let mut server = ServerOptions::unlimited().with_config(PATIENT);
    server.log.clone_from(&options.log);
    server.parent.clone_from(&options.folder);
    server
}

/// Stops the server in good order, so that its next start measures no recovery.
pub(crate) async fn stop(server: &mut Server) -> anyhow::Result<()> {
    server.terminate()?;
    server.exited(EXIT_TIMEOUT).await.map(drop)
}

/// Registers so many accounts.
pub(crate) async fn registered(server: &Server, count: usize) -> anyhow::Result<Vec<Account>> {
    register_many(server, 0, count, REGISTRARS).await.context("registering accounts")
}

impl Contestant {
    /// A fresh server with so many registered accounts.
    pub(crate) async fn server(options: &Options, parties: usize) -> anyhow::Result<Self> {
        let server = Server::start(server_options(options)).await?;
        let accounts = registered(&server, parties).await?;
        Ok(Self::of_server(server, accounts))
    }

    /// A running server and its accounts.
    pub(crate) fn of_server(server: Server, accounts: Vec<Account>) -> Self {
        let parties = accounts.into_iter().map(|account| Party::Account(Box::new(account))).collect();
        Self { system: System::Heliograph, parties, process: Process::Server(Box::new(server)) }
    }

    /// A floor with so many clients.
    pub(crate) fn floor(system: System, options: &Options, parties: usize) -> anyhow::Result<Self> {
        let mode = if system == System::FloorRelay { "relay" } else { "sqlite" };
        let floor = Floor::start(mode, options.folder.as_deref())?;
        let parties = (0..u32::try_from(parties)?).map(Party::Client).collect();
        Ok(Self { system, parties, process: Process::Floor(floor) })
    }

    pub(crate) fn pid(&self) -> u32 {
        match &self.process {
            Process::Server(server) => server.pid(),
            Process::Floor(floor) => floor.pid(),
        }
    }

    pub(crate) fn target(&self) -> &Target {
        match &self.process {
            Process::Server(server) => server.target(),
            Process::Floor(floor) => floor.target(),
        }
    }

    /// Connects that party, with nothing left waiting for it.
    pub(crate) async fn connect(&self, party: &Party) -> anyhow::Result<Link> {
        Link::settled(self.target(), party).await
    }
}
