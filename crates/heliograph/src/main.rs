//! The program: command line, configuration, wiring, start and stop.

mod access_keys;
mod admission;
mod audit_log;
mod background;
mod beside;
mod cli;
mod client_config;
mod config;
mod mail_command;
mod metrics;
mod push_command;
mod reports;
mod runtime;
mod secrets;
mod sender_keys;
mod serve;
mod sessions;
mod state;
mod wiring;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use auth::audit::{Action, AuditEvent, Detail, Party};
use clap::Parser;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use admission::NewInvitation;
use cli::{Audit, Cli, Command, Invite, Keys, Mail, Push, Registration, Rotate, Sessions};
use config::{Config, LogFormat};
use push_command::Subscription;
use runtime::runtime;
use secrets::Secrets;
use wiring::Stores;

/// Under load the C library's allocator takes a fifth more processor time (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
        Command::Mail(Mail::Test { place, address }) => {
            print(&runtime()?.block_on(mail_command::test(&place.config()?, &address))?)
        }
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
