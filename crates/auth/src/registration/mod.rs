//! How an account comes to be, or passes to a new device.

pub(crate) mod lock;
mod numberless;
mod one_time_password;
mod receipts;
mod request;
pub mod store;

use std::{fmt, sync::Arc, time::Duration};

use limits::{LimitId, RateLimits, RetryAfter};
use protocol::{
    Aci, DeviceAddress, DeviceId, PhoneNumber, Pni,
    ambient::{Clock, Entropy, StorageError, Timestamp},
};

pub use lock::LOCK_LIFE;
use lock::LockCheck;
pub use receipts::{NoReceipts, ReceiptJudge, ReceiptPresentation, ReceiptRefused, ReceiptSerial};
pub use request::{Evidence, InvalidRequest, RegistrationRequest};

use crate::{
    account::{Account, AccountVersion},
    admission::{Admission, AdmissionError, Admitted, invite::InviteId},
    audit::{Action, AuditTrail, Detail, Party},
    capabilities::Capability,
    credentials::BasicCredentials,
    device::{Agent, Credential, Device},
    revocation::{QueueClear, Revocations},
    second_factor::SecondFactors,
    secrets::SaltedHash,
    service::day_of,
    settings::AccountIdentity,
    store::{AccountStore, IdentityKeys, NewRegistration, NumberRecord, RegisterOutcome},
    verification::{Proof, VerificationService},
};
use store::NumberlessStore;

/// How long after its deletion an account's ACI is taken up again by its number, so that somebody who
/// deletes and registers anew stays the same to their contacts. As long as in Signal's service.
pub const DELETED_ACI_LIFE: Duration = Duration::from_hours(30 * 24);

/// How often a registration is tried again when the number's account changed between check and
/// registration.
const TRIES: usize = 4;

/// Registers accounts.
pub struct RegistrationService(RegistrationParts);

/// What a [`RegistrationService`] is made of.
pub struct RegistrationParts {
    /// Remembers accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Remembers accounts without a number.
    pub numberless: Arc<dyn NumberlessStore>,
    /// Judges what is shown in place of a number.
    pub receipts: Arc<dyn ReceiptJudge>,
    /// Knows which sessions are verified.
    pub verification: Arc<VerificationService>,
    /// Knows what an account asks for besides its number.
    pub second_factors: Arc<SecondFactors>,
    /// Told of devices that registration throws out.
    pub revocations: Revocations,
    /// Decides who may have a new account.
    pub admission: Admission,
    /// Told of what happens.
    pub audit: Arc<dyn AuditTrail>,
    /// How often somebody may do what.
    pub limits: Arc<RateLimits>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws identities and salts.
    pub entropy: Arc<dyn Entropy>,
}

/// An account that was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The account. It counts as storage capable if the account it replaced was: that tells the client
    /// whether there is something to restore.
    pub identity: AccountIdentity,
    /// Whether it replaced one.
    pub reregistration: bool,
}

/// Why an account was not registered. In all cases a verified session stays verified: the client comes
/// back with what was missing.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The keys of the PNI are missing.
    #[error("the keys of the PNI are missing")]
    IncompleteKeys,
    /// A pre-key is not signed by its identity key.
    #[error("a signature is wrong")]
    WrongSignature,
    /// The client cannot do what today's clients must.
    #[error("the client is too old")]
    ClientTooOld,
    /// The user is no number, the session is not about that number, or this way of registering is not
    /// offered here.
    #[error("the request does not fit together")]
    Mismatch,
    /// An account without a number has no recovery password, and would be lost with its device.
    #[error("the recovery password is missing")]
    NoRecoveryPassword,
    /// The session is not verified.
    #[error("the session is not verified")]
    NotVerified,
    /// The number has no account, and who asks for one is not let in.
    #[error("registration is not open to them")]
    NotAdmitted,
    /// The recovery password is wrong.
    #[error("the recovery password is wrong")]
    WrongRecoveryPassword,
    /// The present primary could hand its data over.
    #[error("a device transfer is possible")]
    TransferPossible,
    /// The account is protected by a registration lock that the client does not know.
    #[error("the account is locked")]
    Locked {
        /// Time until the lock no longer holds.
        time_remaining: Duration,
    },
    /// The account asks for a one-time password, which is missing, wrong or used up.
    #[error("a one-time password is missing or wrong")]
    SecondFactorRequired,
    /// Too many attempts.
    #[error("rate limited")]
    RateLimited(RetryAfter),
    /// What remembers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl RegistrationService {
    /// A service made of these parts.
    pub fn new(parts: RegistrationParts) -> Self {
        Self(parts)
    }

    /// Registers the number that is the user of the credentials; their password becomes that of the
    /// account's primary device. With a receipt, it is an account without a number; with the identity of an account
    /// as the user, that account is recovered.
    ///
    /// The same request again leads to the same account and is otherwise a re-registration.
    pub async fn register(
        &self,
        credentials: &BasicCredentials,
        request: RegistrationRequest,
        agent: Option<Agent>,
    ) -> Result<Registered, RegisterError> {
        self.0.audit.ready()?;
        check_keys(&request)?;
        if !request.attributes.capabilities.contains(Capability::Spqr) {
            return Err(RegisterError::ClientTooOld);
        }
        // In this order: some clients bring a receipt and a random identity.
        if let Evidence::Receipt(presentation) = &request.evidence {
            return self.register_with_receipt(credentials, &request, presentation, agent).await;
        }
        if let Ok(aci) = credentials.user().parse() {
            return self.recover(aci, credentials, &request, agent).await;
        }
        let number: PhoneNumber = credentials.user().parse().map_err(|_| RegisterError::Mismatch)?;
        let pni_keys = request.pni_keys.clone().ok_or(RegisterError::IncompleteKeys)?;
        self.0
            .limits
            .check(LimitId::Registration, number.as_str().as_bytes(), 1)
            .map_err(RegisterError::RateLimited)?;
        let invite = self.check_session(&number, &request.evidence).await?;

        let device = self.primary(credentials, &request, agent);
        let mut proven = None;
        for _ in 0..TRIES {
            let record = self.0.accounts.number(&number).await?;
            self.check_record(&number, &record, &request).await?;
            if let Some(account) = &record.account {
                self.check_one_time_password(account.aci, &request, &mut proven).await?;
            }
            let replaces = record.account.as_ref().map(|account| (account.aci, account.version));
            let admitted = self.admit(&number, record.account.as_ref(), invite, credentials).await?;
            let mut registration = self.registration(&number, replaces, &request, &pni_keys, &device);
            registration.admitted = admitted;
            let at = registration.at;
            match self.0.accounts.register(registration).await? {
                RegisterOutcome::Registered { account, replaced } => {
                    let registered = self.registered(&account, replaced.as_deref(), at).await;
                    self.tell(&account, replaced.is_some(), &request.evidence).await;
                    self.tell_admitted(account.aci, admitted).await;
                    return Ok(registered);
                }
                RegisterOutcome::NotAdmitted => return Err(RegisterError::NotAdmitted),
                RegisterOutcome::Outdated => {}
            }
        }
        Err(RegisterError::Storage(StorageError::unavailable("the number's account is changed all the time")))
    }

    async fn check_session(
        &self,
        number: &PhoneNumber,
        evidence: &Evidence,
    ) -> Result<Option<InviteId>, RegisterError> {
        let Evidence::Session(id) = evidence else { return Ok(None) };
        match self.0.verification.proof(id, number).await? {
            Proof::Verified => Ok(None),
            Proof::Invited(invite) => Ok(Some(invite)),
            Proof::Unverified => Err(RegisterError::NotVerified),
            Proof::Other => Err(RegisterError::Mismatch),
        }
    }

    /// Why the number may have an account: one that has is in already.
    ///
    /// An invitation lets somebody in and does not show that they hold the number. If the number has an account by now, it
    /// counts only for the one that has just been made by it, whose client may not have heard so.
    async fn admit(
        &self,
        number: &PhoneNumber,
        account: Option<&Account>,
        invite: Option<InviteId>,
        credentials: &BasicCredentials,
    ) -> Result<Admitted, RegisterError> {
        if let Some(account) = account {
            let primary = account.device(DeviceId::PRIMARY);
            let own = primary.is_some_and(|device| device.credential.accepts(credentials.password()));
            return if invite.is_none() || own {
                Ok(Admitted::Freely)
            } else {
                Err(RegisterError::NotVerified)
            };
        }
        match self.0.admission.admit_number(number, invite).await {
            Ok(admitted) => Ok(admitted),
            Err(AdmissionError::Storage(error)) => Err(error.into()),
            Err(
                AdmissionError::Refused
                | AdmissionError::NoEmail
                | AdmissionError::OtherDomain
                | AdmissionError::NoInvite
                | AdmissionError::Pending,
            ) => Err(RegisterError::NotAdmitted),
        }
    }

    /// The checks that depend on what the number was used for before.
    async fn check_record(
        &self,
        number: &PhoneNumber,
        record: &NumberRecord,
        request: &RegistrationRequest,
    ) -> Result<(), RegisterError> {
        if let Evidence::RecoveryPassword(password) = &request.evidence {
            let right = record.recovery_password.as_ref().is_some_and(|hash| password.matches(hash));
            if !right {
                let event = Action::UseRecoveryPassword.refused(number);
                self.0.audit.record(event.detail(Detail::WrongCredentials)).await;
                return Err(RegisterError::WrongRecoveryPassword);
            }
        }
        let Some(account) = &record.account else { return Ok(()) };
        if account.has(Capability::Transfer) && !request.skip_device_transfer {
            return Err(RegisterError::TransferPossible);
        }
        let knew_password = matches!(request.evidence, Evidence::RecoveryPassword(_));
        let token = request.attributes.registration_lock.as_ref();
        Ok(self.lock_check().pass(number, account, token, knew_password).await?)
    }

    fn lock_check(&self) -> LockCheck<'_> {
        let parts = &self.0;
        LockCheck {
            accounts: &*parts.accounts,
            revocations: &parts.revocations,
            audit: &*parts.audit,
            limits: &parts.limits,
            now: parts.clock.now(),
        }
    }

    fn primary(
        &self,
        credentials: &BasicCredentials,
        request: &RegistrationRequest,
        agent: Option<Agent>,
    ) -> Device {
        let attributes = &request.attributes;
        let now = self.0.clock.now();
        Device {
            id: DeviceId::PRIMARY,
            credential: Credential::new(credentials.password(), &*self.0.entropy),
            registration_id: attributes.registration_id,
            pni_registration_id: attributes.pni_registration_id,
            name: attributes.name.clone(),
            fetches_messages: attributes.fetches_messages,
            push_token: request.push_token.clone(),
            capabilities: attributes.capabilities,
            agent,
            created: now,
            last_seen: day_of(now),
        }
    }

    fn registration(
        &self,
        number: &PhoneNumber,
        replaces: Option<(Aci, AccountVersion)>,
        request: &RegistrationRequest,
        pni_keys: &IdentityKeys,
        device: &Device,
    ) -> NewRegistration {
        let attributes = &request.attributes;
        let entropy = &*self.0.entropy;
        let at = self.0.clock.now();
        let deleted_life = u64::try_from(DELETED_ACI_LIFE.as_millis()).unwrap_or(u64::MAX);
        NewRegistration {
            number: number.clone(),
            replaces,
            new_aci: Aci(entropy.uuid()),
            new_pni: Pni(entropy.uuid()),
            aci_keys: request.aci_keys.clone(),
            pni_keys: pni_keys.clone(),
            device: device.clone(),
            unidentified_access: attributes.unidentified_access.clone(),
            discoverable: attributes.discoverable,
            registration_lock: attributes
                .registration_lock
                .as_ref()
                .map(|token| SaltedHash::new(token.as_bytes(), entropy)),
            recovery_password: attributes.recovery_password.as_ref().map(|password| password.hash(entropy)),
            admitted: Admitted::Freely,
            at,
            reuse_deleted_since: Timestamp::from_millis(at.as_millis().saturating_sub(deleted_life)),
        }
    }

    async fn tell(&self, account: &Account, replaced: bool, evidence: &Evidence) {
        let action = if replaced { Action::Reregister } else { Action::Register };
        let event = action.by(DeviceAddress { aci: account.aci, device_id: DeviceId::PRIMARY });
        let event = match &account.number {
            Some(held) => event.on(&held.number),
            None => event,
        };
        let event = match evidence {
            Evidence::Session(_) => event.detail(Detail::Session),
            Evidence::RecoveryPassword(_) => event.detail(Detail::RecoveryPassword),
            Evidence::Receipt(_) => event,
        };
        self.0.audit.record(event).await;
    }

    async fn tell_admitted(&self, aci: Aci, admitted: Admitted) {
        if let Admitted::ByInvite(InviteId(invite)) = admitted {
            self.0.audit.record(Action::UseInvite.by(aci).on(Party::Invite(invite))).await;
        }
    }

    async fn registered(&self, account: &Account, replaced: Option<&Account>, at: Timestamp) -> Registered {
        if replaced.is_some() {
            self.0.revocations.devices_gone(QueueClear { aci: account.aci, device: None, cutoff: at }).await;
        }
        let storage_capable = replaced.is_some_and(|account| account.has(Capability::Storage));
        Registered {
            identity: AccountIdentity { storage_capable, ..account.into() },
            reregistration: replaced.is_some(),
        }
    }
}

/// Every pre-key must be signed by the identity key it comes with.
fn check_keys(request: &RegistrationRequest) -> Result<(), RegisterError> {
    if request.aci_keys.are_signed() && request.pni_keys.as_ref().is_none_or(IdentityKeys::are_signed) {
        Ok(())
    } else {
        Err(RegisterError::WrongSignature)
    }
}

impl fmt::Debug for RegistrationService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationService").finish_non_exhaustive()
    }
}
