//! Whether a log is whole.

use protocol::ambient::Timestamp;

use crate::{
    chain::{ChainKey, Head, Mac, Purpose},
    record::Record,
};

/// Where a log begins, after its older records have expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The last record that has expired.
    pub head: Head,
    /// When it was removed.
    pub at: Timestamp,
    /// Shows that the server removed it.
    pub signature: Mac,
}

/// What is wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The beginning was not cut by the server.
    #[error("the beginning of the log was not cut off by the server")]
    ForgedCut,
    /// Records are missing between two.
    #[error("records {after} to {found} do not follow each other: what was between them is gone")]
    Gap {
        /// The last that is there.
        after: u64,
        /// The next that is there.
        found: u64,
    },
    /// A record, or one before it, is not as it was written.
    #[error("record {seq} is not what was written there, or does not follow what is before it")]
    Altered {
        /// Its place.
        seq: u64,
    },
    /// The log ends before a place that it is known to have reached.
    #[error("the log ends with record {last}, and had reached record {known}: its end is gone")]
    Truncated {
        /// The last that is there.
        last: u64,
        /// What it had reached.
        known: u64,
    },
    /// At a known place the log is not as it was.
    #[error("record {seq} is not the one that was there: this is another log, or it was written anew")]
    Rewritten {
        /// The place.
        seq: u64,
    },
}

/// Walks a log from its beginning to its end.
#[derive(Debug)]
pub struct Verifier<'a> {
    key: &'a ChainKey,
    head: Head,
    begin: u64,
    /// Places the log is known to have reached, sorted; those that were passed are gone.
    known: Vec<Head>,
}

impl<'a> Verifier<'a> {
    /// Begins where the log does. `known` are heads from elsewhere that the log must contain; those that have expired
    /// since cannot be checked and are passed over.
    pub fn new(key: &'a ChainKey, cut: Option<Cut>, mut known: Vec<Head>) -> Result<Self, Broken> {
        let head = match cut {
            None => key.genesis(),
            Some(Cut { head, at, signature })
                if key.accepts(Purpose::Cut, head, at.as_millis(), signature) =>
            {
                head
            }
            Some(_) => return Err(Broken::ForgedCut),
        };
        known.sort_by_key(|known| std::cmp::Reverse(known.seq));
        let mut verifier = Self { key, head, begin: head.seq, known };
        verifier.pass()?;
        Ok(verifier)
    }

    /// Takes the next record.
    pub fn next(&mut self, record: &Record) -> Result<(), Broken> {
        let expected = self.key.link(self.head, &record.entry.to_bytes());
        if record.seq != expected.seq {
            return Err(Broken::Gap { after: self.head.seq, found: record.seq });
        }
        if record.mac != expected.mac {
            return Err(Broken::Altered { seq: record.seq });
        }
        self.head = expected;
        self.pass()
    }

    /// There are no more records: answers where the log ends and how many records it has.
    pub fn finish(self) -> Result<(Head, u64), Broken> {
        match self.known.first() {
            Some(known) => Err(Broken::Truncated { last: self.head.seq, known: known.seq }),
            None => Ok((self.head, self.head.seq - self.begin)),
        }
    }

    /// Compares known places with the one just reached.
    fn pass(&mut self) -> Result<(), Broken> {
        while let Some(known) = self.known.pop_if(|known| known.seq <= self.head.seq) {
            if known.seq == self.head.seq && known.mac != self.head.mac {
                return Err(Broken::Rewritten { seq: known.seq });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Entry;

    fn entry(number: u64) -> Entry {
        Entry {
            at: Timestamp::from_millis(number),
            since: None,
            count: 1,
            by: "operator".into(),
            action: "test".into(),
            on: Some(format!("key:{number}").into()),
            outcome: "success".into(),
            detail: None,
            network: None,
        }
    }

    fn log(key: &ChainKey, count: u64) -> Vec<Record> {
        let mut head = key.genesis();
        (1..=count)
            .map(|number| {
                head = key.link(head, &entry(number).to_bytes());
                Record { seq: head.seq, entry: entry(number), mac: head.mac }
            })
            .collect()
    }

    fn verify(log: &[Record], cut: Option<Cut>, known: Vec<Head>) -> Result<(Head, u64), Broken> {
        let key = ChainKey::new([1; 32]);
        let mut verifier = Verifier::new(&key, cut, known)?;
        log.iter().try_for_each(|record| verifier.next(record))?;
        verifier.finish()
    }

    fn head(record: &Record) -> Head {
        Head { seq: record.seq, mac: record.mac }
    }

    #[test]
    fn a_whole_log_is_whole() {
        let log = log(&ChainKey::new([1; 32]), 5);
        let known = vec![head(&log[4]), ChainKey::new([1; 32]).genesis(), head(&log[2])];
        assert_eq!(verify(&log, None, known), Ok((head(&log[4]), 5)));
        assert_eq!(verify(&[], None, vec![]).unwrap().1, 0);
    }

    #[test]
    fn whatever_is_done_to_a_record_shows() {
        let whole = log(&ChainKey::new([1; 32]), 5);
        for index in 0..whole.len() {
            let changed = |change: &dyn Fn(&mut Entry)| {
                let mut log = whole.clone();
                change(&mut log[index].entry);
                verify(&log, None, vec![])
            };
            let altered = Err(Broken::Altered { seq: whole[index].seq });
            assert_eq!(changed(&|entry| entry.by = "server".into()), altered);
            assert_eq!(changed(&|entry| entry.count += 1), altered);
            assert_eq!(changed(&|entry| entry.network = Some("x".into())), altered);
            assert_eq!(changed(&|entry| entry.at = Timestamp::from_millis(9)), altered);
        }
    }

    #[test]
    fn removing_adding_and_swapping_show() {
        let key = ChainKey::new([1; 32]);
        let whole = log(&key, 5);
        let mut log = whole.clone();
        log.remove(2);
        assert_eq!(verify(&log, None, vec![]), Err(Broken::Gap { after: 2, found: 4 }));
        assert_eq!(verify(&whole[1..], None, vec![]), Err(Broken::Gap { after: 0, found: 2 }));

        // Renumbered, so that no gap shows.
        for record in &mut log[2..] {
            record.seq -= 1;
        }
        assert_eq!(verify(&log, None, vec![]), Err(Broken::Altered { seq: 3 }));

        let mut log = whole.clone();
        log.swap(1, 2);
        assert!(verify(&log, None, vec![]).is_err());

        // By somebody with another key.
        let other = ChainKey::new([2; 32]);
        let mut log = whole;
        let forged = other.link(head(&log[4]), &entry(6).to_bytes());
        log.push(Record { seq: 6, entry: entry(6), mac: forged.mac });
        assert_eq!(verify(&log, None, vec![]), Err(Broken::Altered { seq: 6 }));
    }

    #[test]
    fn an_end_that_is_gone_shows_against_a_checkpoint() {
        let log = log(&ChainKey::new([1; 32]), 5);
        assert!(verify(&log[..3], None, vec![]).is_ok(), "by itself a shorter log is whole");
        let known = vec![head(&log[0]), head(&log[4])];
        assert_eq!(verify(&log[..3], None, known), Err(Broken::Truncated { last: 3, known: 5 }));
        assert_eq!(verify(&[], None, vec![head(&log[1])]), Err(Broken::Truncated { last: 0, known: 2 }));
    }

    #[test]
    fn another_history_shows_against_a_head_from_elsewhere() {
        let key = ChainKey::new([1; 32]);
        let log = log(&key, 5);
        let mut another = key.genesis();
        for number in 10..13 {
            another = key.link(another, &entry(number).to_bytes());
        }
        assert_eq!(verify(&log, None, vec![another]), Err(Broken::Rewritten { seq: 3 }));
    }

    #[test]
    fn what_has_expired_leaves_a_chain_that_can_be_verified() {
        let key = ChainKey::new([1; 32]);
        let log = log(&key, 5);
        let at = Timestamp::from_millis(77);
        let cut = |head: Head| Cut { head, at, signature: key.sign(Purpose::Cut, head, 77) };
        let known = vec![head(&log[0]), head(&log[4])];
        assert_eq!(verify(&log[2..], Some(cut(head(&log[1]))), known), Ok((head(&log[4]), 3)));
        let wrong = Head { seq: 2, mac: log[0].mac };
        assert_eq!(verify(&log[2..], Some(cut(wrong)), vec![]), Err(Broken::Altered { seq: 3 }));
        let forged = Cut { signature: log[0].mac, ..cut(head(&log[1])) };
        assert_eq!(verify(&log[2..], Some(forged), vec![]), Err(Broken::ForgedCut));
    }
}
