//! Registering without proving a number: an account that has none begins with a receipt, and any account is recovered
//! by its identity and its recovery password.

use limits::LimitId;
use protocol::{Aci, ambient::StorageError};

use super::{
    Evidence, ReceiptPresentation, RegisterError, Registered, RegistrationRequest, RegistrationService,
    TRIES, store::NewNumberless,
};
use crate::{
    account::Account,
    audit::{Action, Detail},
    capabilities::Capability,
    credentials::BasicCredentials,
    device::{Agent, Device},
    secrets::RecoveryPassword,
    settings::AccountIdentity,
    store::RegisterOutcome,
};

impl RegistrationService {
    /// Creates an account without a number for whoever shows a receipt.
    pub(super) async fn register_with_receipt(
        &self,
        credentials: &BasicCredentials,
        request: &RegistrationRequest,
        presentation: &ReceiptPresentation,
        agent: Option<Agent>,
    ) -> Result<Registered, RegisterError> {
        // Without a number there is no other way back.
        let password =
            request.attributes.recovery_password.as_ref().ok_or(RegisterError::NoRecoveryPassword)?;
        let parts = &self.0;
        let serial =
            parts.receipts.judge(presentation, parts.clock.now()).map_err(|_| RegisterError::Mismatch)?;
        let device = self.primary(credentials, request, agent);
        let new = self.numberless(Aci(parts.entropy.uuid()), request, &device, password);
        match parts.numberless.create_numberless(serial, new).await? {
            Some(account) => {
                self.tell(&account, false, &request.evidence).await;
                Ok(Registered { identity: AccountIdentity::from(&account), reregistration: false })
            }
            None => Err(RegisterError::Mismatch),
        }
    }

    /// Registers an account again whose identity and recovery password somebody knows.
    pub(super) async fn recover(
        &self,
        aci: Aci,
        credentials: &BasicCredentials,
        request: &RegistrationRequest,
        agent: Option<Agent>,
    ) -> Result<Registered, RegisterError> {
        let (Evidence::RecoveryPassword(shown), Some(pni_keys), Some(new_password)) =
            (&request.evidence, &request.pni_keys, &request.attributes.recovery_password)
        else {
            return Err(RegisterError::Mismatch);
        };
        let parts = &self.0;
        parts.limits.check(LimitId::Registration, aci.0.as_bytes(), 1).map_err(RegisterError::RateLimited)?;
        let device = self.primary(credentials, request, agent);
        let mut proven = None;
        for _ in 0..TRIES {
            let account = self.recoverable(aci, shown).await?;
            if account.has(Capability::Transfer) && !request.skip_device_transfer {
                return Err(RegisterError::TransferPossible);
            }
            self.pass_lock(&account, request).await?;
            // Last, for it is used up.
            self.check_one_time_password(aci, request, &mut proven).await?;
            let (outcome, at) = if let Some(held) = &account.number {
                let replaces = Some((aci, account.version));
                let registration = self.registration(&held.number, replaces, request, pni_keys, &device);
                let at = registration.at;
                (parts.accounts.register(registration).await?, at)
            } else {
                let new = self.numberless(aci, request, &device, new_password);
                let at = new.at;
                (parts.numberless.replace_numberless(account.version, new).await?, at)
            };
            if let RegisterOutcome::Registered { account, replaced } = outcome {
                let registered = self.registered(&account, replaced.as_deref(), at).await;
                self.tell(&account, replaced.is_some(), &request.evidence).await;
                return Ok(registered);
            }
        }
        Err(StorageError::unavailable("the account is changed all the time").into())
    }

    /// The account, if that is its recovery password. Which of the two is wrong is not said.
    async fn recoverable(&self, aci: Aci, shown: &RecoveryPassword) -> Result<Account, RegisterError> {
        let parts = &self.0;
        let account = parts.accounts.account(aci.into()).await?;
        let hash = parts.numberless.recovery_password(aci).await?;
        let right = hash.is_some_and(|hash| shown.matches(&hash));
        if let Some(account) = account.filter(|_| right) {
            return Ok(account);
        }
        let event = Action::UseRecoveryPassword.refused(aci);
        parts.audit.record(event.detail(Detail::WrongCredentials)).await;
        Err(RegisterError::WrongRecoveryPassword)
    }

    async fn pass_lock(&self, account: &Account, request: &RegistrationRequest) -> Result<(), RegisterError> {
        let Some(held) = &account.number else { return Ok(()) };
        let token = request.attributes.registration_lock.as_ref();
        Ok(self.lock_check().pass(&held.number, account, token, true).await?)
    }

    /// What is for the PNI is passed over: clients make something up.
    fn numberless(
        &self,
        aci: Aci,
        request: &RegistrationRequest,
        device: &Device,
        password: &RecoveryPassword,
    ) -> NewNumberless {
        NewNumberless {
            aci,
            keys: request.aci_keys.clone(),
            device: Device { pni_registration_id: None, ..device.clone() },
            unidentified_access: request.attributes.unidentified_access.clone(),
            recovery_password: password.hash(&*self.0.entropy),
            at: self.0.clock.now(),
        }
    }
}
