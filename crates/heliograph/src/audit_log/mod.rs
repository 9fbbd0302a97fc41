//! The audit log as the program handles it: `heliograph audit`, what commands write into it, and where its checkpoint lies.

mod checkpoint;
mod export;
mod operator;
mod verify;

use anyhow::{Context, Result};
use store::sqlite::AuditReader;

use crate::{config::Config, secrets::Secrets, wiring::AUDIT_FILE};

pub(crate) use checkpoint::Checkpoints;
pub(crate) use export::{Filter, export, parse_moment};
pub(crate) use operator::{CommandTrail, record};
pub(crate) use verify::{head, verify};

/// Records read at once.
const PAGE: usize = 1000;

fn open(config: &Config) -> Result<AuditReader> {
    let path = config.data.join(AUDIT_FILE);
    AuditReader::open(&path, Secrets::of(config).vault()?)
        .with_context(|| format!("the audit log {} cannot be read", path.display()))
}
