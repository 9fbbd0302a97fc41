//! `heliograph audit export`.

use std::io::Write;

use anyhow::{Context, Result, bail};
use protocol::ambient::Timestamp;

use super::{PAGE, open};
use crate::config::Config;

/// Which records are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filter {
    /// Those from this moment on.
    pub(crate) since: Option<Timestamp>,
    /// Those before this moment.
    pub(crate) until: Option<Timestamp>,
}

/// Writes a line of JSON for each record, the oldest first. The server may be running.
pub(crate) fn export(config: &Config, filter: Filter, out: &mut impl Write) -> Result<()> {
    let log = open(config)?;
    let mut after = log.cut()?.map_or(0, |cut| cut.head.seq);
    loop {
        let page = log.read(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.seq;
        for record in page.iter().filter(|record| filter.takes(record.entry.at)) {
            let line = record.to_json().context("a record cannot be written as JSON")?;
            writeln!(out, "{line}").context("the output is gone")?;
        }
    }
}

impl Filter {
    fn takes(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}

/// Reads a moment: milliseconds since the epoch, or `2026-01-31` or `2026-01-31T23:59:59Z` (UTC).
pub(crate) fn parse_moment(text: &str) -> Result<Timestamp> {
    /// The last second of the year 9999.
    const LAST: u64 = 253_402_300_799;

    if let Ok(millis) = text.parse() {
        return Ok(Timestamp::from_millis(millis));
    }
    let wanted = if text.len() == "2026-01-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    // What is printed grows with the moment, so that searching for the text finds the moment, and only a date that
    // exists is found.
    let (mut low, mut high) = (0, LAST);
    while low < high {
        let middle = low + (high - low) / 2;
        if Timestamp::from_millis(middle * 1000).to_rfc3339() < wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let found = Timestamp::from_millis(low * 1000);
    if found.to_rfc3339() != wanted {
        bail!(
            "`{text}` is not a moment such as 2026-01-31, 2026-01-31T23:59:59Z or milliseconds since the epoch"
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_printed() {
        for (text, millis) in [
            ("0", 0),
            ("1700000000123", 1_700_000_000_123),
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ] {
            assert_eq!(parse_moment(text).unwrap(), Timestamp::from_millis(millis), "{text}");
        }
        for text in
            ["", "yesterday", "2023-02-29", "2023-11-14T22:13:20", "2023-11-14T25:13:20Z", "2023-13-01"]
        {
            assert!(parse_moment(text).is_err(), "{text}");
        }
    }
}
