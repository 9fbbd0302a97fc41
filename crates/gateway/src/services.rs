//! What the handlers call.

use std::sync::Arc;

use auth::{
    AccountService,
    challenge::ChallengeService,
    change_number::ChangeNumberService,
    handover::HandoverService,
    linking::{LinkingService, provisioning::ProvisioningRelay},
    native::NativeService,
    registration::RegistrationService,
    remote_config::RemoteConfig,
    second_factor::SecondFactors,
    sender_certificate::SenderCertificates,
    verification::VerificationService,
};
use axum::extract::FromRef;
use keys::KeyService;
use limits::RateLimits;
use messages::{MessageService, ReportService};
use profiles::ProfileStore;
use protocol::ambient::Clock;
use push::PushService;

/// Every service behind the door. A handler takes out the one it needs with `State<…>`.
#[derive(Clone)]
pub struct Services(Arc<Parts>);

/// The parts of [`Services`].
pub struct Parts {
    /// Accounts and their settings.
    pub accounts: AccountService,
    /// Proving a phone number.
    pub verification: Arc<VerificationService>,
    /// Registering an account.
    pub registration: Arc<RegistrationService>,
    /// Giving accounts other numbers.
    pub change_number: Arc<ChangeNumberService>,
    /// What accounts ask for besides.
    pub second_factors: Arc<SecondFactors>,
    /// Linking devices.
    pub linking: Arc<LinkingService>,
    /// What devices leave for one another while one is being set up.
    pub handovers: Arc<HandoverService>,
    /// The server's word on who a sender is.
    pub sender_certificates: Arc<SenderCertificates>,
    /// Making senders show that they are people.
    pub challenges: Arc<ChallengeService>,
    /// Reaching devices that are being set up.
    pub provisioning: Arc<ProvisioningRelay>,
    /// Accounts with a name and a password.
    pub native: NativeService,
    /// Reaching devices that are away.
    pub push: Arc<PushService>,
    /// What people show of themselves.
    pub profiles: Arc<dyn ProfileStore>,
    /// What clients are told to switch on or off.
    pub remote_config: Arc<RemoteConfig>,
    /// Pre-keys.
    pub keys: KeyService,
    /// Messages.
    pub messages: MessageService,
    /// Reports of spam.
    pub reports: ReportService,
    /// Rate limits that belong to no service: those by network address.
    pub limits: Arc<RateLimits>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Services {
    /// Puts the services together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

macro_rules! part {
    ($($field:ident: $type:ty),* $(,)?) => {
        $(impl FromRef<Services> for $type {
            fn from_ref(services: &Services) -> Self {
                services.0.$field.clone()
            }
        })*
    };
}

part! {
    accounts: AccountService,
    verification: Arc<VerificationService>,
    registration: Arc<RegistrationService>,
    change_number: Arc<ChangeNumberService>,
    second_factors: Arc<SecondFactors>,
    linking: Arc<LinkingService>,
    handovers: Arc<HandoverService>,
    sender_certificates: Arc<SenderCertificates>,
    challenges: Arc<ChallengeService>,
    provisioning: Arc<ProvisioningRelay>,
    native: NativeService,
    push: Arc<PushService>,
    profiles: Arc<dyn ProfileStore>,
    remote_config: Arc<RemoteConfig>,
    keys: KeyService,
    messages: MessageService,
    reports: ReportService,
    limits: Arc<RateLimits>,
    clock: Arc<dyn Clock>,
}
