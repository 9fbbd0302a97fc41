//! `heliograph invite`, `registration` and `codes`: who is let in, and what is passed on to them.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use auth::{
    admission::{
        Admission, Applicant, ApplicationId, Standing,
        invite::{InviteCode, InviteId, InviteTerms},
    },
    audit::{Action, Party},
    verification::WaitingCode,
};
use protocol::{
    PhoneNumber,
    ambient::{Clock, SystemClock, SystemEntropy},
};
use serde::Serialize;
use store::sqlite::{SqliteAdmission, read_waiting_codes};
use uuid::Uuid;

use crate::{
    audit_log,
    beside::{Beside, with_accounts},
    config::Config,
    secrets::Secrets,
    state,
    wiring::ACCOUNTS_FILE,
};

/// Longest life of an invitation, in days.
const DAYS_MAX: u32 = 3650;

/// What `invite create` was told.
pub(crate) struct NewInvitation {
    pub(crate) number: Option<String>,
    pub(crate) uses: u32,
    pub(crate) days: u32,
    pub(crate) note: Option<String>,
}

#[derive(Serialize)]
struct InviteLine {
    id: Uuid,
    bound: bool,
    state: &'static str,
    uses: u32,
    used: u32,
    wrong_codes: u32,
    created: u64,
    expires: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    accounts: Vec<String>,
}

#[derive(Serialize)]
struct ApplicationLine {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    standing: &'static str,
    time: u64,
}

#[derive(Serialize)]
struct CodeLine {
    to: String,
    code: String,
    transport: &'static str,
    time: u64,
}

/// Makes an invitation, and says what is to be handed on.
pub(crate) async fn create_invite(config: &Config, new: NewInvitation) -> Result<String> {
    if new.days == 0 || new.days > DAYS_MAX {
        bail!("an invitation is good for 1 to {DAYS_MAX} days");
    }
    let number: Option<PhoneNumber> = match &new.number {
        Some(text) => Some(text.parse().context("that is not a number such as +15550100001")?),
        None => None,
    };
    if new.uses == 0 || (number.is_some() && new.uses > 1) {
        bail!("an invitation makes one account or more, and one that is bound to a number makes one");
    }
    let life = Duration::from_hours(24 * u64::from(new.days));
    let terms = InviteTerms { number, uses: new.uses, life, note: new.note };
    with_admission(config, async |admission| {
        let (invite, code) = admission.create_invite(terms).await?;
        Ok(describe(config, invite.id, &code, &invite.expires.to_rfc3339()))
    })
    .await
}

fn describe(config: &Config, InviteId(id): InviteId, code: &InviteCode, expires: &str) -> String {
    let mut text = format!("invitation {id}\ncode       {}\nexpires    {expires}\n", code.as_str());
    // Writing to a string does not fail.
    if code.is_bound() {
        text.push_str("           typed in the app as the verification code, after asking for one");
    } else {
        let _ = write!(
            text,
            "link       {}/invite#{}\n           or typed in an app as the verification code, after asking for one",
            server_url(config),
            code.as_str()
        );
    }
    text
}

fn server_url(config: &Config) -> String {
    if !config.public_url.is_empty() {
        return config.public_url.trim_end_matches('/').to_owned();
    }
    format!("https://{}", state::read(&config.data).unwrap_or(config.listen))
}

/// A line of JSON for each invitation, in the order in which they were made.
pub(crate) async fn invites(config: &Config) -> Result<Vec<String>> {
    let now = SystemClock.now();
    let invites = with_admission(config, async |admission| Ok(admission.invites().await?)).await?;
    let lines = invites.into_iter().map(|invite| {
        let state = if invite.revoked.is_some() {
            "revoked"
        } else if invite.used >= invite.uses {
            "used"
        } else if invite.expires <= now {
            "expired"
        } else if invite.bound && invite.wrong_codes >= auth::admission::INVITE_GUESSES_MAX {
            "void"
        } else {
            "good"
        };
        serde_json::to_string(&InviteLine {
            id: invite.id.0,
            bound: invite.bound,
            state,
            uses: invite.uses,
            used: invite.used,
            wrong_codes: invite.wrong_codes,
            created: invite.created.as_millis(),
            expires: invite.expires.as_millis(),
            note: invite.note,
            accounts: invite.accounts.iter().map(ToString::to_string).collect(),
        })
        .context("an invitation cannot be written as JSON")
    });
    lines.collect()
}

/// Takes an invitation back.
pub(crate) async fn revoke_invite(config: &Config, id: Uuid) -> Result<String> {
    with_admission(config, async |admission| {
        if !admission.revoke_invite(InviteId(id)).await? {
            bail!("there is no such invitation that could be revoked");
        }
        Ok(format!("invitation {id} is revoked; accounts it has made stay"))
    })
    .await
}

/// A line of JSON for each who asked to be let in, the longest waiting first.
pub(crate) async fn applications(config: &Config) -> Result<Vec<String>> {
    let found = with_admission(config, async |admission| Ok(admission.applications().await?)).await?;
    let lines = found.into_iter().map(|application| {
        let (number, name) = match application.applicant {
            Applicant::Number(number) => (Some(number.as_str().to_owned()), None),
            Applicant::Name(name) => (None, Some(name)),
        };
        let standing = match application.standing {
            Standing::Pending => "pending",
            Standing::Approved(_) => "approved",
            Standing::Refused => "refused",
        };
        let time = application.asked.as_millis();
        serde_json::to_string(&ApplicationLine { id: application.id.0, number, name, standing, time })
            .context("an application cannot be written as JSON")
    });
    lines.collect()
}

/// Lets somebody in who waits, or turns them away.
pub(crate) async fn decide(config: &Config, id: Uuid, approve: bool) -> Result<String> {
    with_admission(config, async |admission| {
        if !admission.decide(ApplicationId(id), approve).await? {
            bail!("nobody of that id waits");
        }
        Ok(if approve {
            format!("{id} is approved: asking again, they are let in")
        } else {
            format!("{id} is refused")
        })
    })
    .await
}

/// A line of JSON for each code that waits to be handed in, in the order in which they were asked for.
pub(crate) async fn codes(config: &Config) -> Result<Vec<String>> {
    let path = config.data.join(ACCOUNTS_FILE);
    let vault = Secrets::of(config).vault()?;
    let codes = read_waiting_codes(&path, &vault, SystemClock.now())
        .with_context(|| format!("the store {} cannot be read", path.display()))?;
    if !codes.is_empty() {
        audit_log::record(config, Action::ShowCodes.by(Party::Operator)).await?;
    }
    let lines = codes.into_iter().map(|WaitingCode { number, code, transport, asked }| {
        let (to, code) = (number.as_str().to_owned(), code.as_str().to_owned());
        let line = CodeLine { to, code, transport: transport.name(), time: asked.as_millis() };
        serde_json::to_string(&line).context("a code cannot be written as JSON")
    });
    lines.collect()
}

/// Works on admissions beside a server that may be running.
async fn with_admission<T>(config: &Config, work: impl AsyncFnOnce(&Admission) -> Result<T>) -> Result<T> {
    with_accounts(config, async |Beside { database, vault, trail }| {
        let admission = Admission::new(
            config.registration.policy(false),
            Arc::new(SqliteAdmission::new(Arc::clone(database), vault.clone())),
            trail.clone(),
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
        );
        work(&admission).await
    })
    .await
}
