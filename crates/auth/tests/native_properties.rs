//! Sessions and their refresh tokens as a property: whatever is done in whatever order, a session lives as long as only its
//! present token is shown, and the first other one of its family ends it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use auth::{
    Device,
    capabilities::Capabilities,
    device::Credential,
    native::{
        DeviceIdentifier, NativeStore, SessionId, Username,
        hashing::PasswordHash,
        refresh::RefreshToken,
        session::NewSession,
        store::{
            ChangePasswordOutcome, NewNativeAccount, NewNativeDevice, OpenSession, OpenSessionOutcome,
            RotateOutcome, Rotation,
        },
    },
};
use proptest::prelude::*;
use protocol::{
    Aci, DeviceId, RegistrationId,
    ambient::{Entropy, SeededEntropy, Timestamp},
};
use store::sqlite::{Database, Schema, SqliteAccounts};
use uuid::Uuid;
use vault::{Keyring, Vault};

const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8";
const ACI: Aci = Aci(Uuid::from_u128(1));
const DEVICES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Somebody logs in on that device.
    Login(usize),
    /// The present token of the device's session is traded in.
    Refresh(usize),
    /// A token that was given out before is shown again.
    Replay(usize, usize),
    /// A token that the server never gave out, of a family that it knows.
    Forge(usize),
    /// The device's session is ended by its owner.
    Logout(usize),
    /// The password is changed by who is logged in on that device.
    ChangePassword(usize),
    /// Time passes.
    Minutes(u64),
}

/// What the model knows of a session.
#[derive(Clone)]
struct Session {
    id: SessionId,
    /// Every token it ever had, the present one last.
    tokens: Vec<RefreshToken>,
    expires: u64,
    ends: u64,
}

struct World {
    store: SqliteAccounts,
    entropy: SeededEntropy,
    now: u64,
    version: u64,
    /// By device: its session, if it has one.
    live: Vec<Option<Session>>,
    /// Every session that has ended.
    ended: Vec<Session>,
}

const IDLE: u64 = 60 * 60_000;
const LONGEST: u64 = 3 * IDLE;

impl World {
    fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    fn new_session(&self) -> (NewSession, Session) {
        let entropy: &dyn Entropy = &self.entropy;
        let token = RefreshToken::first(entropy);
        let (expires, ends) = (self.now + IDLE, self.now + LONGEST);
        let new = NewSession {
            id: SessionId::random(entropy),
            family: token.family(),
            token: token.hash(),
            at: self.at(),
            expires: Timestamp::from_millis(expires),
            ends: Timestamp::from_millis(ends),
        };
        let session = Session { id: new.id, tokens: vec![token], expires, ends };
        (new, session)
    }

    fn device(&self, number: usize) -> NewNativeDevice {
        let device = Device {
            id: DeviceId::PRIMARY,
            credential: Credential::unusable(&self.entropy),
            registration_id: RegistrationId::try_from(1).unwrap(),
            pni_registration_id: None,
            name: None,
            fetches_messages: true,
            push_token: None,
            capabilities: Capabilities::default(),
            agent: None,
            created: self.at(),
            last_seen: self.at(),
        };
        let identifier = DeviceIdentifier::new(format!("device {number}")).unwrap();
        NewNativeDevice { device, identifier, label: None }
    }

    fn end(&mut self, device: usize) {
        self.ended.extend(self.live[device].take());
    }

    async fn rotate(&self, token: &RefreshToken) -> (RotateOutcome, RefreshToken) {
        let next = token.next(&self.entropy);
        let rotation = Rotation {
            family: token.family(),
            presented: token.hash(),
            next: next.hash(),
            at: self.at(),
            day: self.at(),
            expires: Timestamp::from_millis(self.now + IDLE),
        };
        (self.store.rotate(rotation).await.unwrap(), next)
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Login(device) => {
                let (session, known) = self.new_session();
                let new = OpenSession {
                    aci: ACI,
                    login_version: self.version,
                    factor_shown: false,
                    device: self.device(device),
                    session,
                    devices_max: DEVICES,
                };
                let opened = self.store.open_session(new).await.unwrap();
                assert!(matches!(opened, OpenSessionOutcome::Opened { .. }), "{opened:?}");
                self.end(device);
                self.live[device] = Some(known);
            }
            Step::Refresh(device) => {
                let Some(session) = self.live[device].clone() else { return };
                let (outcome, next) = self.rotate(session.tokens.last().unwrap()).await;
                if self.now >= session.expires {
                    assert_eq!(outcome, RotateOutcome::Unknown);
                    return;
                }
                let RotateOutcome::Rotated { session: id, expires, .. } = outcome else {
                    panic!("{outcome:?}")
                };
                assert_eq!((id, expires.as_millis()), (session.id, (self.now + IDLE).min(session.ends)));
                let live = self.live[device].as_mut().unwrap();
                live.tokens.push(next);
                live.expires = expires.as_millis();
            }
            Step::Replay(device, which) => {
                let Some(session) = self.live[device].clone() else { return };
                let former = &session.tokens[..session.tokens.len() - 1];
                let Some(token) = former.get(which % former.len().max(1)) else { return };
                self.expect_end(device, &session, token).await;
            }
            Step::Forge(device) => {
                let Some(session) = self.live[device].clone() else { return };
                let forged = session.tokens[0].next(&self.entropy);
                self.expect_end(device, &session, &forged).await;
            }
            Step::Logout(device) => {
                let Some(session) = self.live[device].clone() else { return };
                assert!(self.store.end_session(ACI, session.id).await.unwrap().is_some());
                self.end(device);
            }
            Step::ChangePassword(device) => {
                let Some(kept) = self.live[device].clone() else { return };
                let hash = PasswordHash::from_text(HASH).unwrap();
                let changed =
                    self.store.change_password(ACI, self.version, hash, Some(kept.id)).await.unwrap();
                let ChangePasswordOutcome::Changed(ended) = changed else { panic!("{changed:?}") };
                let others: Vec<_> =
                    (0..DEVICES).filter(|other| *other != device && self.live[*other].is_some()).collect();
                assert_eq!(ended.len(), others.len());
                for other in others {
                    self.end(other);
                }
                self.version += 1;
            }
            Step::Minutes(minutes) => self.now += minutes * 60_000,
        }
    }

    /// A token of the family that is not the present one ends the session, if it is not over anyway.
    async fn expect_end(&mut self, device: usize, session: &Session, token: &RefreshToken) {
        let (outcome, _) = self.rotate(token).await;
        if self.now >= session.expires {
            assert_eq!(outcome, RotateOutcome::Unknown);
        } else {
            assert!(matches!(outcome, RotateOutcome::Reused { session: id, .. } if id == session.id));
            self.end(device);
        }
    }

    /// What lives in the model lives in the store, and nothing else.
    async fn check(&self) {
        let mut alive = 0;
        for session in self.live.iter().flatten() {
            let found = self.store.session(session.id, self.at()).await.unwrap();
            assert_eq!(found.is_some(), self.now < session.expires);
            alive += usize::from(found.is_some());
        }
        for session in &self.ended {
            assert!(self.store.session(session.id, self.at()).await.unwrap().is_none());
        }
        assert_eq!(self.store.sessions(ACI, self.at()).await.unwrap().len(), alive);
        if let Some(session) = self.ended.last() {
            for token in &session.tokens {
                assert_eq!(
                    self.rotate(token).await.0,
                    RotateOutcome::Unknown,
                    "nothing of it is good any more"
                );
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let device = 0..DEVICES;
    prop_oneof![
        2 => device.clone().prop_map(Step::Login),
        6 => device.clone().prop_map(Step::Refresh),
        1 => (device.clone(), 0..8_usize).prop_map(|(device, which)| Step::Replay(device, which)),
        1 => device.clone().prop_map(Step::Forge),
        1 => device.clone().prop_map(Step::Logout),
        1 => device.prop_map(Step::ChangePassword),
        2 => (1..50_u64).prop_map(Step::Minutes),
    ]
}

async fn run(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let entropy = Arc::new(SeededEntropy::new(1));
    let vault = Vault::new(Keyring::generate(entropy.as_ref()), entropy);
    let file = directory.path().join("accounts.sqlite");
    let database = Arc::new(Database::open(&file, Schema::Accounts, true).unwrap());
    let mut world = World {
        store: SqliteAccounts::new(database, vault),
        entropy: SeededEntropy::new(2),
        now: 1_700_000_000_000,
        version: 1,
        live: vec![None; DEVICES],
        ended: Vec::new(),
    };
    let (session, known) = world.new_session();
    let new = NewNativeAccount {
        aci: ACI,
        username: Username::new("alice").unwrap(),
        password: PasswordHash::from_text(HASH).unwrap(),
        keys: None,
        device: world.device(0),
        session,
        admitted: auth::admission::Admitted::Freely,
        email: None,
    };
    world.store.register(new).await.unwrap();
    world.live[0] = Some(known);
    for step in steps {
        world.take(step).await;
        world.check().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_session_lives_as_long_as_only_its_present_token_is_shown(steps in proptest::collection::vec(step(), 1..40)) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(run(steps));
    }
}
