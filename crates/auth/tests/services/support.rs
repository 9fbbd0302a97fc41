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
    credentials::BasicCredentials,
    registration::{RegisterError, Registered, RegistrationParts, RegistrationRequest, RegistrationService},
    revocation::{Disconnect, QueueClearer, Revocations},
    verification::{
        AcceptAnyCaptcha, CodeMessage, CodeRequest, CodeSender, NotDelivered, SendCodeError, SessionError,
        SessionView, Transport, VerificationParts, VerificationPolicy, VerificationService,
    },
};
use limits::{Limit, LimitId, RateLimits};
use protocol::{
    Aci,
    ambient::{Entropy, ManualClock, SeededEntropy, StorageError, Timestamp},
    base64,
    xeddsa::PrivateKey,
};
use serde_json::{Value, json};
use store::sqlite::{Database, Schema, SqliteAccounts, SqliteSessions};
use tokio::sync::Mutex;
use vault::{Keyring, Vault};

pub(crate) const NUMBER: &str = "+15550100001";

/// What happens outside the services.
#[derive(Default)]
pub(crate) struct Outside {
    pub(crate) codes: Mutex<Vec<CodeMessage>>,
    pub(crate) provider_fails: AtomicBool,
    pub(crate) disconnected: parking_lot::Mutex<Vec<Aci>>,
    pub(crate) cleared: Mutex<Vec<(Aci, Timestamp)>>,
    pub(crate) queues_fail: AtomicBool,
}

pub(crate) struct World {
    pub(crate) accounts: AccountService,
    pub(crate) verification: Arc<VerificationService>,
    pub(crate) registration: RegistrationService,
    pub(crate) revocations: Revocations,
    pub(crate) outside: Arc<Outside>,
    pub(crate) clock: ManualClock,
    entropy: Arc<SeededEntropy>,
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

impl Disconnect for Outside {
    fn credentials_revoked(&self, aci: Aci) {
        self.disconnected.lock().push(aci);
    }
}

#[async_trait]
impl QueueClearer for Outside {
    async fn clear(&self, aci: Aci, cutoff: Timestamp) -> Result<(), StorageError> {
        if self.queues_fail.load(SeqCst) {
            return Err(StorageError::unavailable("on purpose"));
        }
        self.cleared.lock().await.push((aci, cutoff));
        Ok(())
    }
}

impl World {
    pub(crate) fn new() -> Self {
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
        let limits = [(LimitId::Registration, roomy), (LimitId::VerificationCodeSend, roomy)];
        let limits = Arc::new(RateLimits::new(Arc::new(clock.clone()), limits));
        let verification = Arc::new(VerificationService::new(VerificationParts {
            sessions: Arc::new(SqliteSessions::new(database, vault)),
            accounts: store.clone(),
            sender: outside.clone(),
            captcha: Arc::new(AcceptAnyCaptcha),
            limits: limits.clone(),
            clock: Arc::new(clock.clone()),
            entropy: entropy.clone(),
            policy: VerificationPolicy::default(),
        }));
        let registration = RegistrationService::new(RegistrationParts {
            accounts: store.clone(),
            verification: verification.clone(),
            revocations: revocations.clone(),
            limits,
            clock: Arc::new(clock.clone()),
            entropy: entropy.clone(),
        });
        let accounts =
            AccountService::new(store, revocations.clone(), Arc::new(clock.clone()), entropy.clone());
        Self {
            accounts,
            verification,
            registration,
            revocations,
            outside,
            clock,
            entropy,
            _directory: directory,
        }
    }

    pub(crate) async fn request_code(&self, session: &str) -> Result<SessionView, SessionError> {
        let request = CodeRequest { transport: Transport::Sms, client: None, languages: None };
        self.verification.request_code(session, request).await
    }

    /// A session that proves the number.
    pub(crate) async fn verified_session(&self, number: &str) -> String {
        let session = self.verification.create(number).await.unwrap().id;
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
        for identity in ["aci", "pni"] {
            let key = PrivateKey::generate(&*self.entropy);
            let public = PrivateKey::generate(&*self.entropy).public_key();
            let mut kem = vec![7; 1569];
            kem[0] = 8;
            let sign = |message: &[u8]| base64::encode_padded(key.sign(message, &*self.entropy).as_bytes());
            body[format!("{identity}IdentityKey")] = json!(key.public_key());
            body[format!("{identity}SignedPreKey")] =
                json!({"keyId": 1, "publicKey": public, "signature": sign(public.as_bytes())});
            body[format!("{identity}PqLastResortPreKey")] =
                json!({"keyId": 2, "publicKey": base64::encode_padded(&kem), "signature": sign(&kem)});
        }
        for (name, value) in changes.as_object().unwrap() {
            match name.strip_prefix("attributes.") {
                Some(name) => body["accountAttributes"][name] = value.clone(),
                None => body[name] = value.clone(),
            }
        }
        body
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
