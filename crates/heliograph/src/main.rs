//! The program: command line, configuration, wiring, start and stop.

mod access_keys;
mod admission;
mod audit_log;
mod background;
mod client_config;
mod config;
mod metrics;
mod push_command;
mod reports;
mod secrets;
mod sender_keys;
mod serve;
mod sessions;
mod state;
mod wiring;

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use auth::audit::{Action, AuditEvent, Detail, Party};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};
use uuid::Uuid;

use admission::NewInvitation;
use config::{Config, LogFormat};
use push_command::{Subscription, Which};
use secrets::Secrets;
use wiring::Stores;

/// Under load the C library's allocator takes a fifth more processor time (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A Signal server that people can run themselves.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve {
        #[command(flatten)]
        place: Place,
        /// Listen on this address and port; port 0 takes a free one.
        #[arg(long, value_name = "ADDR:PORT")]
        listen: Option<SocketAddr>,
        /// Make whatever is missing on first start: secrets, a certificate for localhost, an empty store.
        #[arg(long)]
        dev: bool,
    },
    /// Make the secrets and the empty store of a new server. What exists is left alone.
    Init {
        #[command(flatten)]
        place: Place,
        /// Also make a private CA and a certificate for this name or address (may be given several times).
        #[arg(long)]
        name: Vec<String>,
    },
    /// Print what clients must be told to use this server, as JSON.
    ClientConfig {
        #[command(flatten)]
        place: Place,
    },
    /// List and rotate the keys behind sender certificates and access tokens.
    #[command(subcommand)]
    Keys(Keys),
    /// Make, list and revoke invitations.
    #[command(subcommand)]
    Invite(Invite),
    /// List, approve and refuse those who asked to be let in.
    #[command(subcommand)]
    Registration(Registration),
    /// Print the verification codes that wait to be handed in, for passing them on: a line of JSON each.
    Codes {
        #[command(flatten)]
        place: Place,
    },
    /// Check or export the audit log: who came in, who did not, and what was changed.
    #[command(subcommand)]
    Audit(Audit),
    /// Wake devices, and say by which push server.
    #[command(subcommand)]
    Push(Push),
    /// See who is logged in to the native API, and log people out.
    #[command(subcommand)]
    Sessions(Sessions),
    /// Print which accounts were reported as spam: a line of JSON each, the most reported first.
    Reports {
        #[command(flatten)]
        place: Place,
    },
    /// Check the configuration file, or print a commented sample.
    Config {
        #[command(flatten)]
        place: Place,
        /// Print a sample with every key and its default.
        #[arg(long)]
        defaults: bool,
    },
}

#[derive(Subcommand)]
enum Invite {
    /// Make an invitation and print its code, which is shown only here.
    Create {
        #[command(flatten)]
        place: Place,
        /// The only number that can be registered with it; its code then has the six digits of a verification code.
        #[arg(long, value_name = "NUMBER")]
        number: Option<String>,
        /// How many accounts it makes.
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// Days it is good for.
        #[arg(long, default_value_t = 7)]
        days: u32,
        /// What to remember about it.
        #[arg(long)]
        note: Option<String>,
    },
    /// Print every invitation: a line of JSON each.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Take an invitation back. Accounts it has made stay.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// The invitation's id.
        id: Uuid,
    },
}

#[derive(Subcommand)]
enum Registration {
    /// Print who asked to be let in: a line of JSON each, the longest waiting first.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Let somebody in.
    Approve {
        #[command(flatten)]
        place: Place,
        /// The id in the list.
        id: Uuid,
    },
    /// Turn somebody away.
    Refuse {
        #[command(flatten)]
        place: Place,
        /// The id in the list.
        id: Uuid,
    },
}

#[derive(Subcommand)]
enum Audit {
    /// Read the whole log and say whether anything was altered, removed or added.
    Verify {
        #[command(flatten)]
        place: Place,
        /// A head that was noted elsewhere and must be in the log (may be given several times).
        #[arg(long, value_name = "HEAD")]
        head: Vec<String>,
    },
    /// Print where the log ends, for keeping elsewhere.
    Head {
        #[command(flatten)]
        place: Place,
    },
    /// Print the log: a line of JSON for each record, the oldest first.
    Export {
        #[command(flatten)]
        place: Place,
        /// Only records from this moment on: 2026-01-31, 2026-01-31T23:59:59Z or milliseconds since the epoch.
        #[arg(long, value_name = "MOMENT")]
        since: Option<String>,
        /// Only records before this moment.
        #[arg(long, value_name = "MOMENT")]
        until: Option<String>,
    },
}

#[derive(Subcommand)]
enum Sessions {
    /// Print the sessions of an account: a line of JSON each, the longest first.
    List {
        #[command(flatten)]
        place: Place,
        /// The account: its ACI, a UUID, or the username it logs in by.
        account: String,
    },
    /// End all sessions of an account. Its devices stay, and can log in again with the password.
    End {
        #[command(flatten)]
        place: Place,
        /// The account: its ACI, a UUID, or the username it logs in by.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        account: Option<String>,
        /// The sessions of everybody.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Subcommand)]
enum Push {
    /// Push to a device now, and print what its provider answered.
    Test {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        which: PushDevice,
    },
    /// Make a device reachable by Web Push (`UnifiedPush`), in place of what it was reached by.
    Register {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        which: PushDevice,
        /// Where the push server takes messages for the device.
        endpoint: String,
        /// The device's public key, in base64url.
        p256dh: String,
        /// The device's secret, in base64url.
        auth: String,
    },
    /// Make a device unreachable by Web Push.
    Unregister {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        which: PushDevice,
    },
}

/// Which device is pushed to.
#[derive(Args)]
struct PushDevice {
    /// The account: its ACI, a UUID.
    account: String,
    /// The device's number; 1 is the primary.
    device: u32,
}

impl From<PushDevice> for Which {
    fn from(PushDevice { account, device }: PushDevice) -> Self {
        Self { account, device }
    }
}

#[derive(Subcommand)]
enum Keys {
    /// Show ids, dates and public keys.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Replace a key by a new one.
    #[command(subcommand)]
    Rotate(Rotate),
}

#[derive(Subcommand)]
enum Rotate {
    /// Issue a new server certificate under the newest trust root. Sender certificates stay good to their end.
    SenderCertificate {
        #[command(flatten)]
        place: Place,
        /// The private half of the trust root, if it is not in the secrets folder.
        #[arg(long, value_name = "FILE")]
        trust_root: Option<PathBuf>,
    },
    /// Make a new key to sign access tokens with. Tokens signed before stay good to their end.
    AccessToken {
        #[command(flatten)]
        place: Place,
        /// Tokens signed before are no longer good: the former key may have been read.
        #[arg(long)]
        at_once: bool,
    },
    /// Make a new trust root. It is published at once, and signs with the next server certificate.
    SenderTrustRoot {
        #[command(flatten)]
        place: Place,
    },
}

/// Which server is meant.
#[derive(Args)]
struct Place {
    /// Configuration file (TOML); without one, everything is as by default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Place {
    fn config(self) -> Result<Config> {
        let mut config = config::read(self.config.as_deref())?;
        if let Some(data) = self.data {
            config.data = data;
        }
        Ok(config)
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Before logging is set up, and for people: the whole chain, without a backtrace.
            let _ = writeln!(io::stderr(), "heliograph: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve { place, listen, dev } => {
            let mut config = place.config()?;
            config.listen = listen.unwrap_or(config.listen);
            start_logging(&config)?;
            runtime()?.block_on(serve::serve(config, dev))
        }
        Command::Init { place, name } => {
            let config = place.config()?;
            Secrets::of(&config).make_missing(&name)?;
            let stores = Stores::open(&config, true)?;
            let runtime = runtime()?;
            runtime.block_on(stores.close());
            drop(runtime);
            note(&config, Action::Initialise.by(Party::Operator))?;
            print(&format!("{} is ready for `heliograph serve`", config.data.display()))
        }
        Command::ClientConfig { place } => print(&client_config::json(&place.config()?)?),
        Command::Keys(command) => print(&keys(command)?),
        Command::Invite(command) => invite(command),
        Command::Registration(command) => registration(command),
        Command::Codes { place } => {
            let codes = runtime()?.block_on(admission::codes(&place.config()?))?;
            codes.iter().try_for_each(|line| print(line))
        }
        Command::Audit(command) => audit(command),
        Command::Push(command) => print(&push(command)?),
        Command::Sessions(command) => sessions(command),
        Command::Reports { place } => {
            reports::json_lines(&place.config()?)?.iter().try_for_each(|line| print(line))
        }
        Command::Config { defaults: true, .. } => print(config::sample().trim_end()),
        Command::Config { place, defaults: false } => {
            place.config()?;
            print("the configuration is fine")
        }
    }
}

fn invite(command: Invite) -> Result<()> {
    let runtime = runtime()?;
    match command {
        Invite::Create { place, number, uses, days, note } => {
            let new = NewInvitation { number, uses, days, note };
            print(&runtime.block_on(admission::create_invite(&place.config()?, new))?)
        }
        Invite::List { place } => {
            let lines = runtime.block_on(admission::invites(&place.config()?))?;
            lines.iter().try_for_each(|line| print(line))
        }
        Invite::Revoke { place, id } => {
            print(&runtime.block_on(admission::revoke_invite(&place.config()?, id))?)
        }
    }
}

fn registration(command: Registration) -> Result<()> {
    let runtime = runtime()?;
    match command {
        Registration::List { place } => {
            let lines = runtime.block_on(admission::applications(&place.config()?))?;
            lines.iter().try_for_each(|line| print(line))
        }
        Registration::Approve { place, id } => {
            print(&runtime.block_on(admission::decide(&place.config()?, id, true))?)
        }
        Registration::Refuse { place, id } => {
            print(&runtime.block_on(admission::decide(&place.config()?, id, false))?)
        }
    }
}

fn sessions(command: Sessions) -> Result<()> {
    let runtime = runtime()?;
    match command {
        Sessions::List { place, account } => {
            let lines = runtime.block_on(sessions::list(&place.config()?, &account))?;
            lines.iter().try_for_each(|line| print(line))
        }
        Sessions::End { place, account, .. } => {
            print(&runtime.block_on(sessions::end(&place.config()?, account.as_deref()))?)
        }
    }
}

fn audit(command: Audit) -> Result<()> {
    match command {
        Audit::Verify { place, head } => print(&audit_log::verify(&place.config()?, &head)?),
        Audit::Head { place } => print(&audit_log::head(&place.config()?)?),
        Audit::Export { place, since, until } => {
            let moment = |text: Option<String>| text.map(|text| audit_log::parse_moment(&text)).transpose();
            let filter = audit_log::Filter { since: moment(since)?, until: moment(until)? };
            audit_log::export(&place.config()?, filter, &mut io::stdout().lock())
        }
    }
}

fn keys(command: Keys) -> Result<String> {
    match command {
        Keys::List { place } => {
            let secrets = Secrets::of(&place.config()?);
            Ok(format!("{}\n{}", sender_keys::list(&secrets)?, access_keys::list(&secrets)?))
        }
        Keys::Rotate(Rotate::SenderCertificate { place, trust_root }) => {
            let config = place.config()?;
            let said = sender_keys::rotate_certificate(&Secrets::of(&config), trust_root.as_deref())?;
            note(&config, Action::RotateKey.by(Party::Operator).detail(Detail::SenderCertificate))
                .map(|()| said)
        }
        Keys::Rotate(Rotate::AccessToken { place, at_once }) => {
            let config = place.config()?;
            let said = access_keys::rotate(&Secrets::of(&config), at_once)?;
            note(&config, Action::RotateKey.by(Party::Operator).detail(Detail::TokenKey)).map(|()| said)
        }
        Keys::Rotate(Rotate::SenderTrustRoot { place }) => {
            let config = place.config()?;
            let said = sender_keys::rotate_trust_root(&Secrets::of(&config))?;
            note(&config, Action::RotateKey.by(Party::Operator).detail(Detail::SenderTrustRoot))
                .map(|()| said)
        }
    }
}

/// Writes what a command did into the audit log.
fn note(config: &Config, event: AuditEvent) -> Result<()> {
    runtime()?.block_on(audit_log::record(config, event))
}

fn push(command: Push) -> Result<String> {
    match command {
        Push::Test { place, which } => {
            runtime()?.block_on(push_command::test(&place.config()?, &which.into()))
        }
        Push::Register { place, which, endpoint, p256dh, auth } => {
            let subscription = Subscription { endpoint, p256dh, auth };
            runtime()?.block_on(push_command::register(&place.config()?, &which.into(), &subscription))
        }
        Push::Unregister { place, which } => {
            runtime()?.block_on(push_command::unregister(&place.config()?, &which.into()))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot be started")
}

fn start_logging(config: &Config) -> Result<()> {
    let filter: Targets = config.log.filter.parse().context("log.filter cannot be understood")?;
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // A log that cannot be written, as on a full disk, would otherwise be reported on the same standard
        // error, and that failing is a panic.
        .log_internal_errors(false);
    let logs = tracing_subscriber::registry().with(filter);
    match config.log.format {
        LogFormat::Text => logs.with(lines).init(),
        LogFormat::Json => logs.with(lines.json()).init(),
    }
    Ok(())
}

fn print(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}").context("standard output is gone")
}
