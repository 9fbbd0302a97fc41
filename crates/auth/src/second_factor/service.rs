//! Setting up second factors, proving them, looking after them.

use std::{fmt, sync::Arc, time::Duration};

use limits::{LimitId, RateLimits, RetryAfter};
use protocol::{
    Aci,
    ambient::{Clock, Entropy, StorageError},
};

use super::{
    FACTORS_MAX, Factor, FactorId, FactorKind, FactorSecret, Label, TOTP_KEYS_MAX,
    passkeys::{PasskeyOffer, Purpose},
    recovery::{CODES, RecoveryCode},
    store::{AddOutcome, Advance, Factors, NewFactor, PendingTotp, SecondFactorStore},
    totp::{OneTimePassword, TotpKey},
    webauthn::{Challenge, Rejected, RelyingParty},
};
use crate::{
    audit::{Action, AuditTrail, Detail},
    pending::Pending,
};

/// How long a key waits to be confirmed, as in Signal's service.
pub const PENDING_LIFE: Duration = Duration::from_hours(24);

/// How long a challenge waits for a passkey: time enough to find it.
pub const CHALLENGE_LIFE: Duration = Duration::from_mins(5);

/// Second factors of accounts.
pub struct SecondFactors(pub(super) Inner);

/// What [`SecondFactors`] are made of.
pub struct SecondFactorParts {
    /// Remembers them.
    pub store: Arc<dyn SecondFactorStore>,
    /// Who passkeys belong to.
    pub relying_party: RelyingParty,
    /// Told of what happens.
    pub audit: Arc<dyn AuditTrail>,
    /// How often somebody may do what.
    pub limits: Arc<RateLimits>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws keys and challenges.
    pub entropy: Arc<dyn Entropy>,
}

pub(super) struct Inner {
    pub(super) store: Arc<dyn SecondFactorStore>,
    pub(super) relying_party: RelyingParty,
    pub(super) challenges: Pending<Challenge, Purpose>,
    pub(super) sign_in_challenges: Pending<Challenge, Purpose>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) audit: Arc<dyn AuditTrail>,
    limits: Arc<RateLimits>,
}

/// Why something about a second factor was not done.
#[derive(Debug, thiserror::Error)]
pub enum FactorError {
    /// There is no such account any more.
    #[error("the account is gone")]
    Gone,
    /// The account has as many keys for one-time passwords as it may.
    #[error("too many keys for one-time passwords")]
    TooManyTotpKeys,
    /// The account has as many factors as it may.
    #[error("too many factors")]
    TooMany,
    /// The proof is wrong, was used before, comes too late, or is of nothing the account has.
    #[error("not verified")]
    NotVerified,
    /// Signal's passkeys are only for accounts without a number.
    #[error("the account has a number")]
    HasNumber,
    /// Too many attempts.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<Rejected> for FactorError {
    fn from(rejected: Rejected) -> Self {
        tracing::debug!(reason = %rejected, "a passkey was not accepted");
        Self::NotVerified
    }
}

/// By which factors an account may show that it is itself.
#[derive(Clone, Debug)]
pub struct VerificationOffer {
    /// By a one-time password.
    pub has_totp: bool,
    /// By a passkey.
    pub passkeys: Option<PasskeyOffer>,
    /// By one of so many recovery codes.
    pub recovery_codes: usize,
}

impl VerificationOffer {
    /// Whether the account asks for any of them at all.
    pub fn is_asked(&self) -> bool {
        self.has_totp || self.passkeys.is_some()
    }
}

impl SecondFactors {
    /// A service made of these parts.
    pub fn new(parts: SecondFactorParts) -> Self {
        let SecondFactorParts { store, relying_party, audit, limits, clock, entropy } = parts;
        let [challenges, sign_in_challenges] = [(); 2].map(|()| Pending::new(CHALLENGE_LIFE));
        Self(Inner { store, relying_party, challenges, sign_in_challenges, clock, entropy, audit, limits })
    }

    /// Who passkeys belong to.
    pub fn relying_party(&self) -> &RelyingParty {
        &self.0.relying_party
    }

    /// A fresh key for one-time passwords, which counts once a password of it has come back. One that was waiting
    /// for that does no longer.
    pub async fn generate_totp(&self, aci: Aci) -> Result<TotpKey, FactorError> {
        let factors = self.factors(aci).await?;
        if factors.totp_keys().count() >= TOTP_KEYS_MAX {
            return Err(FactorError::TooManyTotpKeys);
        }
        if factors.confirmed.len() >= FACTORS_MAX {
            return Err(FactorError::TooMany);
        }
        let key = TotpKey::random(&*self.0.entropy);
        let pending = PendingTotp { key: key.clone(), expires: self.now().saturating_add(PENDING_LIFE) };
        if self.0.store.set_pending(aci, pending).await? { Ok(key) } else { Err(FactorError::Gone) }
    }

    /// Makes the waiting key count, when a password of it has come. That password is used up.
    pub async fn confirm_totp(
        &self,
        aci: Aci,
        password: OneTimePassword,
        label: Label,
    ) -> Result<FactorId, FactorError> {
        self.0.audit.ready()?;
        let confirmed = self.try_confirm_totp(aci, password, label).await;
        self.note(Action::AddSecondFactor, aci, Detail::Totp, &confirmed).await;
        confirmed
    }

    /// By which factors the account may show that it is itself, with a challenge for its passkeys.
    pub async fn start_verification(&self, aci: Aci) -> Result<VerificationOffer, FactorError> {
        let factors = self.factors(aci).await?;
        Ok(VerificationOffer {
            has_totp: factors.totp_keys().next().is_some(),
            passkeys: self.offer(aci, &factors),
            recovery_codes: factors.recovery_codes,
        })
    }

    /// Checks a one-time password, which is used up if it is right.
    pub async fn verify_totp(&self, aci: Aci, password: OneTimePassword) -> Result<(), FactorError> {
        let verified = self.try_verify_totp(aci, password).await;
        self.note(Action::UseSecondFactor, aci, Detail::Totp, &verified).await;
        verified
    }

    /// Passes if the account asks for no one-time password, or this is one. Answers whether it was used up.
    pub async fn check_registration(
        &self,
        aci: Aci,
        password: Option<OneTimePassword>,
    ) -> Result<bool, FactorError> {
        // An account that has gone meanwhile asks for nothing.
        let Some(factors) = self.0.store.factors(aci).await? else { return Ok(false) };
        if factors.totp_keys().next().is_none() {
            return Ok(false);
        }
        self.verify_totp(aci, password.ok_or(FactorError::NotVerified)?).await.map(|()| true)
    }

    /// Fresh recovery codes, in place of all that there were; nothing if the account has no factor that they could
    /// stand in for. This is the only time that they can be seen.
    pub async fn make_recovery_codes(&self, aci: Aci) -> Result<Option<Vec<RecoveryCode>>, FactorError> {
        self.0.audit.ready()?;
        let codes: Vec<_> = (0..CODES).map(|_| RecoveryCode::random(&*self.0.entropy)).collect();
        let kept = self.0.store.set_recovery_codes(aci, &codes).await?;
        if kept {
            self.0.audit.record(Action::RenewRecoveryCodes.by(aci)).await;
        }
        Ok(kept.then_some(codes))
    }

    /// Checks a recovery code, which is used up if it is right.
    pub async fn use_recovery_code(&self, aci: Aci, code: &RecoveryCode) -> Result<(), FactorError> {
        let used = self.try_recovery_code(aci, code).await;
        self.note(Action::UseSecondFactor, aci, Detail::RecoveryCode, &used).await;
        used
    }

    /// What the account has.
    pub async fn factors(&self, aci: Aci) -> Result<Factors, FactorError> {
        self.0.store.factors(aci).await?.ok_or(FactorError::Gone)
    }

    /// The account's factors, by number.
    pub async fn list(&self, aci: Aci) -> Result<Vec<Factor>, FactorError> {
        Ok(self.factors(aci).await?.confirmed)
    }

    /// Changes what the owner notes about a factor. Answers whether there is such a one.
    pub async fn set_label(&self, aci: Aci, id: FactorId, label: Label) -> Result<bool, FactorError> {
        Ok(self.0.store.set_label(aci, id, label).await?)
    }

    /// Removes a factor, if there is such a one and it is of that kind; answers whether.
    pub async fn remove(
        &self,
        aci: Aci,
        id: FactorId,
        kind: Option<FactorKind>,
    ) -> Result<bool, FactorError> {
        self.0.audit.ready()?;
        let removed = self.0.store.remove(aci, id, kind).await?;
        if removed {
            self.0.audit.record(Action::RemoveSecondFactor.by(aci)).await;
        }
        Ok(removed)
    }

    async fn try_confirm_totp(
        &self,
        aci: Aci,
        password: OneTimePassword,
        label: Label,
    ) -> Result<FactorId, FactorError> {
        self.begin_attempt(aci).await?;
        let now = self.now();
        let pending = self.factors(aci).await?.pending.filter(|pending| now < pending.expires);
        let key = pending.ok_or(FactorError::NotVerified)?.key;
        let step = key.matching_step(password, now, 0).ok_or(FactorError::NotVerified)?;
        self.add(aci, NewFactor { secret: FactorSecret::Totp(key), counter: step, label, at: now }).await
    }

    async fn try_verify_totp(&self, aci: Aci, password: OneTimePassword) -> Result<(), FactorError> {
        self.begin_attempt(aci).await?;
        let (factors, now) = (self.factors(aci).await?, self.now());
        let matching = factors.totp_keys().find_map(|(factor, key)| {
            key.matching_step(password, now, factor.counter).map(|step| (factor, step))
        });
        let (factor, step) = matching.ok_or(FactorError::NotVerified)?;
        self.advance(aci, factor.id, Advance { from: factor.counter, to: step }).await
    }

    async fn try_recovery_code(&self, aci: Aci, code: &RecoveryCode) -> Result<(), FactorError> {
        self.begin_attempt(aci).await?;
        let used = self.0.store.use_recovery_code(aci, code).await?;
        if used { Ok(()) } else { Err(FactorError::NotVerified) }
    }

    /// Writes down what became of it: by which kind of factor, or why not.
    pub(super) async fn note<T>(
        &self,
        action: Action,
        aci: Aci,
        kind: Detail,
        result: &Result<T, FactorError>,
    ) {
        let event = match result {
            Ok(_) => action.by(aci).detail(kind),
            Err(FactorError::RateLimited(_)) => action.refused(aci).detail(Detail::RateLimited),
            Err(FactorError::Storage(_)) => action.failed(aci).detail(kind),
            Err(_) => action.refused(aci).detail(kind),
        };
        self.0.audit.record(event).await;
    }

    pub(super) async fn add(&self, aci: Aci, new: NewFactor) -> Result<FactorId, FactorError> {
        match self.0.store.add(aci, new).await? {
            AddOutcome::Added(id) => Ok(id),
            AddOutcome::TooMany => Err(FactorError::TooMany),
            AddOutcome::NotPending | AddOutcome::Taken => Err(FactorError::NotVerified),
            AddOutcome::NoSuchAccount => Err(FactorError::Gone),
        }
    }

    /// Uses up a proof. If another was quicker, it was the same one, or came at the same moment.
    pub(super) async fn advance(&self, aci: Aci, id: FactorId, advance: Advance) -> Result<(), FactorError> {
        let proved = self.0.store.proved(aci, id, advance).await?;
        if proved { Ok(()) } else { Err(FactorError::NotVerified) }
    }

    /// Counts an attempt that may be a guess: by the second in memory, by the day where it outlives a restart.
    async fn begin_attempt(&self, aci: Aci) -> Result<(), FactorError> {
        let check = self.0.limits.check(LimitId::Totp, aci.0.as_bytes(), 1);
        check.map_err(FactorError::RateLimited)?;
        let counted = self.0.store.attempt(aci, self.now()).await?;
        counted.map_err(|wait| FactorError::RateLimited(RetryAfter(wait)))
    }
}

impl fmt::Debug for SecondFactors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondFactors").finish_non_exhaustive()
    }
}
