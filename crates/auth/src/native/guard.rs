//! Who may try a password, and how soon again.
//!
//! Nobody can be locked out on purpose. Failures count against whoever makes them: against the device where the account
//! knows it, else against the address. What strangers may try together on one account has a bound of its own, which
//! does not hold for devices and addresses that the account knows. Names that nobody has are treated alike.

use std::{sync::Arc, time::Duration};

use limits::{Backoff, BackoffPolicy, Known, LimitId, RateLimits, RetryAfter};
use protocol::{Aci, ambient::Clock};

use super::{device::DeviceIdentifier, username::Username};
use crate::mail::MailAddress;

/// Three mistakes are free; after the fourth one waits a second, and up to a quarter of an hour in the end.
const POLICY: BackoffPolicy = BackoffPolicy {
    free: 3,
    first: Duration::from_secs(1),
    longest: Duration::from_mins(15),
    forget: Duration::from_hours(24),
};

/// From where somebody calls, in the form by which limits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin(pub [u8; 8]);

/// Whom a failure counts against.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Counted {
    Device(Username, Vec<u8>),
    Address(Username, Origin),
    LoggedIn(Aci),
}

/// An attempt that may be made. It has failed until something else is said of it.
#[must_use = "an attempt counts as failed until something else is said of it"]
#[derive(Clone)]
pub(super) struct Attempt {
    counted: Counted,
    /// From where, if it is a log-in.
    origin: Option<(Username, Origin)>,
}

/// Counts attempts.
pub(super) struct Guard {
    failures: Backoff,
    addresses: Known,
    limits: Arc<RateLimits>,
    clock: Arc<dyn Clock>,
}

impl Guard {
    pub(super) fn new(limits: Arc<RateLimits>, clock: Arc<dyn Clock>) -> Self {
        Self {
            failures: Backoff::new(POLICY, Arc::clone(&clock)),
            addresses: Known::default(),
            limits,
            clock,
        }
    }

    /// Lets somebody in who may register another account.
    pub(super) fn registration(&self, origin: Origin) -> Result<(), RetryAfter> {
        self.limits.check(LimitId::NativeRegistration, &origin.0, 1)
    }

    /// Lets somebody in before anything is looked up.
    pub(super) fn knock(&self, origin: Origin) -> Result<(), RetryAfter> {
        self.limits.check(LimitId::LoginAddress, &origin.0, 1)
    }

    /// Begins an attempt to log in. `known` is whether the account knows the device.
    pub(super) fn attempt(
        &self,
        username: &Username,
        device: &DeviceIdentifier,
        known: bool,
        origin: Origin,
    ) -> Result<Attempt, RetryAfter> {
        let counted = if known {
            Counted::Device(username.clone(), device.as_bytes().to_vec())
        } else {
            Counted::Address(username.clone(), origin)
        };
        self.failures.attempt(&counted)?;
        if !known && !self.addresses.contains((username, origin)) {
            let name = username.as_str().as_bytes();
            self.limits
                .check(LimitId::LoginStranger, name, 1)
                .inspect_err(|_| self.failures.void(&counted))?;
        }
        Ok(Attempt { counted, origin: Some((username.clone(), origin)) })
    }

    /// Begins an attempt of somebody who is logged in to show the password once more.
    pub(super) fn attempt_logged_in(&self, aci: Aci) -> Result<Attempt, RetryAfter> {
        let counted = Counted::LoggedIn(aci);
        self.failures.attempt(&counted)?;
        Ok(Attempt { counted, origin: None })
    }

    /// Lets somebody in who asks for another password, before anything is looked up.
    pub(super) fn reset_by(&self, origin: Origin) -> Result<(), RetryAfter> {
        self.limits.check(LimitId::PasswordResetAddress, &origin.0, 1)
    }

    /// Whether a letter with a code for another password may go to that account. What strangers ask for does not count
    /// against addresses from which somebody has logged in.
    pub(super) fn reset(&self, Aci(aci): Aci, username: &Username, origin: Origin) -> Result<(), RetryAfter> {
        if self.addresses.contains((username, origin)) {
            let key = [aci.as_bytes(), &origin.0[..]].concat();
            return self.limits.check(LimitId::PasswordResetKnown, &key, 1);
        }
        self.limits.check(LimitId::PasswordResetStranger, aci.as_bytes(), 1)
    }

    /// Whether an account may wish for that e-mail address: a letter goes there.
    pub(super) fn change_email(&self, Aci(aci): Aci, address: &MailAddress) -> Result<(), RetryAfter> {
        self.limits.check(LimitId::EmailChange, aci.as_bytes(), 1)?;
        self.letter(address)
    }

    /// Whether somebody without an account may prove that e-mail address: a letter goes there.
    pub(super) fn prove_email(&self, origin: Origin, address: &MailAddress) -> Result<(), RetryAfter> {
        self.limits.check(LimitId::EmailProof, &origin.0, 1)?;
        self.letter(address)
    }

    /// Whether a letter may go to an address that nobody has shown to be theirs.
    pub(super) fn letter(&self, address: &MailAddress) -> Result<(), RetryAfter> {
        self.limits.check(LimitId::EmailLetters, address.as_str().as_bytes(), 1)
    }

    /// The password was right.
    pub(super) fn right(&self, attempt: Attempt) {
        self.failures.right(&attempt.counted);
        if let Some((username, origin)) = attempt.origin {
            self.addresses.remember((&username, origin), self.clock.now());
        }
    }

    /// The password was never looked at.
    pub(super) fn void(&self, attempt: &Attempt) {
        self.failures.void(&attempt.counted);
    }
}

#[cfg(test)]
mod tests {
    use protocol::ambient::{ManualClock, Timestamp};

    use super::*;

    const OWNER: Origin = Origin([1; 8]);
    const STRANGER: Origin = Origin([2; 8]);

    fn guard() -> (Guard, ManualClock) {
        let clock = ManualClock::new(Timestamp::from_millis(1_700_000_000_000));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        (Guard::new(Arc::new(RateLimits::new(Arc::clone(&shared), [])), shared), clock)
    }

    fn name(text: &str) -> Username {
        Username::new(text).unwrap()
    }

    fn device(text: &str) -> DeviceIdentifier {
        DeviceIdentifier::new(text.to_owned()).unwrap()
    }

    fn attempt(guard: &Guard, known: bool, origin: Origin) -> Result<Attempt, RetryAfter> {
        guard.attempt(&name("alice"), &device(if known { "phone" } else { "other" }), known, origin)
    }

    #[test]
    fn a_stranger_waits_longer_and_longer_and_nobody_else_does() {
        let (guard, _) = guard();
        while attempt(&guard, false, STRANGER).is_ok() {}
        assert!(attempt(&guard, false, OWNER).is_ok(), "another address");
        assert!(
            attempt(&guard, true, STRANGER).is_ok(),
            "the owner's device, even behind the stranger's address"
        );
        assert!(guard.attempt(&name("bob"), &device("other"), false, STRANGER).is_ok(), "another account");
    }

    #[test]
    fn many_strangers_together_are_bounded_and_the_owner_passes() {
        let (guard, clock) = guard();
        guard.right(attempt(&guard, false, OWNER).unwrap());
        let mut granted = 0;
        for address in 0..10_000_u64 {
            clock.advance(Duration::from_secs(1));
            granted += u32::from(attempt(&guard, false, Origin((address | 1 << 40).to_be_bytes())).is_ok());
        }
        assert!(granted <= 30 + 10_000 / 120, "{granted}");
        assert!(attempt(&guard, false, OWNER).is_ok(), "from an address that the account knows");
        assert!(attempt(&guard, true, Origin([9; 8])).is_ok(), "with a device that the account knows");
    }

    #[test]
    fn a_name_that_nobody_has_is_counted_like_any_other() {
        let (guard, _) = guard();
        let waits = |user: &str| loop {
            if let Err(RetryAfter(wait)) = guard.attempt(&name(user), &device("x"), false, STRANGER) {
                return wait;
            }
        };
        assert_eq!(waits("alice"), waits("nobody"));
    }

    #[test]
    fn who_is_turned_away_for_others_is_not_counted() {
        let (guard, _) = guard();
        for address in 0..40_u64 {
            drop(attempt(&guard, false, Origin((address | 1 << 40).to_be_bytes())));
        }
        for _ in 0..10 {
            let RetryAfter(wait) = attempt(&guard, false, STRANGER).err().unwrap();
            assert!(wait > Duration::from_mins(1), "the bound, not the failures");
        }
        guard.limits.clear(LimitId::LoginStranger, b"alice");
        assert!(attempt(&guard, false, STRANGER).is_ok());
    }
}
