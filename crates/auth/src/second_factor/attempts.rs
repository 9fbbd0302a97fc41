//! How often somebody may try to prove a factor.

use std::time::Duration;

use protocol::ambient::Timestamp;

/// Wrong answers in a row after which waiting begins.
pub const FREE: u32 = 5;

/// How long the first wait is; each further wrong answer doubles it.
pub const FIRST_WAIT: Duration = Duration::from_secs(30);

/// The longest wait. Whoever has a password and nothing else is left 24 guesses a day, each of which is right
/// once in 160,000 times; whoever the account is of is never kept out for good.
pub const WAIT_MAX: Duration = Duration::from_hours(1);

/// Attempts of one account that have not led to a right answer.
///
/// An attempt is counted before it is judged, so that many at once do not count as one. It takes a password,
/// a proven number or a device of the account to make one, so that a stranger cannot keep anybody out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Attempts since the last right answer.
    pub failures: u32,
    /// Until when there may be no other.
    pub blocked_until: Timestamp,
}

impl Attempts {
    /// The state with one attempt more, or how long to wait before there may be one.
    pub fn begin(self, now: Timestamp) -> Result<Self, Duration> {
        let left = self.blocked_until.saturating_since(now);
        // Further ahead than any wait: the clock was set back, which is nobody's attempt.
        if !left.is_zero() && left <= WAIT_MAX {
            return Err(left);
        }
        let failures = self.failures.saturating_add(1);
        Ok(Self { failures, blocked_until: now.saturating_add(wait_after(failures)) })
    }
}

/// The wait that so many attempts in a row bring, should the last be wrong as well.
fn wait_after(failures: u32) -> Duration {
    match failures.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(16)).min(WAIT_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let mut now = Timestamp::from_millis(1_700_000_000_000);
        let mut attempts = Attempts::default();
        let mut waits = Vec::new();
        for _ in 0..16 {
            attempts = attempts.begin(now).unwrap();
            let wait = attempts.blocked_until.saturating_since(now);
            if !wait.is_zero() {
                assert_eq!(attempts.begin(now), Err(wait));
            }
            waits.push(wait.as_secs());
            now = now.saturating_add(wait);
        }
        assert_eq!(waits, [0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600, 3600]);
    }

    #[test]
    fn a_clock_set_back_keeps_nobody_out() {
        let far = Attempts { failures: 9, blocked_until: Timestamp::from_millis(u64::MAX) };
        let begun = far.begin(Timestamp::from_millis(0)).unwrap();
        assert_eq!(begun, Attempts { failures: 10, blocked_until: Timestamp::from_millis(960_000) });
    }
}
