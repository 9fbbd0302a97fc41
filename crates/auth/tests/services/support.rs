//! The services of this crate on the embedded store, with everything around them recorded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use auth::{
    AccountService,
    admission::{Admission, AdmissionMode, AdmissionPolicy},
    audit::NoAuditTrail,
    challenge::{ChallengeParts, ChallengeService, PushChallengeMessage, PushChallenges, PushUndelivered},
    change_number::{ChangeNumberParts, ChangeNumberService, NoticeDelivery, store::NumberNotice},
    credentials::BasicCredentials,
    handover::{HandoverParts, HandoverService},
    idle::{IdleParts, IdlePolicy, IdleService, Presence},
    linking::{LinkCode, LinkingParts, LinkingService, wait::Backlog},
    registration::{
        ReceiptJudge, ReceiptPresentation, ReceiptRefused, ReceiptSerial, RegisterError, Registered,
        RegistrationParts, RegistrationRequest, RegistrationService,
    },
    revocation::{Disconnect, QueueClear, QueueClearer, Revocations},
    second_factor::{SecondFactorParts, SecondFactors, webauthn::RelyingParty},
    sender_certificate::{SenderCertificates, Signer},
    verification::{
        AcceptAnyCaptcha, CaptchaError, CaptchaVerdict, CaptchaVerifier, CodeMessage, CodeRequest,
        CodeSender, NotDelivered, SendCodeError, SessionError, SessionView, Transport, VerificationParts,
        VerificationPolicy, VerificationService,
    },
};
use limits::{Limit, LimitId, RateLimits};
use protocol::{
    Aci, DeviceAddress, PushService,
    ambient::{Entropy, ManualClock, SeededEntropy, StorageError, Timestamp},
    base64,
    certificate::ServerCertificate,
    xeddsa::PrivateKey,
};
use serde_json::{Value, json};
use store::sqlite::{Database, Schema, SqliteAccounts, SqliteAdmission, SqliteHandovers, SqliteSessions};
use tokio::sync::Mutex;
use vault::{Keyring, Vault};

pub(crate) const NUMBER: &str = "+15550100001";

/// What an account may send before it is asked.
pub(crate) const CHALLENGE_LIMIT: Limit = Limit { size: 3, interval: Duration::from_mins(1) };

/// Where passkeys belong, and where they are used.
pub(crate) const DOMAIN: &str = "chat.example.org";
pub(crate) const ORIGIN: &str = "https://chat.example.org";

/// What happens outside the services.
#[derive(Default)]
pub(crate) struct Outside {
    pub(crate) codes: Mutex<Vec<CodeMessage>>,
    pub(crate) pushes: parking_lot::Mutex<Vec<PushChallengeMessage>>,
    pub(crate) provider_fails: AtomicBool,
    pub(crate) disconnected: parking_lot::Mutex<Vec<Aci>>,
    pub(crate) removed: parking_lot::Mutex<Vec<DeviceAddress>>,
    pub(crate) cleared: Mutex<Vec<QueueClear>>,
    pub(crate) queues_fail: AtomicBool,
    pub(crate) notices: Mutex<Vec<NumberNotice>>,
    pub(crate) connected: parking_lot::Mutex<Vec<DeviceAddress>>,
    pub(crate) primary_has_backlog: AtomicBool,
}

pub(crate) struct World {
    pub(crate) accounts: AccountService,
    pub(crate) verification: Arc<VerificationService>,
    pub(crate) registration: RegistrationService,
    pub(crate) second_factors: Arc<SecondFactors>,
    pub(crate) linking: LinkingService,
    pub(crate) handovers: HandoverService,
    pub(crate) change_number: ChangeNumberService,
    pub(crate) admission: Admission,
    pub(crate) revocations: Revocations,
    pub(crate) challenges: ChallengeService,
    pub(crate) certificates: SenderCertificates,
    pub(crate) trust_root: PrivateKey,
    pub(crate) outside: Arc<Outside>,
    pub(crate) clock: ManualClock,
    pub(crate) store: Arc<SqliteAccounts>,
    pub(crate) limits: Arc<RateLimits>,
    pub(crate) entropy: Arc<SeededEntropy>,
    /// The identity keys, ACI and PNI, of the registration that was made last.
    identities: parking_lot::Mutex<Vec<PrivateKey>>,
    _directory: tempfile::TempDir,
}

#[async_trait]
impl CodeSender for Outside {
    async fn send(&self, message: CodeMessage) -> Result<(), SendCodeError> {
        if self.provider_fails.load(SeqCst) {
            let reason = NotDelivered::ProviderUnavailable;
            return Err(SendCodeError::NotDelivered { reason, permanent: false });
        }
        self.codes.lock().await.push(message);
        Ok(())
    }
}

#[async_trait]
impl CaptchaVerifier for Outside {
    async fn verify(&self, answer: &str) -> Result<CaptchaVerdict, CaptchaError> {
        match answer {
            "right" => Ok(CaptchaVerdict::Accepted),
            "malformed" => Err(CaptchaError::Malformed),
            "unavailable" => Err(CaptchaError::Unavailable("on purpose".into())),
            _ => Ok(CaptchaVerdict::Rejected),
        }
    }
}

#[async_trait]
impl PushChallenges for Outside {
    fn reaches(&self, service: PushService) -> bool {
        service != PushService::Apns
    }

    async fn send(&self, message: PushChallengeMessage) -> Result<(), PushUndelivered> {
        if self.provider_fails.load(SeqCst) {
            return Err(PushUndelivered("on purpose".into()));
        }
        self.pushes.lock().push(message);
        Ok(())
    }
}

impl Disconnect for Outside {
    fn credentials_revoked(&self, aci: Aci) {
        self.disconnected.lock().push(aci);
    }

    fn device_removed(&self, device: DeviceAddress) {
        self.removed.lock().push(device);
    }
}

#[async_trait]
impl QueueClearer for Outside {
    async fn clear(&self, clear: QueueClear) -> Result<(), StorageError> {
        if self.queues_fail.load(SeqCst) {
            return Err(StorageError::unavailable("on purpose"));
        }
        self.cleared.lock().await.push(clear);
        Ok(())
    }
}

#[async_trait]
impl NoticeDelivery for Outside {
    async fn deliver(&self, notice: &NumberNotice) -> Result<(), StorageError> {
        if self.queues_fail.load(SeqCst) {
            return Err(StorageError::unavailable("on purpose"));
        }
        self.notices.lock().await.push(notice.clone());
        Ok(())
    }
}

/// A presentation is the serial, as long as nobody issues real ones.
impl ReceiptJudge for Outside {
    fn judge(
        &self,
        presentation: &ReceiptPresentation,
        _: Timestamp,
    ) -> Result<ReceiptSerial, ReceiptRefused> {
        <[u8; 16]>::try_from(&presentation.0[..])
            .map(ReceiptSerial::from)
            .map_err(|_| ReceiptRefused::NotGood)
    }
}

impl Presence for Outside {
    fn connected(&self) -> Vec<DeviceAddress> {
        self.connected.lock().clone()
    }
}

#[async_trait]
impl Backlog for Outside {
    async fn holds_before(&self, _: DeviceAddress, _: Timestamp) -> Result<bool, StorageError> {
        Ok(self.primary_has_backlog.load(SeqCst))
    }
}

/// A trust root, and a key that it certified under that id.
fn make_signer(id: u32, entropy: &dyn Entropy) -> (PrivateKey, Signer) {
    let (root, key) = (PrivateKey::generate(entropy), PrivateKey::generate(entropy));
    let certificate = ServerCertificate::issue(id, &key.public_key(), &root, entropy);
    (root, Signer::new(certificate, key).unwrap())
}

impl World {
    pub(crate) const CERTIFICATE_LIFETIME: Duration = Duration::from_hours(168);

    /// Where everybody may register.
    pub(crate) fn new() -> Self {
        Self::with_policy(AdmissionPolicy { mode: AdmissionMode::Open, ..AdmissionPolicy::default() })
    }

    #[expect(clippy::too_many_lines, reason = "one line for each thing that a service is made of")]
    pub(crate) fn with_policy(policy: AdmissionPolicy) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let entropy = Arc::new(SeededEntropy::new(1));
        let clock = ManualClock::new(Timestamp::from_millis(1_700_000_000_000));
        let vault = Vault::new(Keyring::generate(entropy.as_ref()), entropy.clone());
        let file = directory.path().join("accounts.sqlite");
        let database = Arc::new(Database::open(&file, Schema::Accounts, true).unwrap());
        let store = Arc::new(SqliteAccounts::new(database.clone(), vault.clone()));
        let outside = Arc::new(Outside::default());
        let revocations = Revocations::new(store.clone(), outside.clone(), outside.clone());
        let roomy = Limit { size: 100, interval: Duration::from_secs(1) };
        let limits = [
            (LimitId::Registration, roomy),
            (LimitId::VerificationCodeSend, roomy),
            (LimitId::Challenge, CHALLENGE_LIMIT),
            // What counts here is what is remembered of wrong answers.
            (LimitId::Totp, roomy),
        ];
        let limits = Arc::new(RateLimits::new(Arc::new(clock.clone()), limits));
        let admission = Admission::new(
            policy,
            Arc::new(SqliteAdmission::new(database.clone(), vault.clone())),
            Arc::new(NoAuditTrail),
            Arc::new(clock.clone()),
            entropy.clone(),
        );
        let verification = Arc::new(VerificationService::new(VerificationParts {
            sessions: Arc::new(SqliteSessions::new(database.clone(), vault.clone())),
            accounts: store.clone(),
            sender: outside.clone(),
            captcha: Arc::new(AcceptAnyCaptcha),
            admission: admission.clone(),
            audit: Arc::new(NoAuditTrail),
            push: Some(outside.clone()),
            limits: limits.clone(),
            clock: Arc::new(clock.clone()),
            entropy: entropy.clone(),
            policy: VerificationPolicy::default(),
        }));
        let second_factors = Arc::new(SecondFactors::new(SecondFactorParts {
            store: store.clone(),
            relying_party: RelyingParty { id: DOMAIN.to_owned(), origins: vec![ORIGIN.to_owned()] },
            audit: Arc::new(NoAuditTrail),
            limits: limits.clone(),
            clock: Arc::new(clock.clone()),
            entropy: entropy.clone(),
        }));
        let registration = RegistrationService::new(RegistrationParts {
            accounts: store.clone(),
            numberless: store.clone(),
            receipts: outside.clone(),
            verification: verification.clone(),
            second_factors: second_factors.clone(),
            admission: admission.clone(),
            revocations: revocations.clone(),
            audit: Arc::new(NoAuditTrail),
            limits: limits.clone(),
            clock: Arc::new(clock.clone()),
            entropy: entropy.clone(),
        });
        let linking = LinkingService::new(LinkingParts {
            accounts: store.clone(),
            links: store.clone(),
            revocations: revocations.clone(),
            backlog: outside.clone(),
            audit: Arc::new(NoAuditTrail),
            limits: limits.clone(),
            clock: Arc::new(clock.clone()),
            entropy: entropy.clone(),
        });
        let handovers = HandoverService::new(HandoverParts {
            store: Arc::new(SqliteHandovers::new(database, vault)),
            accounts: store.clone(),
            limits: limits.clone(),
            clock: Arc::new(clock.clone()),
        });
        let change_number = ChangeNumberService::new(ChangeNumberParts {
            accounts: store.clone(),
            numbers: store.clone(),
            verification: verification.clone(),
            notices: outside.clone(),
            revocations: revocations.clone(),
            audit: Arc::new(NoAuditTrail),
            limits: limits.clone(),
            clock: Arc::new(clock.clone()),
            entropy: entropy.clone(),
        });
        let challenges = ChallengeService::new(ChallengeParts {
            accounts: store.clone(),
            captcha: Some(outside.clone()),
            push: Some(outside.clone()),
            limits: limits.clone(),
            clock: Arc::new(clock.clone()),
            entropy: entropy.clone(),
        });
        let (trust_root, signer) = make_signer(1, &*entropy);
        let certificates = SenderCertificates::new(
            store.clone(),
            signer,
            Self::CERTIFICATE_LIFETIME,
            Arc::new(clock.clone()),
            entropy.clone(),
        );
        let accounts = AccountService::new(
            store.clone(),
            revocations.clone(),
            Arc::new(NoAuditTrail),
            Arc::new(clock.clone()),
            entropy.clone(),
        );
        Self {
            accounts,
            verification,
            registration,
            second_factors,
            linking,
            handovers,
            change_number,
            admission,
            revocations,
            challenges,
            certificates,
            trust_root,
            outside,
            clock,
            store,
            limits,
            entropy,
            identities: parking_lot::Mutex::default(),
            _directory: directory,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        use protocol::ambient::Clock;

        self.clock.now()
    }

    /// Another trust root, and what signs under it.
    pub(crate) fn signer(&self, id: u32) -> (PrivateKey, Signer) {
        make_signer(id, &*self.entropy)
    }

    /// What becomes of devices that nobody uses, under that policy.
    pub(crate) fn idle(&self, policy: IdlePolicy) -> IdleService {
        IdleService::new(IdleParts {
            store: self.store.clone(),
            presence: self.outside.clone(),
            revocations: self.revocations.clone(),
            audit: Arc::new(NoAuditTrail),
            policy,
            clock: Arc::new(self.clock.clone()),
        })
    }

    /// A new identity key, and the keys of that many devices under it.
    pub(crate) fn identity_with_keys(&self, devices: usize) -> (Value, Vec<Value>) {
        let key = PrivateKey::generate(&*self.entropy);
        let keys = || {
            let mut body = json!({});
            self.add_keys(&mut body, "pni", &key);
            body
        };
        (json!(key.public_key()), std::iter::repeat_with(keys).take(devices).collect())
    }

    /// Challenges as they are where nobody has switched them on.
    pub(crate) fn no_challenges(&self) -> ChallengeService {
        ChallengeService::new(ChallengeParts {
            accounts: self.store.clone(),
            captcha: None,
            push: None,
            limits: self.limits.clone(),
            clock: Arc::new(self.clock.clone()),
            entropy: self.entropy.clone(),
        })
    }

    pub(crate) async fn request_code(&self, session: &str) -> Result<SessionView, SessionError> {
        let request = CodeRequest { transport: Transport::Sms, client: None, languages: None };
        self.verification.request_code(session, request).await
    }

    /// A session that proves the number.
    pub(crate) async fn verified_session(&self, number: &str) -> String {
        let session = self.verification.create(number, None).await.unwrap().id;
        self.request_code(&session).await.unwrap();
        let code = self.outside.codes.lock().await.last().unwrap().code.clone();
        assert!(self.verification.submit_code(&session, code.as_str()).await.unwrap().verified);
        session
    }

    /// The body of a registration with freshly made keys, with some fields changed; a name with a dot is a
    /// field of the attributes.
    pub(crate) fn body(&self, changes: &Value) -> Value {
        let mut body = json!({
            "accountAttributes": {
                "fetchesMessages": true, "registrationId": 1, "pniRegistrationId": 2,
                "unrestrictedUnidentifiedAccess": true, "capabilities": {"spqr": true},
            },
            "skipDeviceTransfer": true,
        });
        let identities = [0; 2].map(|_| PrivateKey::generate(&*self.entropy));
        for (identity, key) in ["aci", "pni"].into_iter().zip(&identities) {
            body[format!("{identity}IdentityKey")] = json!(key.public_key());
            self.add_keys(&mut body, identity, key);
        }
        *self.identities.lock() = identities.into();
        changed(body, changes)
    }

    /// The body of a device's request to join the account that was registered last, with some fields changed
    /// in the same way.
    pub(crate) fn link_body(&self, code: &LinkCode, changes: &Value) -> Value {
        let mut body = json!({
            "verificationCode": code.as_str(),
            "accountAttributes": {
                "fetchesMessages": true, "registrationId": 3, "pniRegistrationId": 4,
                "capabilities": {"spqr": true},
            },
        });
        for (identity, key) in ["aci", "pni"].into_iter().zip(&*self.identities.lock()) {
            self.add_keys(&mut body, identity, key);
        }
        changed(body, changes)
    }

    /// Adds the keys that a device has under that identity.
    fn add_keys(&self, body: &mut Value, identity: &str, key: &PrivateKey) {
        let public = PrivateKey::generate(&*self.entropy).public_key();
        let mut kem = vec![7; 1569];
        kem[0] = 8;
        let sign = |message: &[u8]| base64::encode_padded(key.sign(message, &*self.entropy).as_bytes());
        body[format!("{identity}SignedPreKey")] =
            json!({"keyId": 1, "publicKey": public, "signature": sign(public.as_bytes())});
        body[format!("{identity}PqLastResortPreKey")] =
            json!({"keyId": 2, "publicKey": base64::encode_padded(&kem), "signature": sign(&kem)});
    }

    pub(crate) async fn register(
        &self,
        user: &str,
        password: &str,
        changes: &Value,
    ) -> Result<Registered, RegisterError> {
        let request: RegistrationRequest = serde_json::from_value(self.body(changes)).unwrap();
        let credentials = BasicCredentials::from_text(&format!("{user}:{password}")).unwrap();
        self.registration.register(&credentials, request, None).await
    }

    /// Registers the number with a session of its own.
    pub(crate) async fn registered(&self, number: &str, password: &str, changes: &Value) -> Registered {
        let session = self.verified_session(number).await;
        let mut changes = changes.clone();
        changes["sessionId"] = json!(session);
        self.register(number, password, &changes).await.unwrap()
    }

    pub(crate) async fn sign_in(
        &self,
        aci: Aci,
        password: &str,
    ) -> Result<auth::Authenticated, auth::AuthenticateError> {
        let credentials = BasicCredentials::from_text(&format!("{aci}:{password}")).unwrap();
        self.accounts.authenticate(&credentials).await
    }

    pub(crate) fn random_text(&self) -> String {
        let bytes: [u8; 32] = (&*self.entropy as &dyn Entropy).bytes();
        base64::encode_padded(bytes)
    }
}

/// The body with some fields changed; a name with a dot is a field of the attributes.
fn changed(mut body: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match name.strip_prefix("attributes.") {
            Some(name) => body["accountAttributes"][name] = value.clone(),
            None => body[name] = value.clone(),
        }
    }
    body
}
