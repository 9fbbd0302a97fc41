//! One record, and its canonical form.

use std::borrow::Cow;

use protocol::ambient::Timestamp;
use serde::Serialize;

use crate::chain::Mac;

/// Layout of the canonical form. Another one is another number, and the old one stays readable.
const VERSION: u8 = 1;

/// Longest text of a field, in bytes; what is longer is cut. All texts are made by the program and are shorter.
const TEXT_MAX: usize = 255;

/// Short text that is usually a constant.
pub type Text = Cow<'static, str>;

/// What a record says, before it has a place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it happened; of several counted together, the last time.
    pub at: Timestamp,
    /// Of several counted together, the first time.
    pub since: Option<Timestamp>,
    /// How many times, 1 or more.
    pub count: u32,
    /// Who did it.
    pub by: Text,
    /// What was done.
    pub action: Text,
    /// To whom or what.
    pub on: Option<Text>,
    /// How it went.
    pub outcome: Text,
    /// Which kind of the action, or why it was refused.
    pub detail: Option<Text>,
    /// The network it came from.
    pub network: Option<Text>,
}

/// A record in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place: 1 for the first, and one more for each.
    pub seq: u64,
    /// What it says.
    pub entry: Entry,
    /// What chains it to the one before.
    pub mac: Mac,
}

impl Entry {
    /// The canonical form: what is chained, and what an engine keeps.
    ///
    /// Version (1 byte), `at` (8, big endian, as all), `count` (4), `since` or 0 (8), then the texts in the order of the
    /// fields, each with its length in front (1), none as a length of 0: no text that there is, is empty.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        bytes.push(VERSION);
        bytes.extend(self.at.as_millis().to_be_bytes());
        bytes.extend(self.count.to_be_bytes());
        bytes.extend(self.since.map_or(0, Timestamp::as_millis).to_be_bytes());
        for text in [
            Some(&self.by),
            Some(&self.action),
            self.on.as_ref(),
            Some(&self.outcome),
            self.detail.as_ref(),
            self.network.as_ref(),
        ] {
            let text = text.map_or("", |text| cut(text));
            bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    /// Reads the canonical form; nothing if it is not one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [VERSION] = take(&mut rest)? else { return None };
        let at = Timestamp::from_millis(u64::from_be_bytes(take(&mut rest)?));
        let count = u32::from_be_bytes(take(&mut rest)?);
        let since = Some(u64::from_be_bytes(take(&mut rest)?)).filter(|since| *since > 0);
        let mut text = || {
            let [len] = take(&mut rest)?;
            let (text, after) = rest.split_at_checked(usize::from(len))?;
            rest = after;
            Some(Some(std::str::from_utf8(text).ok()?.to_owned()).filter(|text| !text.is_empty()))
        };
        let entry = Self {
            at,
            since: since.map(Timestamp::from_millis),
            count,
            by: text()??.into(),
            action: text()??.into(),
            on: text()?.map(Into::into),
            outcome: text()??.into(),
            detail: text()?.map(Into::into),
            network: text()?.map(Into::into),
        };
        rest.is_empty().then_some(entry)
    }
}

/// A record as a line of the export. Times are milliseconds since the epoch.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    time: u64,
    at: String,
    by: &'a str,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<&'a str>,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    #[serde(skip_serializing_if = "is_one")]
    count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    mac: String,
}

impl Record {
    /// One object of JSON, without a line end.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let Entry { at, since, count, by, action, on, outcome, detail, network } = &self.entry;
        serde_json::to_string(&Line {
            seq: self.seq,
            time: at.as_millis(),
            at: at.to_rfc3339(),
            by,
            action,
            on: on.as_deref(),
            outcome,
            detail: detail.as_deref(),
            network: network.as_deref(),
            count: *count,
            since: since.map(Timestamp::as_millis),
            mac: self.mac.to_text(),
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
fn is_one(count: &u32) -> bool {
    *count == 1
}

/// The text up to its longest, at a boundary of characters.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = Text> {
        "[a-z0-9:./-]{1,80}".prop_map(Cow::from)
    }

    fn optional() -> impl Strategy<Value = Option<Text>> {
        proptest::option::of(text())
    }

    proptest! {
        #[test]
        fn the_canonical_form_comes_back(
            (at, since, count) in (any::<u64>(), proptest::option::of(1_u64..), any::<u32>()),
            (by, action, outcome) in (text(), text(), text()),
            (on, detail, network) in (optional(), optional(), optional()),
        ) {
            let (at, since) = (Timestamp::from_millis(at), since.map(Timestamp::from_millis));
            let entry = Entry { at, since, count, by, action, on, outcome, detail, network };
            prop_assert_eq!(Entry::from_bytes(&entry.to_bytes()), Some(entry));
        }

        #[test]
        fn other_bytes_are_refused_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(entry) = Entry::from_bytes(&bytes) {
                prop_assert_eq!(entry.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let entry = Entry {
            at: Timestamp::from_millis(1),
            since: None,
            count: 1,
            by: "ü".repeat(200).into(),
            action: "a".into(),
            on: None,
            outcome: "o".into(),
            detail: None,
            network: None,
        };
        assert_eq!(Entry::from_bytes(&entry.to_bytes()).unwrap().by, "ü".repeat(127));
    }
}
