//! The command line: every command and what it takes.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use uuid::Uuid;

use crate::{
    config::{self, Config},
    push_command::Which,
};

/// A Signal server that people can run themselves.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
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
    /// See whether the mail server takes messages.
    #[command(subcommand)]
    Mail(Mail),
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
pub(crate) enum Invite {
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
pub(crate) enum Registration {
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
pub(crate) enum Audit {
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
pub(crate) enum Mail {
    /// Send a message to an address now, and print what the mail server answered.
    Test {
        #[command(flatten)]
        place: Place,
        /// The address.
        address: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum Sessions {
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
pub(crate) enum Push {
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
pub(crate) struct PushDevice {
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
pub(crate) enum Keys {
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
pub(crate) enum Rotate {
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
pub(crate) struct Place {
    /// Configuration file (TOML); without one, everything is as by default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Place {
    /// Its configuration, the command line's data folder winning.
    pub(crate) fn config(self) -> Result<Config> {
        let mut config = config::read(self.config.as_deref())?;
        if let Some(data) = self.data {
            config.data = data;
        }
        Ok(config)
    }
}
