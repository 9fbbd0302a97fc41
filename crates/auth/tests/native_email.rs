//! E-mail addresses and forgotten passwords, with time and mail in the test's hands.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use auth::{
    admission::{Admission, AdmissionError, AdmissionMode, AdmissionPolicy},
    audit::NoAuditTrail,
    mail::{MailError, MailMessage, Mailer, Post},
    native::{
        AccessTokenConfig, AccessTokens, Bearer, DeviceClaim, DeviceIdentifier, HashingConfig, LoginRequest,
        NativeParts, NativeService, Origin, PasswordHasher, PasswordPolicy, RegisterRequest, SessionConfig,
        Username,
        access::{KeySet, SigningKey},
        email::{
            EmailError, LetterSettings, Letters, Link, Newcomer, ResetError, ResetRequest, store::ResetOf,
        },
        error::{LoginError, RegisterError},
        password::PasswordRefused,
    },
    revocation::{Disconnect, QueueClear, QueueClearer, Revocations},
    second_factor::{SecondFactorParts, SecondFactors, webauthn::RelyingParty},
};
use limits::RateLimits;
use protocol::{
    Aci, DeviceAddress,
    ambient::{Clock, Entropy, ManualClock, SeededEntropy, StorageError, Timestamp},
};
use store::sqlite::{Database, Schema, SqliteAccounts, SqliteAdmission};
use tokio::sync::{Mutex, mpsc};
use vault::{Keyring, Vault};
use zeroize::Zeroizing;

const PASSWORD: &str = "a sentence is fine";
const NEXT: &str = "another one is too";
const HOME: Origin = Origin([1; 8]);
const ELSEWHERE: Origin = Origin([2; 8]);

/// Takes every message.
struct Inbox(mpsc::UnboundedSender<MailMessage>);

#[async_trait]
impl Mailer for Inbox {
    async fn send(&self, message: MailMessage) -> Result<String, MailError> {
        self.0.send(message).unwrap();
        Ok(String::new())
    }
}

#[derive(Default)]
struct Sockets(parking_lot::Mutex<Vec<DeviceAddress>>);

impl Disconnect for Sockets {
    fn credentials_revoked(&self, _: Aci) {}

    fn device_removed(&self, device: DeviceAddress) {
        self.0.lock().push(device);
    }
}

#[async_trait]
impl QueueClearer for Sockets {
    async fn clear(&self, _: QueueClear) -> Result<(), StorageError> {
        Ok(())
    }
}

struct World {
    native: NativeService,
    post: Post,
    inbox: Mutex<mpsc::UnboundedReceiver<MailMessage>>,
    sockets: Arc<Sockets>,
    clock: ManualClock,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with(AdmissionPolicy { mode: AdmissionMode::Open, ..AdmissionPolicy::default() })
    }

    fn with(policy: AdmissionPolicy) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let manual = ManualClock::new(Timestamp::from_millis(1_700_000_000_000));
        let clock: Arc<dyn Clock> = Arc::new(manual.clone());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        let vault = Vault::new(Keyring::generate(&*entropy), Arc::clone(&entropy));
        let file = directory.path().join("accounts.sqlite");
        let database = Arc::new(Database::open(&file, Schema::Accounts, true).unwrap());
        let accounts = Arc::new(SqliteAccounts::new(Arc::clone(&database), vault.clone()));
        let (inbox_in, inbox) = mpsc::unbounded_channel();
        let post = Post::new(Arc::new(Inbox(inbox_in)), Arc::clone(&clock));
        let settings = LetterSettings {
            server: "chat.example.org".to_owned(),
            reset: Some(Link::new("https://app.example.org/reset#{code}".to_owned())),
            confirm: None,
        };
        let sockets = Arc::new(Sockets::default());
        let audit = Arc::new(NoAuditTrail);
        let admissions = Arc::new(SqliteAdmission::new(database, vault));
        let keys = KeySet {
            current: SigningKey::from_secret(&[7; SigningKey::SECRET_LEN]).unwrap(),
            former: vec![],
        };
        let config = AccessTokenConfig {
            issuer: "here".to_owned(),
            audience: "here".to_owned(),
            lifetime: Duration::from_mins(15),
        };
        let tokens = AccessTokens::new(config, keys, Arc::clone(&clock), Arc::clone(&entropy));
        let limits = Arc::new(RateLimits::new(Arc::clone(&clock), []));
        let second_factors = Arc::new(SecondFactors::new(SecondFactorParts {
            store: accounts.clone(),
            relying_party: RelyingParty { id: "chat.example.org".to_owned(), origins: Vec::new() },
            audit: audit.clone(),
            limits: Arc::clone(&limits),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        }));
        let native = NativeService::new(NativeParts {
            store: accounts.clone(),
            devices: accounts.clone(),
            links: accounts.clone(),
            emails: accounts.clone(),
            letters: Some(Letters::new(post.clone(), settings)),
            admission: Admission::new(
                policy,
                admissions,
                audit.clone(),
                Arc::clone(&clock),
                Arc::clone(&entropy),
            ),
            revocations: Revocations::new(accounts, sockets.clone(), sockets.clone()),
            audit,
            hasher: PasswordHasher::start(HashingConfig::default(), Arc::clone(&entropy), || {}).unwrap(),
            policy: PasswordPolicy::default(),
            tokens: Arc::new(tokens),
            sessions: SessionConfig::default(),
            second_factors,
            limits,
            clock,
            entropy,
        });
        Self { native, post, inbox: Mutex::new(inbox), sockets, clock: manual, _directory: directory }
    }

    async fn try_register(&self, username: &str, email: Option<Newcomer>) -> Result<Bearer, RegisterError> {
        let request = RegisterRequest {
            username: username.to_owned(),
            password: Zeroizing::new(PASSWORD.to_owned()),
            device: phone(),
            keys: None,
            invite: None,
            email,
        };
        let logged_in = self.native.register(request, HOME).await?;
        Ok(self.native.bearer(&logged_in.tokens.access).await.unwrap())
    }

    /// Registers an account with a confirmed address.
    async fn with_address(&self, username: &str, address: &str) -> Bearer {
        let bearer = self.try_register(username, Some(newcomer(address, None))).await.unwrap();
        let code = self.code(address).await;
        self.native.confirm_email(&bearer, &code).await.unwrap();
        bearer
    }

    async fn login(&self, password: &str, origin: Origin) -> Result<(), LoginError> {
        let request = LoginRequest {
            username: "alice".to_owned(),
            password: Zeroizing::new(password.to_owned()),
            device: phone(),
        };
        self.native.login(request, origin).await.map(drop)
    }

    fn ask(&self, origin: Origin) -> Result<(), ResetError> {
        let of = ResetOf::Username(Username::new("alice").unwrap());
        self.native.request_reset(ResetRequest { of, origin })
    }

    /// The next message, which must be for that address.
    async fn letter(&self, address: &str) -> MailMessage {
        let waiting = tokio::time::timeout(Duration::from_secs(20), async {
            self.inbox.lock().await.recv().await.unwrap()
        });
        let message = waiting.await.unwrap();
        assert_eq!(message.to.as_str(), address, "{}", message.text);
        message
    }

    async fn code(&self, address: &str) -> String {
        let text = self.letter(address).await.text;
        testkit::outbox::code_in(&text).unwrap()
    }

    /// The messages that have come until nothing is on its way any more.
    async fn letters(&self) -> Vec<MailMessage> {
        self.post.idle().await;
        let mut inbox = self.inbox.lock().await;
        std::iter::from_fn(|| inbox.try_recv().ok()).collect()
    }

    async fn reset(&self, code: &str, password: &str) -> Result<(), ResetError> {
        self.native.reset_password(code, password, HOME).await
    }
}

fn phone() -> DeviceClaim {
    let identifier = DeviceIdentifier::new("phone".to_owned()).unwrap();
    DeviceClaim { identifier, label: None, registration_id: None }
}

fn newcomer(address: &str, code: Option<&str>) -> Newcomer {
    let code = code.map(|code| Zeroizing::new(code.to_owned()));
    Newcomer { address: address.parse().unwrap(), code }
}

#[tokio::test]
async fn a_forgotten_password_is_reset_by_the_mailed_code_once() {
    let world = World::new();
    let alice = world.with_address("alice", "alice@example.org").await;
    world.ask(ELSEWHERE).unwrap();
    let letter = world.letter("alice@example.org").await;
    let code = testkit::outbox::code_in(&letter.text).unwrap();
    assert!(letter.text.contains(&format!("https://app.example.org/reset#{code}")), "{}", letter.text);
    world.ask(ELSEWHERE).unwrap();
    let second = world.code("alice@example.org").await;
    // A password that is not taken uses nothing up.
    let short = world.reset(&code, "short").await;
    assert!(matches!(short, Err(ResetError::Password(PasswordRefused::TooShort))));
    world.reset(&code.to_uppercase(), NEXT).await.unwrap();
    assert!(matches!(world.reset(&code, PASSWORD).await, Err(ResetError::WrongCode)), "used");
    assert!(matches!(world.reset(&second, PASSWORD).await, Err(ResetError::WrongCode)), "void");
    assert_eq!(world.sockets.0.lock()[..], [alice.device.address()]);
    assert!(world.native.still_bears(&alice).await.unwrap().is_none());
    assert!(world.letter("alice@example.org").await.subject.contains("was reset"));
    assert!(matches!(world.login(PASSWORD, HOME).await, Err(LoginError::Refused)));
    world.login(NEXT, HOME).await.unwrap();
}

#[tokio::test]
async fn a_code_is_over_after_half_an_hour_and_void_after_a_change() {
    let world = World::new();
    let alice = world.with_address("alice", "alice@example.org").await;
    world.ask(HOME).unwrap();
    let code = world.code("alice@example.org").await;
    world.clock.advance(Duration::from_mins(30));
    assert!(matches!(world.reset(&code, NEXT).await, Err(ResetError::WrongCode)), "over");
    world.ask(HOME).unwrap();
    let code = world.code("alice@example.org").await;
    world.native.change_password(&alice, PASSWORD, NEXT).await.unwrap();
    assert!(
        matches!(world.reset(&code, PASSWORD).await, Err(ResetError::WrongCode)),
        "of the former password"
    );
    world.clock.advance(Duration::from_hours(3));
    world.ask(HOME).unwrap();
    let code = world.code("alice@example.org").await;
    let address = "alice@example.com".parse().unwrap();
    world.native.set_email(&alice, NEXT, address).await.unwrap();
    let confirm = world.code("alice@example.com").await;
    world.native.confirm_email(&alice, &confirm).await.unwrap();
    assert!(world.letter("alice@example.org").await.text.contains("taken away"));
    assert!(
        matches!(world.reset(&code, PASSWORD).await, Err(ResetError::WrongCode)),
        "of the former address"
    );
    // A code for one purpose is none for another.
    assert!(matches!(world.reset(&confirm, PASSWORD).await, Err(ResetError::WrongCode)));
}

#[tokio::test]
async fn of_two_uses_of_one_code_at_once_one_counts() {
    let world = World::new();
    world.with_address("alice", "alice@example.org").await;
    world.ask(HOME).unwrap();
    let code = world.code("alice@example.org").await;
    let (one, two) = tokio::join!(world.reset(&code, NEXT), world.reset(&code, "and a third one"));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let winner = if one.is_ok() { NEXT } else { "and a third one" };
    world.login(winner, HOME).await.unwrap();
}

#[tokio::test]
async fn strangers_neither_flood_an_inbox_nor_keep_its_owner_out() {
    let world = World::new();
    world.with_address("alice", "alice@example.org").await;
    world.login(PASSWORD, HOME).await.unwrap();
    // A different address each time, over a day.
    let mut letters = Vec::new();
    for number in 0..24 * 60_u64 {
        world.ask(Origin((number | 1 << 40).to_be_bytes())).unwrap();
        world.clock.advance(Duration::from_mins(1));
        letters.extend(world.letters().await);
    }
    assert!((40..=3 + 48).contains(&letters.len()), "{}", letters.len());
    // The owner, from where somebody has logged in, gets a letter all the same, and strangers who go on asking do not void it.
    world.ask(HOME).unwrap();
    let own = world.code("alice@example.org").await;
    for number in 0..100_u64 {
        world.ask(Origin((number | 1 << 41).to_be_bytes())).unwrap();
    }
    letters.extend(world.letters().await);
    assert!(matches!(world.reset(&own, "short").await, Err(ResetError::Password(_))), "it is good");
    // From anywhere else no letter may come, but the last that strangers had sent is good.
    world.ask(ELSEWHERE).unwrap();
    letters.extend(world.letters().await);
    let theirs = testkit::outbox::code_in(&letters.pop().unwrap().text).unwrap();
    world.reset(&theirs, NEXT).await.unwrap();
    world.login(NEXT, HOME).await.unwrap();
}

#[tokio::test]
async fn one_network_address_asks_only_so_often_whoever_it_asks_for() {
    let world = World::new();
    let asked = |name: &str| {
        let of = ResetOf::Username(Username::new(name).unwrap());
        world.native.request_reset(ResetRequest { of, origin: ELSEWHERE })
    };
    let granted = (0..50).filter(|number| asked(&format!("nobody-{number}")).is_ok()).count();
    assert_eq!(granted, 10);
    assert!(matches!(asked("nobody"), Err(ResetError::RateLimited(_))));
    assert!(world.letters().await.is_empty());
}

#[tokio::test]
async fn whose_an_address_is_is_told_to_its_owner_alone() {
    let world = World::new();
    world.with_address("alice", "alice@example.org").await;
    let eve = world.try_register("eve", None).await.unwrap();
    let address = || "alice@example.org".parse().unwrap();
    let state = world.native.set_email(&eve, PASSWORD, address()).await.unwrap();
    assert_eq!(state.wished.unwrap().0, address());
    assert!(world.letter("alice@example.org").await.text.contains("belongs to an account already"));
    let registered = world.try_register("eve2", Some(newcomer("alice@example.org", None))).await;
    assert!(registered.is_ok(), "{registered:?}");
    assert!(world.letter("alice@example.org").await.text.contains("belongs to an account already"));
    world.clock.advance(Duration::from_hours(2));
    world.native.prove_email(address(), ELSEWHERE).await.unwrap();
    assert!(world.letter("alice@example.org").await.text.contains("belongs to an account already"));
}

#[tokio::test]
async fn an_address_is_changed_and_removed_by_who_knows_the_password() {
    let world = World::new();
    let alice = world.with_address("alice", "alice@example.org").await;
    let address = || "alice@example.com".parse().unwrap();
    for _ in 0..3 {
        let changed = world.native.set_email(&alice, "not the one", address()).await;
        assert!(matches!(changed, Err(EmailError::WrongPassword)), "{changed:?}");
    }
    let removed = world.native.remove_email(&alice, "not the one").await;
    assert!(matches!(removed, Err(EmailError::WrongPassword)));
    let waits = world.native.remove_email(&alice, PASSWORD).await;
    assert!(matches!(waits, Err(EmailError::RateLimited(_))), "{waits:?}");
    world.clock.advance(Duration::from_secs(1));
    world.native.remove_email(&alice, PASSWORD).await.unwrap();
    assert!(world.letter("alice@example.org").await.text.contains("taken away"));
    assert_eq!(world.native.email(&alice).await.unwrap().confirmed, None);
    world.ask(HOME).unwrap();
    assert!(world.letters().await.is_empty(), "there is nowhere to send it");
}

#[tokio::test]
async fn where_domains_are_listed_an_address_is_proved_first() {
    let world = World::with(AdmissionPolicy {
        mode: AdmissionMode::Open,
        email_domains: vec!["example.org".to_owned()],
        ..AdmissionPolicy::default()
    });
    let refused = async |email| match world.try_register("alice", email).await {
        Err(RegisterError::NotAdmitted(AdmissionError::NoEmail)) => "no address",
        Err(RegisterError::NotAdmitted(AdmissionError::OtherDomain)) => "other domain",
        Err(RegisterError::WrongCode) => "wrong code",
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(None).await, "no address");
    assert_eq!(refused(Some(newcomer("alice@example.org", None))).await, "no address", "not proved");
    assert_eq!(refused(Some(newcomer("alice@example.org", Some("0000")))).await, "wrong code");
    let elsewhere = world.native.prove_email("alice@example.com".parse().unwrap(), HOME).await;
    assert!(matches!(elsewhere, Err(EmailError::NotAdmitted(AdmissionError::OtherDomain))));
    assert!(world.letters().await.is_empty());
    world.native.prove_email("alice@example.org".parse().unwrap(), HOME).await.unwrap();
    let code = world.code("alice@example.org").await;
    assert_eq!(refused(Some(newcomer("alice@example.com", Some(&code)))).await, "wrong code");
    let alice = world.try_register("alice", Some(newcomer("alice@example.org", Some(&code)))).await.unwrap();
    let state = world.native.email(&alice).await.unwrap();
    assert_eq!(state.confirmed.unwrap().as_str(), "alice@example.org");
    let again = world.try_register("alice2", Some(newcomer("alice@example.org", Some(&code)))).await;
    assert!(matches!(again, Err(RegisterError::WrongCode)), "used");
    // One that is over.
    world.native.prove_email("bob@example.org".parse().unwrap(), HOME).await.unwrap();
    let code = world.code("bob@example.org").await;
    world.clock.advance(Duration::from_hours(1));
    assert_eq!(refused(Some(newcomer("bob@example.org", Some(&code)))).await, "wrong code");
}
