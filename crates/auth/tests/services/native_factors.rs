//! Second factors of native accounts, from the outside: what depends on time, and on what else happens meanwhile.

use std::{sync::Arc, time::Duration};

use auth::{
    audit::NoAuditTrail,
    native::{
        AccessTokenConfig, AccessTokens, Bearer, DeviceClaim, DeviceIdentifier, HashingConfig, LoggedIn,
        LoginRequest, NativeParts, NativeService, Origin, PasswordHasher, PasswordPolicy, RegisterRequest,
        SessionConfig,
        access::{KeySet, SigningKey},
        error::LoginError,
        factors::{
            FRESH_LIFE, OwnerProof, PasskeyLoginError, ReauthenticateError, SECOND_STEP_LIFE, SecondStep,
            SecondStepError, TRIES_MAX,
        },
    },
    second_factor::{
        Ceremony, FactorProof, Label, PlainLabel,
        recovery::RecoveryCode,
        totp::{STEP, TotpKey, step_at},
        webauthn::{AssertionResponse, AttestationResponse},
    },
};
use proptest::prelude::*;
use protocol::{Aci, ambient::SeededEntropy};
use serde_json::{Value, json};
use testkit::{Authenticator, authenticator::Created};
use zeroize::Zeroizing;

use crate::support::{DOMAIN, NUMBER, ORIGIN, World};

const PASSWORD: &str = "a sentence is fine";
const HERE: Origin = Origin([1; 8]);

fn native(world: &World) -> NativeService {
    let (clock, entropy) = (Arc::new(world.clock.clone()), world.entropy.clone());
    let key = SigningKey::from_secret(&[1; SigningKey::SECRET_LEN]).unwrap();
    let config = AccessTokenConfig {
        issuer: ORIGIN.to_owned(),
        audience: "heliograph".to_owned(),
        lifetime: Duration::from_mins(15),
    };
    let keys = KeySet { current: key, former: Vec::new() };
    NativeService::new(NativeParts {
        store: world.store.clone(),
        emails: world.store.clone(),
        letters: None,
        devices: world.store.clone(),
        links: world.store.clone(),
        admission: world.admission.clone(),
        revocations: world.revocations.clone(),
        audit: Arc::new(NoAuditTrail),
        hasher: PasswordHasher::start(HashingConfig::default(), entropy.clone(), || {}).unwrap(),
        policy: PasswordPolicy::default(),
        tokens: Arc::new(AccessTokens::new(config, keys, clock.clone(), entropy.clone())),
        sessions: SessionConfig::default(),
        second_factors: world.second_factors.clone(),
        limits: world.limits.clone(),
        clock,
        entropy,
    })
}

fn device(text: &str) -> DeviceClaim {
    let identifier = DeviceIdentifier::new(text.to_owned()).unwrap();
    DeviceClaim { identifier, label: None, registration_id: None }
}

fn label() -> Label {
    Label::Plain(PlainLabel::new("my phone".to_owned()).unwrap())
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

/// An account of that name, logged in on its first device.
async fn registered(native: &NativeService, username: &str) -> (Aci, Bearer) {
    let request = RegisterRequest {
        username: username.to_owned(),
        password: secret(PASSWORD),
        device: device("phone"),
        keys: None,
        invite: None,
        email: None,
    };
    let logged_in = native.register(request, HERE).await.unwrap();
    (logged_in.device.aci, native.bearer(&logged_in.tokens.access).await.unwrap())
}

async fn login(native: &NativeService, password: &str, text: &str) -> Result<LoggedIn, LoginError> {
    let request =
        LoginRequest { username: "alice".to_owned(), password: secret(password), device: device(text) };
    native.login(request, HERE).await
}

/// Shows the right password, and is asked for more.
async fn halfway(native: &NativeService, password: &str, text: &str) -> Box<SecondStep> {
    match login(native, password, text).await {
        Err(LoginError::SecondFactorRequired(step)) => step,
        other => panic!("{other:?}"),
    }
}

async fn add_totp(world: &World, aci: Aci) -> TotpKey {
    let key = world.second_factors.generate_totp(aci).await.unwrap();
    let password = key.password(step_at(world.now()));
    world.second_factors.confirm_totp(aci, password, label()).await.unwrap();
    world.clock.advance(STEP * 3);
    key
}

fn shown(world: &World, key: &TotpKey) -> FactorProof {
    FactorProof::Totp(key.password(step_at(world.now())))
}

fn assertion(json: &Value) -> AssertionResponse {
    AssertionResponse::from_json(&json.to_string()).unwrap()
}

#[tokio::test]
async fn a_log_in_waits_for_its_factor_for_a_while() {
    let world = World::new();
    let native = native(&world);
    let (aci, _) = registered(&native, "alice").await;
    let key = add_totp(&world, aci).await;
    let step = halfway(&native, PASSWORD, "tablet").await;
    world.clock.advance(SECOND_STEP_LIFE);
    let in_time = native.finish_login(&step.token.to_text(), shown(&world, &key), HERE).await;
    assert_eq!(in_time.unwrap().device.aci, aci);
    let step = halfway(&native, PASSWORD, "tablet").await;
    world.clock.advance(SECOND_STEP_LIFE + Duration::from_millis(1));
    let late = native.finish_login(&step.token.to_text(), shown(&world, &key), HERE).await;
    assert!(matches!(late, Err(SecondStepError::Over)));
}

#[tokio::test]
async fn a_log_in_does_not_last_longer_for_what_goes_wrong() {
    let world = World::new();
    let native = native(&world);
    let (aci, _) = registered(&native, "alice").await;
    let key = add_totp(&world, aci).await;
    let step = halfway(&native, PASSWORD, "tablet").await;
    let wrong = || FactorProof::RecoveryCode(RecoveryCode::random(&SeededEntropy::new(9)));
    for _ in 1..TRIES_MAX {
        world.clock.advance(SECOND_STEP_LIFE / TRIES_MAX);
        let refused = native.finish_login(&step.token.to_text(), wrong(), HERE).await;
        assert!(matches!(refused, Err(SecondStepError::Refused(_))), "{refused:?}");
    }
    world.clock.advance(SECOND_STEP_LIFE / TRIES_MAX + Duration::from_millis(1));
    let late = native.finish_login(&step.token.to_text(), shown(&world, &key), HERE).await;
    assert!(matches!(late, Err(SecondStepError::Over)));
}

#[tokio::test]
async fn a_fresh_proof_is_good_for_a_while_and_for_its_session() {
    let world = World::new();
    let native = native(&world);
    let (_, bearer) = registered(&native, "alice").await;
    let (_, other) = registered(&native, "bob").await;
    let prove = || OwnerProof::Password(secret(PASSWORD), None);
    let fresh = native.reauthenticate(&bearer, prove()).await.unwrap();
    let text = fresh.token.to_text();
    assert!(native.is_fresh(&bearer, &text) && !native.is_fresh(&other, &text));
    assert!(!native.is_fresh(&bearer, "") && !native.is_fresh(&bearer, &text[1..]));
    world.clock.advance(FRESH_LIFE);
    assert!(native.is_fresh(&bearer, &text));
    world.clock.advance(Duration::from_millis(1));
    assert!(!native.is_fresh(&bearer, &text));
    let wrong = native.reauthenticate(&bearer, OwnerProof::Password(secret("a wrong guess"), None)).await;
    assert!(matches!(wrong, Err(ReauthenticateError::WrongPassword)));
    assert!(!native.is_fresh(&bearer, &text));
}

#[tokio::test]
async fn a_passkey_of_an_official_client_opens_no_native_session() {
    let world = World::new();
    let native = native(&world);
    let official = world.registered(NUMBER, "one", &json!({})).await.identity.aci;
    let mut authenticator = Authenticator::es256(DOMAIN, ORIGIN).unwrap();
    let (challenge, _) = world.second_factors.start_passkey(official).await.unwrap();
    let Created { client_data, attestation_object } = authenticator.create(&challenge);
    let made = AttestationResponse { client_data: &client_data, attestation_object: &attestation_object };
    world.second_factors.finish_passkey(official, Ceremony::Challenged, made, label()).await.unwrap();
    let offer = native.start_passkey_login(HERE).unwrap();
    let used = assertion(&authenticator.get(&offer.challenge).unwrap());
    let refused = native.finish_passkey_login(&used, device("phone"), HERE).await;
    assert!(matches!(refused, Err(PasskeyLoginError::Refused)));
}

/// What happens to log-ins of an account with recovery codes.
#[derive(Clone, Debug)]
enum Event {
    /// The right password is shown on that device.
    Begin(usize),
    /// The recovery code of that number is shown for the log-in that began last on that device.
    Show(usize, usize),
    /// One that the account never had.
    Guess(usize),
    /// Time passes, in seconds.
    Wait(u64),
    /// The password is changed by somebody who is logged in.
    ChangePassword,
}

const DEVICES: usize = 3;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..DEVICES).prop_map(Event::Begin),
        5 => (0..DEVICES, 0..4_usize).prop_map(|(device, code)| Event::Show(device, code)),
        3 => (0..DEVICES).prop_map(Event::Guess),
        2 => (1..200_u64).prop_map(Event::Wait),
        1 => Just(Event::ChangePassword),
    ];
    proptest::collection::vec(event, 1..30)
}

/// What is known of a log-in that waits.
struct Waiting {
    token: Zeroizing<String>,
    began: protocol::ambient::Timestamp,
    tries_left: u32,
    password: String,
}

struct Model {
    world: World,
    native: NativeService,
    bearer: Bearer,
    codes: Vec<RecoveryCode>,
    used: Vec<bool>,
    password: String,
    waiting: [Option<Waiting>; DEVICES],
}

impl Model {
    async fn new() -> Self {
        let world = World::new();
        let native = native(&world);
        let (aci, bearer) = registered(&native, "alice").await;
        add_totp(&world, aci).await;
        let codes = world.second_factors.make_recovery_codes(aci).await.unwrap().unwrap();
        let used = vec![false; codes.len()];
        let waiting = [(); DEVICES].map(|()| None);
        Self { world, native, bearer, codes, used, password: PASSWORD.to_owned(), waiting }
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Begin(place) => {
                let step = halfway(&self.native, &self.password, &format!("device {place}")).await;
                self.waiting[place] = Some(Waiting {
                    token: step.token.to_text(),
                    began: self.world.now(),
                    tries_left: TRIES_MAX,
                    password: self.password.clone(),
                });
            }
            Event::Show(place, number) => {
                let code = self.codes[number].clone();
                self.show(place, code, Some(number)).await;
            }
            Event::Guess(place) => {
                let code = RecoveryCode::random(&SeededEntropy::new(77));
                self.show(place, code, None).await;
            }
            Event::Wait(seconds) => self.world.clock.advance(Duration::from_secs(seconds)),
            Event::ChangePassword => {
                let new = format!("{} and longer", self.password);
                self.native.change_password(&self.bearer, &self.password, &new).await.unwrap();
                self.password = new;
            }
        }
    }

    async fn show(&mut self, place: usize, code: RecoveryCode, number: Option<usize>) {
        let Some(waiting) = &mut self.waiting[place] else { return };
        let proof = FactorProof::RecoveryCode(code);
        let outcome = self.native.finish_login(&waiting.token, proof, HERE).await;
        let over =
            self.world.now().saturating_since(waiting.began) > SECOND_STEP_LIFE || waiting.tries_left == 0;
        let good = number.is_some_and(|number| !self.used[number]);
        match outcome {
            // Nothing was looked at: the log-in waits on, and the code is as good as before.
            Err(SecondStepError::RateLimited(_)) => assert!(!over),
            Ok(_) => {
                assert!(!over && good && waiting.password == self.password);
                self.used[number.unwrap()] = true;
                waiting.tries_left = 0;
            }
            Err(SecondStepError::Refused(offer)) => {
                assert!(!over && !good && offer.has_totp);
                waiting.tries_left -= 1;
                assert!(waiting.tries_left > 0);
            }
            Err(SecondStepError::Over) if over => {}
            // The password is another by now; the code has been used up all the same.
            Err(SecondStepError::Over) if good => {
                assert_ne!(waiting.password, self.password);
                self.used[number.unwrap()] = true;
                waiting.tries_left = 0;
            }
            Err(SecondStepError::Over) => {
                waiting.tries_left -= 1;
                assert_eq!(waiting.tries_left, 0, "it ends with the last try and not before");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Over any course of events: a session opens only for the present password with a code that was not used, in time,
    /// once for each log-in, and after no more wrong factors than there may be.
    #[test]
    fn a_session_takes_the_present_password_and_a_fresh_factor(events in events()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new().await;
            for event in events {
                model.take(event).await;
            }
        });
    }
}
