//! An account gets another phone number, and its devices new keys under the identity of that number.
//!
//! The primary encrypts for each of the account's other devices what it must know. Those messages are recorded with
//! the change itself, since queues are another store: what was changed and answered reaches every device, whatever
//! happens in between.

mod devices;
mod request;
pub mod store;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use limits::{LimitId, RateLimits, RetryAfter};
use protocol::{
    Aci, PhoneNumber, Pni,
    ambient::{Clock, Entropy, StorageError, Timestamp},
    envelope::MAX_CONTENT_LEN,
};

pub use request::{ChangeNumberRequest, DeviceMessage, NewPniPart, NumberEvidence};

use crate::{
    account::{Account, AccountVersion},
    audit::{Action, AuditTrail, Detail},
    registration::lock::{LockCheck, LockRefusal},
    revocation::{QueueClear, Revocations},
    service::Authenticated,
    settings::AccountIdentity,
    store::AccountStore,
    verification::{Proof, VerificationService},
};
use devices::PniParts;
use store::{NewNotice, NoticeContent, NumberChange, NumberChanged, NumberNotice, NumberStore};

/// How often a change is tried again when an account changed between check and change.
const TRIES: usize = 4;

/// How long a message is left to the request that recorded it, before it is delivered in its stead.
const DELIVERY_GRACE: Duration = Duration::from_mins(1);

/// Messages delivered per round of [`ChangeNumberService::finish`], which bounds what one round holds in memory.
const NOTICES_PER_ROUND: usize = 32;

/// Changes the numbers of accounts.
pub struct ChangeNumberService(ChangeNumberParts);

/// What a [`ChangeNumberService`] is made of.
pub struct ChangeNumberParts {
    /// Remembers accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Changes numbers.
    pub numbers: Arc<dyn NumberStore>,
    /// Knows which sessions are verified.
    pub verification: Arc<VerificationService>,
    /// Brings messages to devices.
    pub notices: Arc<dyn NoticeDelivery>,
    /// Told of devices that lose their account.
    pub revocations: Revocations,
    /// What happens is written down there.
    pub audit: Arc<dyn AuditTrail>,
    /// How often somebody may do what.
    pub limits: Arc<RateLimits>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws identities.
    pub entropy: Arc<dyn Entropy>,
}

/// Brings messages of an account's own devices to others of them.
#[async_trait]
pub trait NoticeDelivery: Send + Sync + 'static {
    /// Puts a message into the queue of the device it is for. When this answers it is durable there, or the
    /// device has it.
    async fn deliver(&self, notice: &NumberNotice) -> Result<(), StorageError>;
}

/// How the devices that a client thought of differ from those there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSetMismatch {
    /// Devices that were forgotten.
    pub missing: BTreeSet<u8>,
    /// Devices that do not exist, or must not be told.
    pub extra: BTreeSet<u8>,
}

/// Why a number was not changed. In all cases a verified session stays verified: the client comes back with what
/// was missing.
#[derive(Debug, thiserror::Error)]
pub enum ChangeNumberError {
    /// Only the primary device changes the number.
    #[error("not the primary device")]
    NotPrimary,
    /// The account that called no longer exists.
    #[error("the account is gone")]
    Gone,
    /// The account has no number that could be changed.
    #[error("the account has no number")]
    NoNumber,
    /// That is no phone number.
    #[error("not a phone number")]
    InvalidNumber,
    /// Nothing shows that the number is the client's, or a device is told twice.
    #[error("the request is not complete")]
    Incomplete,
    /// A pre-key is not signed by the new identity key.
    #[error("a signature is wrong")]
    WrongSignature,
    /// The session is not about that number, or is none.
    #[error("the session is not of that number")]
    WrongSession,
    /// The session is not verified.
    #[error("the session is not verified")]
    NotVerified,
    /// The recovery password is wrong.
    #[error("the recovery password is wrong")]
    WrongRecoveryPassword,
    /// The devices are not those of the account.
    #[error("the devices are not those of the account")]
    MismatchedDevices(DeviceSetMismatch),
    /// Devices have been reinstalled.
    #[error("devices have been reinstalled")]
    StaleDevices(BTreeSet<u8>),
    /// A message exceeds [`MAX_CONTENT_LEN`].
    #[error("a message is too large")]
    TooLarge,
    /// The account that holds the number is protected by a registration lock that the client does not know.
    #[error("the number's account is locked")]
    Locked {
        /// Time until the lock no longer holds.
        time_remaining: Duration,
    },
    /// Too many attempts.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<LockRefusal> for ChangeNumberError {
    fn from(refusal: LockRefusal) -> Self {
        match refusal {
            LockRefusal::Locked { time_remaining } => Self::Locked { time_remaining },
            LockRefusal::RateLimited(wait) => Self::RateLimited(wait),
            LockRefusal::Storage(error) => Self::Storage(error),
        }
    }
}

impl ChangeNumberService {
    /// A service made of these parts.
    pub fn new(parts: ChangeNumberParts) -> Self {
        Self(parts)
    }

    /// Gives the caller's account that number. An account that holds it already is deleted.
    ///
    /// When this answers, the change is durable and so are the messages for the account's other devices.
    pub async fn change(
        &self,
        caller: &Authenticated,
        request: ChangeNumberRequest,
    ) -> Result<AccountIdentity, ChangeNumberError> {
        if !caller.device_id.is_primary() {
            return Err(ChangeNumberError::NotPrimary);
        }
        let number: PhoneNumber = request.number.parse().map_err(|_| ChangeNumberError::InvalidNumber)?;
        check_form(&request)?;
        self.0.audit.ready()?;
        let outcome = self.change_to(caller, &number, &request).await;
        if let Err(error) = &outcome {
            let refused = Action::ChangeNumber.refused(caller.address()).on(&number);
            let event = match reason(error) {
                Some(why) => refused.detail(why),
                None => refused,
            };
            self.0.audit.record(event).await;
        }
        outcome
    }

    async fn change_to(
        &self,
        caller: &Authenticated,
        number: &PhoneNumber,
        request: &ChangeNumberRequest,
    ) -> Result<AccountIdentity, ChangeNumberError> {
        let account = self.account(caller.aci).await?;
        // An invitation lets a number in and does not show who holds it: it takes it from nobody.
        let proved =
            holds(&account, number) || self.check_evidence(number, request.evidence.as_ref()).await?;
        for _ in 0..TRIES {
            let account = self.account(caller.aci).await?;
            let parts = devices::check(&account, caller.device_id, request)?;
            let displaces = self.displaced(&account, number, request, proved).await?;
            let change = self.number_change(&account, number.clone(), displaces, parts, caller, request);
            let at = change.at;
            if let NumberChanged::Changed { account, notices } = self.0.numbers.change_number(change).await? {
                self.0.audit.record(Action::ChangeNumber.by(caller.address()).on(number)).await;
                if let Some((aci, _)) = displaces {
                    self.0.audit.record(Action::DeleteAccount.by(caller.address()).on(aci)).await;
                    let clear = QueueClear { aci, device: None, cutoff: at };
                    self.0.revocations.devices_gone(clear).await;
                }
                self.deliver(notices).await;
                return Ok(AccountIdentity::from(&*account));
            }
        }
        Err(StorageError::unavailable("the accounts are changed all the time").into())
    }

    /// Delivers messages whose delivery failed or was cut off. For the start of the program, and from time to time
    /// afterwards.
    pub async fn finish(&self) -> Result<(), StorageError> {
        let grace = u64::try_from(DELIVERY_GRACE.as_millis()).unwrap_or(u64::MAX);
        let before = Timestamp::from_millis(self.0.clock.now().as_millis().saturating_sub(grace));
        loop {
            let notices = self.0.numbers.undelivered(before, NOTICES_PER_ROUND).await?;
            if notices.is_empty() {
                return Ok(());
            }
            for notice in notices {
                self.deliver_one(&notice).await?;
            }
        }
    }

    async fn account(&self, aci: Aci) -> Result<Account, ChangeNumberError> {
        let account = self.0.accounts.account(aci.into()).await?.ok_or(ChangeNumberError::Gone)?;
        if account.number.is_some() { Ok(account) } else { Err(ChangeNumberError::NoNumber) }
    }

    /// Whether the evidence shows that the number is the caller's; evidence that shows nothing is an error.
    async fn check_evidence(
        &self,
        number: &PhoneNumber,
        evidence: Option<&NumberEvidence>,
    ) -> Result<bool, ChangeNumberError> {
        let key = number.as_str().as_bytes();
        self.0.limits.check(LimitId::Registration, key, 1).map_err(ChangeNumberError::RateLimited)?;
        match evidence.ok_or(ChangeNumberError::Incomplete)? {
            NumberEvidence::Session(id) => match self.0.verification.proof(id, number).await? {
                Proof::Verified => Ok(true),
                Proof::Invited(_) => Ok(false),
                Proof::Unverified => Err(ChangeNumberError::NotVerified),
                Proof::Other => Err(ChangeNumberError::WrongSession),
            },
            NumberEvidence::RecoveryPassword(password) => {
                let record = self.0.accounts.number(number).await?;
                let right = record.recovery_password.is_some_and(|hash| password.matches(&hash));
                if right { Ok(true) } else { Err(ChangeNumberError::WrongRecoveryPassword) }
            }
        }
    }

    /// The other account that holds the number, if its registration lock lets it go.
    async fn displaced(
        &self,
        account: &Account,
        number: &PhoneNumber,
        request: &ChangeNumberRequest,
        proved: bool,
    ) -> Result<Option<(Aci, AccountVersion)>, ChangeNumberError> {
        if holds(account, number) {
            return Ok(None);
        }
        let parts = &self.0;
        let record = parts.accounts.number(number).await?;
        let Some(holder) = record.account.filter(|holder| holder.aci != account.aci) else { return Ok(None) };
        if !proved {
            return Err(ChangeNumberError::NotVerified);
        }
        let check = LockCheck {
            accounts: &*parts.accounts,
            revocations: &parts.revocations,
            audit: &*parts.audit,
            limits: &parts.limits,
            now: parts.clock.now(),
        };
        let knew_password = matches!(request.evidence, Some(NumberEvidence::RecoveryPassword(_)));
        check.pass(number, &holder, request.registration_lock.as_ref(), knew_password).await?;
        Ok(Some((holder.aci, holder.version)))
    }

    fn number_change(
        &self,
        account: &Account,
        number: PhoneNumber,
        displaces: Option<(Aci, AccountVersion)>,
        parts: PniParts,
        caller: &Authenticated,
        request: &ChangeNumberRequest,
    ) -> NumberChange {
        let at = self.0.clock.now();
        let notice = |message: &DeviceMessage| {
            let content = NoticeContent {
                source: caller.device_id.get(),
                kind: message.kind as i32,
                ciphertext: message.content.clone(),
                at,
            };
            Some(NewNotice { device_id: u32::from(message.device_id).try_into().ok()?, content })
        };
        NumberChange {
            aci: account.aci,
            version: account.version,
            number,
            displaces,
            new_pni: Pni(self.0.entropy.uuid()),
            identity_key: request.pni_identity_key,
            devices: parts.into_iter().map(|(id, (registration, keys))| (id, registration, keys)).collect(),
            notices: request.messages.iter().filter_map(notice).collect(),
            at,
        }
    }

    /// What fails here is recorded, and left for [`finish`](Self::finish).
    async fn deliver(&self, notices: Vec<NumberNotice>) {
        for notice in notices {
            if let Err(error) = self.deliver_one(&notice).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a device was not told of a new number, and will be later"
                );
            }
        }
    }

    async fn deliver_one(&self, notice: &NumberNotice) -> Result<(), StorageError> {
        self.0.notices.deliver(notice).await?;
        self.0.numbers.delivered(notice.id).await
    }
}

/// Why somebody was refused, as far as the audit trail has a word for it.
fn reason(error: &ChangeNumberError) -> Option<Detail> {
    match error {
        ChangeNumberError::WrongSession | ChangeNumberError::NotVerified => Some(Detail::Session),
        ChangeNumberError::WrongRecoveryPassword => Some(Detail::RecoveryPassword),
        ChangeNumberError::RateLimited(_) => Some(Detail::RateLimited),
        _ => None,
    }
}

fn holds(account: &Account, number: &PhoneNumber) -> bool {
    account.number.as_ref().is_some_and(|held| held.number == *number)
}

/// What can be said of a request without looking anything up.
fn check_form(request: &ChangeNumberRequest) -> Result<(), ChangeNumberError> {
    let told: BTreeSet<_> = request.messages.iter().map(|message| message.device_id).collect();
    if told.len() < request.messages.len() {
        return Err(ChangeNumberError::Incomplete);
    }
    let identity = &request.pni_identity_key;
    let signed = |part: &NewPniPart| {
        part.signed_pre_key.as_ref().is_none_or(|key| key.verify(identity))
            && part.last_resort_pre_key.as_ref().is_none_or(|key| key.verify(identity))
    };
    if !request.devices.values().all(signed) {
        return Err(ChangeNumberError::WrongSignature);
    }
    if request.messages.iter().any(|message| message.content.len() > MAX_CONTENT_LEN) {
        return Err(ChangeNumberError::TooLarge);
    }
    Ok(())
}

impl fmt::Debug for ChangeNumberService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeNumberService").finish_non_exhaustive()
    }
}
