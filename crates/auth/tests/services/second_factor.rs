//! Second factors, from the outside.

use std::time::Duration;

use auth::{
    registration::RegisterError,
    second_factor::{
        CHALLENGE_LIFE, Ceremony, EncryptedLabel, FACTORS_MAX, FactorError, FactorId, FactorKind, Label,
        PENDING_LIFE,
        attempts::{FIRST_WAIT, FREE, WAIT_MAX},
        recovery::CODES,
        totp::{OneTimePassword, STEP, TotpKey, step_at},
        webauthn::{AssertionResponse, AttestationResponse},
    },
};
use limits::RetryAfter;
use proptest::prelude::*;
use protocol::Aci;
use serde_json::{Value, json};
use testkit::{Authenticator, authenticator::Created};

use crate::support::{DOMAIN, NUMBER, ORIGIN, World};

fn label() -> Label {
    Label::Encrypted(EncryptedLabel::new(&[7; EncryptedLabel::LEN]).unwrap())
}

impl World {
    fn password(&self, key: &TotpKey) -> OneTimePassword {
        key.password(step_at(self.now()))
    }

    /// A six-digit number that is none of the passwords about now.
    fn wrong_password(&self, key: &TotpKey) -> OneTimePassword {
        let step = step_at(self.now());
        let near: Vec<_> = (step - 2..=step + 2).map(|step| key.password(step).number()).collect();
        OneTimePassword::from_number((0..1_000_000).find(|number| !near.contains(number)).unwrap())
    }

    async fn person(&self) -> Aci {
        self.registered(NUMBER, "one", &json!({})).await.identity.aci
    }

    /// Gives the account a key for one-time passwords, none of whose passwords of the present is used up.
    async fn totp_key(&self, aci: Aci) -> TotpKey {
        let key = self.second_factors.generate_totp(aci).await.unwrap();
        self.second_factors.confirm_totp(aci, self.password(&key), label()).await.unwrap();
        self.clock.advance(STEP * 3);
        key
    }

    async fn add_passkey(&self, aci: Aci, authenticator: &Authenticator) -> Result<FactorId, FactorError> {
        let (challenge, _) = self.second_factors.start_passkey(aci).await?;
        let created = authenticator.create(&challenge);
        self.finish_passkey(aci, &created).await
    }

    async fn finish_passkey(&self, aci: Aci, created: &Created) -> Result<FactorId, FactorError> {
        let Created { client_data, attestation_object } = created;
        let response = AttestationResponse { client_data, attestation_object };
        self.second_factors.finish_passkey(aci, Ceremony::Challenged, response, label()).await
    }

    async fn verify(&self, aci: Aci, json: &Value) -> Result<(), FactorError> {
        self.second_factors.verify_passkey(aci, &assertion(json)).await
    }
}

fn authenticator() -> Authenticator {
    Authenticator::es256(DOMAIN, ORIGIN).unwrap()
}

fn assertion(json: &Value) -> AssertionResponse {
    AssertionResponse::from_json(&json.to_string()).unwrap()
}

fn waits(result: &Result<(), FactorError>) -> Option<Duration> {
    match result {
        Err(FactorError::RateLimited(RetryAfter(wait))) => Some(*wait),
        _ => None,
    }
}

#[tokio::test]
async fn a_key_counts_when_a_password_of_it_has_come_back() {
    let world = World::new();
    let aci = world.person().await;
    let factors = &world.second_factors;
    let first = factors.generate_totp(aci).await.unwrap();
    let second = factors.generate_totp(aci).await.unwrap();
    let confirm = |key: &TotpKey| factors.confirm_totp(aci, world.password(key), label());
    assert!(matches!(confirm(&first).await, Err(FactorError::NotVerified)), "another took its place");
    assert!(!factors.start_verification(aci).await.unwrap().has_totp);
    assert_eq!(confirm(&second).await.unwrap().get(), 0);
    assert!(factors.start_verification(aci).await.unwrap().has_totp);
    assert!(matches!(confirm(&second).await, Err(FactorError::NotVerified)), "it counts already");
    let password = world.password(&second);
    let again = factors.verify_totp(aci, password).await;
    assert!(matches!(again, Err(FactorError::NotVerified)), "the password that confirmed it is used up");
}

#[tokio::test]
async fn a_key_waits_a_day() {
    let world = World::new();
    let aci = world.person().await;
    let key = world.second_factors.generate_totp(aci).await.unwrap();
    world.clock.advance(PENDING_LIFE);
    let late = world.second_factors.confirm_totp(aci, world.password(&key), label()).await;
    assert!(matches!(late, Err(FactorError::NotVerified)));
    let key = world.second_factors.generate_totp(aci).await.unwrap();
    world.clock.advance(PENDING_LIFE.saturating_sub(Duration::from_secs(1)));
    world.second_factors.confirm_totp(aci, world.password(&key), label()).await.unwrap();
}

#[tokio::test]
async fn two_keys_are_enough() {
    let world = World::new();
    let aci = world.person().await;
    world.totp_key(aci).await;
    let second = world.totp_key(aci).await;
    assert!(matches!(world.second_factors.generate_totp(aci).await, Err(FactorError::TooManyTotpKeys)));
    world.second_factors.verify_totp(aci, world.password(&second)).await.unwrap();
    let first = FactorId::try_from(0).unwrap();
    assert!(world.second_factors.remove(aci, first, None).await.unwrap());
    world.second_factors.generate_totp(aci).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_uses_of_one_password_one_counts() {
    let world = World::new();
    let aci = world.person().await;
    let key = world.totp_key(aci).await;
    let password = world.password(&key);
    let races = (0..FREE).map(|_| {
        let factors = world.second_factors.clone();
        tokio::spawn(async move { factors.verify_totp(aci, password).await.is_ok() })
    });
    let mut right = 0;
    for race in races.collect::<Vec<_>>() {
        right += u32::from(race.await.unwrap());
    }
    assert_eq!(right, 1);
    world.clock.advance(WAIT_MAX);
    world.second_factors.verify_totp(aci, world.password(&key)).await.unwrap();
}

#[tokio::test]
async fn wrong_passwords_bring_longer_and_longer_waits_that_a_right_one_ends() {
    let world = World::new();
    let aci = world.person().await;
    let key = world.totp_key(aci).await;
    let factors = &world.second_factors;
    for _ in 0..FREE {
        let wrong = factors.verify_totp(aci, world.wrong_password(&key)).await;
        assert!(matches!(wrong, Err(FactorError::NotVerified)));
    }
    let refused = factors.verify_totp(aci, world.password(&key)).await;
    assert_eq!(waits(&refused), Some(FIRST_WAIT), "even a right one has to wait");
    world.clock.advance(FIRST_WAIT);
    assert!(factors.verify_totp(aci, world.wrong_password(&key)).await.is_err());
    let refused = factors.verify_totp(aci, world.password(&key)).await;
    assert_eq!(waits(&refused), Some(FIRST_WAIT * 2));
    world.clock.advance(FIRST_WAIT * 2);
    factors.verify_totp(aci, world.password(&key)).await.unwrap();
    for _ in 0..FREE {
        assert_eq!(waits(&factors.verify_totp(aci, world.wrong_password(&key)).await), None);
    }
}

#[tokio::test]
async fn registering_again_takes_a_one_time_password_once_there_is_a_key() {
    let world = World::new();
    let aci = world.person().await;
    let key = world.totp_key(aci).await;
    let session = world.verified_session(NUMBER).await;
    let attempt =
        async |totp: Value| world.register(NUMBER, "two", &json!({"sessionId": session, "totp": totp})).await;
    for totp in [Value::Null, json!(world.wrong_password(&key).number()), json!(u32::MAX)] {
        assert!(matches!(attempt(totp).await, Err(RegisterError::SecondFactorRequired)));
    }
    let password = world.password(&key).number();
    let registered = attempt(json!(password)).await.unwrap();
    assert!(registered.reregistration && registered.identity.aci == aci);
    let replayed = attempt(json!(password)).await;
    assert!(matches!(replayed, Err(RegisterError::SecondFactorRequired)), "it is used up");
    world.clock.advance(STEP);
    attempt(json!(world.password(&key).number())).await.unwrap();
    assert_eq!(world.second_factors.list(aci).await.unwrap().len(), 1, "the key stays with the account");
}

#[tokio::test]
async fn guesses_at_registration_are_counted_too() {
    let world = World::new();
    let aci = world.person().await;
    let key = world.totp_key(aci).await;
    let session = world.verified_session(NUMBER).await;
    for _ in 0..FREE {
        let body = json!({"sessionId": session, "totp": world.wrong_password(&key).number()});
        let wrong = world.register(NUMBER, "two", &body).await;
        assert!(matches!(wrong, Err(RegisterError::SecondFactorRequired)));
    }
    let body = json!({"sessionId": session, "totp": world.password(&key).number()});
    let limited = world.register(NUMBER, "two", &body).await;
    assert!(matches!(limited, Err(RegisterError::RateLimited(RetryAfter(wait))) if wait == FIRST_WAIT));
    world.clock.advance(FIRST_WAIT);
    let body = json!({"sessionId": session, "totp": world.password(&key).number()});
    world.register(NUMBER, "two", &body).await.unwrap();
}

#[tokio::test]
async fn a_passkey_proves_and_signs_in() {
    let world = World::new();
    let aci = world.person().await;
    let mut authenticator = authenticator();
    let id = world.add_passkey(aci, &authenticator).await.unwrap();
    let offer = world.second_factors.start_verification(aci).await.unwrap();
    let passkeys = offer.passkeys.unwrap();
    assert!(!offer.has_totp && passkeys.credentials[0].as_bytes() == authenticator.credential_id);
    let used = authenticator.get(&passkeys.challenge).unwrap();
    world.verify(aci, &used).await.unwrap();
    assert!(
        matches!(world.verify(aci, &used).await, Err(FactorError::NotVerified)),
        "a challenge is good once"
    );

    authenticator.user_handle = Some(aci.0.as_bytes().to_vec());
    let asked = world.second_factors.start_sign_in();
    assert!(asked.user_verification && asked.credentials.is_empty() && asked.relying_party == DOMAIN);
    let used = authenticator.get(&asked.challenge).unwrap();
    assert_eq!(world.second_factors.finish_sign_in(&assertion(&used)).await.unwrap(), aci);
    assert!(world.second_factors.finish_sign_in(&assertion(&used)).await.is_err());
    assert!(world.second_factors.remove(aci, id, Some(FactorKind::Passkey)).await.unwrap());
    let used = authenticator.get(&world.second_factors.start_sign_in().challenge).unwrap();
    let removed = world.second_factors.finish_sign_in(&assertion(&used)).await;
    assert!(matches!(removed, Err(FactorError::NotVerified)));
}

#[tokio::test]
async fn challenges_are_for_one_purpose_and_one_account_and_a_while() {
    let world = World::new();
    let aci = world.person().await;
    let other = world.registered("+15550100002", "one", &json!({})).await.identity.aci;
    let mut authenticator = authenticator();
    world.add_passkey(aci, &authenticator).await.unwrap();
    let challenge =
        async || world.second_factors.start_verification(aci).await.unwrap().passkeys.unwrap().challenge;
    let used = authenticator.get(&challenge().await).unwrap();
    assert!(world.second_factors.finish_sign_in(&assertion(&used)).await.is_err(), "another purpose");
    let used = authenticator.get(&world.second_factors.start_sign_in().challenge).unwrap();
    assert!(world.verify(aci, &used).await.is_err(), "another purpose");
    let used = authenticator.get(&challenge().await).unwrap();
    assert!(world.verify(other, &used).await.is_err(), "another account");
    let used = authenticator.get(&[9; 32]).unwrap();
    assert!(world.verify(aci, &used).await.is_err(), "nobody's challenge");
    let late = challenge().await;
    world.clock.advance(CHALLENGE_LIFE + Duration::from_millis(1));
    assert!(world.verify(aci, &authenticator.get(&late).unwrap()).await.is_err(), "too late");
    let created = authenticator.create(&challenge().await);
    assert!(world.finish_passkey(aci, &created).await.is_err(), "another purpose");
    world.verify(aci, &authenticator.get(&challenge().await).unwrap()).await.unwrap();
}

#[tokio::test]
async fn signing_in_takes_a_verified_user_the_right_handle_and_a_counter_that_grows() {
    let world = World::new();
    let aci = world.person().await;
    let mut authenticator = authenticator();
    world.add_passkey(aci, &authenticator).await.unwrap();
    let sign_in = async |authenticator: &mut Authenticator| {
        let used = authenticator.get(&world.second_factors.start_sign_in().challenge).unwrap();
        world.second_factors.finish_sign_in(&assertion(&used)).await.is_ok()
    };
    authenticator.user_verified = false;
    assert!(!sign_in(&mut authenticator).await);
    authenticator.user_verified = true;
    authenticator.user_handle = Some(vec![1; 16]);
    assert!(!sign_in(&mut authenticator).await);
    authenticator.user_handle = None;
    assert!(sign_in(&mut authenticator).await);
    authenticator.counter = Some(0);
    assert!(!sign_in(&mut authenticator).await, "a copy has fallen behind");
    authenticator.counter = Some(100);
    assert!(sign_in(&mut authenticator).await);
}

#[tokio::test]
async fn passkeys_without_a_challenge_are_for_accounts_without_a_number() {
    let world = World::new();
    let aci = world.person().await;
    let started = world.second_factors.passkey_options(aci, Ceremony::Unchallenged).await;
    assert!(matches!(started, Err(FactorError::HasNumber)));
    let Created { client_data, attestation_object } = authenticator().create(&[1; 32]);
    let response = AttestationResponse { client_data: &client_data, attestation_object: &attestation_object };
    let finished = world.second_factors.finish_passkey(aci, Ceremony::Unchallenged, response, label()).await;
    assert!(matches!(finished, Err(FactorError::HasNumber)));
}

#[tokio::test]
async fn an_account_has_a_handful_of_factors() {
    let world = World::new();
    let aci = world.person().await;
    let mut last = authenticator();
    for _ in 0..FACTORS_MAX {
        last = authenticator();
        world.add_passkey(aci, &last).await.unwrap();
    }
    assert!(matches!(world.add_passkey(aci, &authenticator()).await, Err(FactorError::TooMany)));
    assert!(matches!(world.second_factors.generate_totp(aci).await, Err(FactorError::TooMany)));
    let other = world.registered("+15550100002", "one", &json!({})).await.identity.aci;
    let taken = world.add_passkey(other, &last).await;
    assert!(matches!(taken, Err(FactorError::NotVerified)), "a passkey belongs to one account");
}

#[tokio::test]
async fn recovery_codes_stand_in_for_what_was_lost() {
    let world = World::new();
    let aci = world.person().await;
    let factors = &world.second_factors;
    assert!(factors.make_recovery_codes(aci).await.unwrap().is_none(), "there is nothing to lose yet");
    world.totp_key(aci).await;
    let former = factors.make_recovery_codes(aci).await.unwrap().unwrap();
    let codes = factors.make_recovery_codes(aci).await.unwrap().unwrap();
    assert_eq!(factors.start_verification(aci).await.unwrap().recovery_codes, CODES);
    factors.use_recovery_code(aci, &codes[0]).await.unwrap();
    for code in [&codes[0], &former[1]] {
        assert!(matches!(factors.use_recovery_code(aci, code).await, Err(FactorError::NotVerified)));
    }
    assert_eq!(factors.start_verification(aci).await.unwrap().recovery_codes, CODES - 1);
    for _ in 2..FREE {
        assert!(matches!(factors.use_recovery_code(aci, &former[1]).await, Err(FactorError::NotVerified)));
    }
    let refused = factors.use_recovery_code(aci, &codes[1]).await;
    assert!(waits(&refused).is_some(), "guesses are counted together with those of passwords");
}

#[tokio::test]
async fn accounts_that_are_gone_are_told_from_those_that_have_nothing() {
    let world = World::new();
    let nobody = Aci(uuid::Uuid::nil());
    assert!(matches!(world.second_factors.generate_totp(nobody).await, Err(FactorError::Gone)));
    assert!(matches!(world.second_factors.list(nobody).await, Err(FactorError::Gone)));
    let aci = world.person().await;
    assert!(world.second_factors.list(aci).await.unwrap().is_empty());
    let offer = world.second_factors.start_verification(aci).await.unwrap();
    assert!(!offer.has_totp && offer.passkeys.is_none());
}

/// What happens to an account with one key.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in seconds.
    Wait(u64),
    /// The password of the step so many before or after the present one is tried.
    Try(i8),
    /// A wrong one is tried.
    Guess,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u64..4000).prop_map(Step::Wait),
        3 => (-2i8..=2).prop_map(Step::Try),
        4 => Just(Step::Guess),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Over any course of events: no step counts twice or after a later one, nothing far from the present counts,
    /// and after a run of wrong answers nothing is judged until the wait that was told is over, which never is
    /// longer than an hour.
    #[test]
    fn passwords_count_once_and_guesses_cost_time(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let aci = world.person().await;
            let key = world.totp_key(aci).await;
            let (mut last, mut failures) = (0, 0);
            let mut blocked_until = world.now();
            for step in steps {
                let (password, of) = match step {
                    Step::Wait(seconds) => {
                        world.clock.advance(Duration::from_secs(seconds));
                        continue;
                    }
                    Step::Try(offset) => {
                        let of = step_at(world.now()).checked_add_signed(offset.into()).unwrap();
                        (key.password(of), Some((of, offset)))
                    }
                    Step::Guess => (world.wrong_password(&key), None),
                };
                let outcome = world.second_factors.verify_totp(aci, password).await;
                if let Some(wait) = waits(&outcome) {
                    prop_assert!(world.now() < blocked_until && wait <= WAIT_MAX);
                    prop_assert_eq!(world.now().saturating_add(wait), blocked_until);
                    continue;
                }
                prop_assert!(world.now() >= blocked_until);
                let good = of.is_some_and(|(of, offset)| of > last && offset.abs() <= 1);
                prop_assert_eq!(outcome.is_ok(), good);
                if let (true, Some((of, _))) = (good, of) {
                    (last, failures) = (of, 0);
                    blocked_until = world.now();
                } else {
                    failures += 1;
                    if failures >= FREE {
                        let wait = (FIRST_WAIT * (1 << (failures - FREE).min(10))).min(WAIT_MAX);
                        blocked_until = world.now().saturating_add(wait);
                    }
                }
            }
            Ok(())
        })?;
    }
}
