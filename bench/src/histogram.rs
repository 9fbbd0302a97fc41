//! Latencies, counted in buckets whose width grows with the value.

use std::time::Duration;

use serde::Serialize;

/// Bits of precision: a bucket is at most 1/64 of its value wide.
const PRECISION_BITS: u32 = 6;
const PER_OCTAVE: usize = 1 << PRECISION_BITS;
/// Latencies are kept in microseconds up to 2^30 of them, eighteen minutes; longer ones count as that.
const OCTAVES: usize = 30 - PRECISION_BITS as usize + 1;

/// Counts of latencies.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u32>,
    total: u64,
    sum_us: u64,
    max_us: u64,
}

/// What a reader wants to know of the latencies, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
    pub(crate) mean_us: u64,
    pub(crate) count: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; (OCTAVES + 1) * PER_OCTAVE], total: 0, sum_us: 0, max_us: 0 }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min((1 << 30) - 1);
        self.counts[bucket(us)] += 1;
        self.total += 1;
        self.sum_us += us;
        self.max_us = self.max_us.max(us);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.sum_us += other.sum_us;
        self.max_us = self.max_us.max(other.max_us);
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50_us: self.per_mille(500),
            p90_us: self.per_mille(900),
            p99_us: self.per_mille(990),
            p999_us: self.per_mille(999),
            max_us: self.max_us,
            mean_us: self.sum_us / self.total.max(1),
            count: self.total,
        }
    }

    /// The upper end of the bucket in which that share of all values is reached.
    fn per_mille(&self, share: u64) -> u64 {
        let wanted = (self.total * share).div_ceil(1000);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted && seen > 0 {
                return upper_end(index).min(self.max_us);
            }
        }
        0
    }
}

/// Values below 64 have a bucket each; above, every doubling is split into 64.
fn bucket(us: u64) -> usize {
    let octave = (us | (PER_OCTAVE as u64 - 1)).ilog2() + 1 - PRECISION_BITS;
    let shift = octave.saturating_sub(1);
    let within = usize::try_from(us >> shift).unwrap_or(usize::MAX) & (PER_OCTAVE - 1);
    octave as usize * PER_OCTAVE + within
}

fn upper_end(index: usize) -> u64 {
    let (octave, within) = (index / PER_OCTAVE, (index % PER_OCTAVE) as u64);
    match octave.checked_sub(1) {
        None => within,
        Some(shift) => ((PER_OCTAVE as u64 + within + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_buckets_are_narrow() {
        for us in (0..5_000).chain((12..30).map(|bit| (1 << bit) - 1)).chain((12..30).map(|bit| 1 << bit)) {
            let index = bucket(us);
            let upper = upper_end(index);
            assert!(us <= upper && upper - us <= us / 64, "{us} in {index}, which ends at {upper}");
            assert!(index == 0 || upper_end(index - 1) < us);
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::new();
        for us in 1..=1000 {
            histogram.record(Duration::from_micros(us));
        }
        let found = histogram.percentiles();
        assert!((500..=508).contains(&found.p50_us), "{found:?}");
        assert!((990..=1000).contains(&found.p99_us), "{found:?}");
        assert_eq!((found.max_us, found.count, found.mean_us), (1000, 1000, 500));
    }
}
