//! `heliograph audit verify` and `head`.

use std::fmt::Write as _;

use anyhow::{Context, Result, anyhow, bail};
use audit::{
    chain::Head,
    verify::{Broken, Verifier},
};

use super::{PAGE, checkpoint, open};
use crate::config::Config;

/// Reads the whole log and says that it is whole, or what is wrong with it. `heads` were noted elsewhere, and must be in
/// it.
pub(crate) fn verify(config: &Config, heads: &[String]) -> Result<String> {
    let mut known: Vec<Head> = heads
        .iter()
        .map(|text| text.parse().with_context(|| format!("`{text}` cannot be understood")))
        .collect::<Result<_>>()?;
    // The checkpoint is read before the first record: it may only be behind what is read of the log.
    let log = open(config)?;
    let checkpoint = checkpoint::read(config, log.key())?;
    let head = log.head()?;
    match checkpoint {
        Some(checkpoint) => known.push(checkpoint.head),
        None if head.seq > 0 => {
            bail!("the checkpoint is missing: whether the end of the log is there cannot be told")
        }
        None => {}
    }
    let broken = |broken: Broken| anyhow!("the audit log is not whole: {broken}");
    let cut = log.cut()?;
    let mut verifier = Verifier::new(log.key(), cut, known).map_err(broken)?;
    let mut after = cut.map_or(0, |cut| cut.head.seq);
    loop {
        let page = log.read(after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        page.iter().try_for_each(|record| verifier.next(record)).map_err(broken)?;
    }
    let (head, count) = verifier.finish().map_err(broken)?;
    let mut text = format!("the audit log is whole: {count} records, head {}", head.to_text());
    if let Some(cut) = cut {
        // Writing to a string does not fail.
        let _ = write!(text, "; those up to {} have expired, last on {}", cut.head.seq, cut.at.to_rfc3339());
    }
    Ok(text)
}

/// Where the log ends, for keeping elsewhere.
pub(crate) fn head(config: &Config) -> Result<String> {
    Ok(open(config)?.head()?.to_text())
}
