//! What every [`SecondFactorStore`] must do.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{sync::Arc, time::Duration};

use auth::second_factor::{
    EncryptedLabel, FACTORS_MAX, FactorId, FactorKind, FactorSecret, Label, PlainLabel, TOTP_KEYS_MAX,
    attempts::{FREE, WAIT_MAX},
    recovery::RecoveryCode,
    store::{AddOutcome, Advance, NewFactor, PendingTotp, SecondFactorStore},
    totp::TotpKey,
    webauthn::{Credential, CredentialId, PublicKey},
};
use protocol::{
    Aci, ServiceId,
    ambient::{SeededEntropy, Timestamp},
};
use uuid::Uuid;

use super::accounts::{self, two_accounts};

/// One store seen through each of its traits.
#[derive(Clone)]
pub struct Stores {
    /// The accounts that have factors.
    pub accounts: accounts::Stores,
    /// The factors.
    pub factors: Arc<dyn SecondFactorStore>,
}

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const NOBODY: Aci = Aci(Uuid::nil());

fn key(seed: u64) -> TotpKey {
    TotpKey::random(&SeededEntropy::new(seed))
}

fn pending(seed: u64) -> PendingTotp {
    PendingTotp { key: key(seed), expires: NOW.saturating_add(Duration::from_hours(24)) }
}

fn encrypted(fill: u8) -> Label {
    Label::Encrypted(EncryptedLabel::new(&[fill; EncryptedLabel::LEN]).unwrap())
}

fn plain(text: &str) -> Label {
    Label::Plain(PlainLabel::new(text.to_owned()).unwrap())
}

fn totp(seed: u64) -> NewFactor {
    NewFactor { secret: FactorSecret::Totp(key(seed)), counter: 7, label: encrypted(1), at: NOW }
}

/// The id that the passkey of that number has.
pub fn credential_id(number: u8) -> CredentialId {
    CredentialId::try_from([&b"a credential id: "[..], &[number]].concat()).unwrap()
}

/// The passkey of that number.
pub(super) fn passkey(number: u8) -> NewFactor {
    let credential = Credential {
        id: credential_id(number),
        public_key: PublicKey::EdDsa([number; 32]),
        user_verified: true,
    };
    NewFactor { secret: FactorSecret::Passkey(credential), counter: 0, label: plain("blue key"), at: NOW }
}

/// The id of a factor.
pub(super) fn id(number: u32) -> FactorId {
    FactorId::try_from(number).unwrap()
}

async fn add_totp(store: &dyn SecondFactorStore, aci: Aci, seed: u64) -> AddOutcome {
    assert!(store.set_pending(aci, pending(seed)).await.unwrap());
    store.add(aci, totp(seed)).await.unwrap()
}

/// Gives an account the passkey of that number.
pub async fn add_passkey(store: &dyn SecondFactorStore, aci: Aci, number: u8) {
    assert!(matches!(store.add(aci, passkey(number)).await.unwrap(), AddOutcome::Added(_)));
}

/// Runs the whole suite; `open` opens the same store anew, as after a restart.
pub async fn run<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = Stores>,
{
    let stores = open().await;
    let [alice, bob] = two_accounts(&stores.accounts).await;
    let store = &*stores.factors;
    nobody_has_nothing(store).await;
    keys_count_once_they_are_confirmed(&stores, alice).await;
    counters_advance_once(&stores.factors, alice).await;
    attempts_are_counted_until_one_is_right(&stores.factors, alice).await;
    passkeys_belong_to_one_account(store, alice, bob).await;
    labels_change(store, alice).await;
    recovery_codes_are_good_once(&stores.factors, alice, bob).await;
    drop(stores);
    let stores = open().await;
    what_was_written_is_there(&*stores.factors, alice).await;
    bounds_hold(&stores.factors, bob).await;
    factors_are_removed(&*stores.factors, alice).await;
    factors_go_with_their_account(&stores, alice).await;
}

async fn nobody_has_nothing(store: &dyn SecondFactorStore) {
    assert!(store.factors(NOBODY).await.unwrap().is_none());
    assert!(!store.set_pending(NOBODY, pending(1)).await.unwrap());
    assert_eq!(store.add(NOBODY, totp(1)).await.unwrap(), AddOutcome::NoSuchAccount);
    assert_eq!(store.attempt(NOBODY, NOW).await.unwrap(), Ok(()));
    assert!(!store.proved(NOBODY, id(0), Advance { from: 0, to: 1 }).await.unwrap());
    assert!(!store.set_label(NOBODY, id(0), plain("x")).await.unwrap());
    assert!(!store.remove(NOBODY, id(0), None).await.unwrap());
    assert_eq!(store.passkey_owner(&credential_id(1)).await.unwrap(), None);
}

async fn keys_count_once_they_are_confirmed(stores: &Stores, aci: Aci) {
    let store = &*stores.factors;
    let before = stores.accounts.accounts.account(ServiceId::Aci(aci)).await.unwrap().unwrap();
    assert_eq!(store.add(aci, totp(1)).await.unwrap(), AddOutcome::NotPending);
    store.set_pending(aci, pending(1)).await.unwrap();
    store.set_pending(aci, pending(2)).await.unwrap();
    assert_eq!(store.add(aci, totp(1)).await.unwrap(), AddOutcome::NotPending, "another took its place");
    let found = store.factors(aci).await.unwrap().unwrap();
    assert!(found.confirmed.is_empty() && found.has_number);
    assert!(found.pending.unwrap().key.is(&key(2)));

    assert_eq!(store.add(aci, totp(2)).await.unwrap(), AddOutcome::Added(id(0)));
    assert_eq!(store.add(aci, totp(2)).await.unwrap(), AddOutcome::NotPending, "it counts already");
    let found = store.factors(aci).await.unwrap().unwrap();
    assert!(found.pending.is_none());
    let [factor] = &found.confirmed[..] else { panic!("one factor") };
    assert!(matches!(&factor.secret, FactorSecret::Totp(kept) if kept.is(&key(2))));
    assert_eq!((factor.id, factor.counter, factor.created), (id(0), 7, NOW));
    assert_eq!(factor.label, encrypted(1));
    let after = stores.accounts.accounts.account(ServiceId::Aci(aci)).await.unwrap().unwrap();
    assert!(after.version > before.version, "what was checked without the factor is checked again");
}

async fn counters_advance_once(store: &Arc<dyn SecondFactorStore>, aci: Aci) {
    let races = (0..8).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.proved(aci, id(0), Advance { from: 7, to: 8 }).await })
    });
    let mut won = 0;
    for race in races.collect::<Vec<_>>() {
        won += usize::from(race.await.unwrap().unwrap());
    }
    assert_eq!(won, 1);
    assert!(!store.proved(aci, id(1), Advance { from: 0, to: 1 }).await.unwrap(), "there is no such factor");
    assert_eq!(store.factors(aci).await.unwrap().unwrap().confirmed[0].counter, 8);
}

async fn attempts_are_counted_until_one_is_right(store: &Arc<dyn SecondFactorStore>, aci: Aci) {
    let tries = (0..FREE + 3).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.attempt(aci, NOW).await })
    });
    let mut admitted = 0;
    for attempt in tries.collect::<Vec<_>>() {
        admitted += u32::from(attempt.await.unwrap().unwrap().is_ok());
    }
    assert_eq!(admitted, FREE, "many at once are as many");
    let Err(wait) = store.attempt(aci, NOW).await.unwrap() else { panic!("one has to wait") };
    assert!(wait <= WAIT_MAX);
    let later = NOW.saturating_add(wait);
    assert_eq!(store.attempt(aci, later).await.unwrap(), Ok(()));
    assert!(store.attempt(aci, later).await.unwrap().unwrap_err() > wait, "the next wait is longer");
    assert!(store.proved(aci, id(0), Advance { from: 8, to: 9 }).await.unwrap());
    for _ in 0..FREE {
        assert_eq!(store.attempt(aci, NOW).await.unwrap(), Ok(()), "all is forgotten");
    }
    assert!(store.attempt(aci, NOW).await.unwrap().is_err());
}

async fn passkeys_belong_to_one_account(store: &dyn SecondFactorStore, alice: Aci, bob: Aci) {
    assert_eq!(store.add(alice, passkey(1)).await.unwrap(), AddOutcome::Added(id(1)));
    assert_eq!(store.attempt(alice, NOW).await.unwrap(), Ok(()), "a new factor is a right answer");
    for other in [alice, bob] {
        assert_eq!(store.add(other, passkey(1)).await.unwrap(), AddOutcome::Taken);
    }
    assert_eq!(store.passkey_owner(&credential_id(1)).await.unwrap(), Some(alice));
    assert_eq!(store.passkey_owner(&credential_id(2)).await.unwrap(), None);
}

async fn labels_change(store: &dyn SecondFactorStore, aci: Aci) {
    for label in [plain("green key"), encrypted(9), plain("red key")] {
        assert!(store.set_label(aci, id(1), label.clone()).await.unwrap());
        assert_eq!(store.factors(aci).await.unwrap().unwrap().confirmed[1].label, label);
    }
    assert!(!store.set_label(aci, id(2), plain("x")).await.unwrap());
}

async fn recovery_codes_are_good_once(store: &Arc<dyn SecondFactorStore>, alice: Aci, bob: Aci) {
    let codes: Vec<_> = (0..4).map(|seed| RecoveryCode::random(&SeededEntropy::new(seed))).collect();
    assert!(!store.set_recovery_codes(bob, &codes).await.unwrap(), "there is no factor to stand in for");
    assert!(!store.set_recovery_codes(NOBODY, &codes).await.unwrap());
    assert!(store.set_recovery_codes(alice, &codes[..1]).await.unwrap());
    assert!(store.set_recovery_codes(alice, &codes[1..]).await.unwrap());
    assert_eq!(store.factors(alice).await.unwrap().unwrap().recovery_codes, 3);
    for (aci, code) in [(alice, &codes[0]), (bob, &codes[1]), (NOBODY, &codes[1])] {
        assert!(!store.use_recovery_code(aci, code).await.unwrap());
    }
    while store.attempt(alice, NOW).await.unwrap().is_ok() {}
    let races = (0..8).map(|_| {
        let (store, code) = (Arc::clone(store), codes[1].clone());
        tokio::spawn(async move { store.use_recovery_code(alice, &code).await })
    });
    let mut used = 0;
    for race in races.collect::<Vec<_>>() {
        used += usize::from(race.await.unwrap().unwrap());
    }
    assert_eq!(used, 1);
    assert_eq!(store.attempt(alice, NOW).await.unwrap(), Ok(()), "attempts are forgotten");
    assert_eq!(store.factors(alice).await.unwrap().unwrap().recovery_codes, 2);
}

async fn what_was_written_is_there(store: &dyn SecondFactorStore, aci: Aci) {
    let found = store.factors(aci).await.unwrap().unwrap();
    let kinds: Vec<_> = found.confirmed.iter().map(|factor| factor.secret.kind()).collect();
    assert_eq!(kinds, [FactorKind::Totp, FactorKind::Passkey]);
    assert_eq!(found.confirmed[0].counter, 9);
    assert_eq!(found.confirmed[1].label, plain("red key"));
    let NewFactor { secret: FactorSecret::Passkey(expected), .. } = passkey(1) else { unreachable!() };
    assert!(matches!(&found.confirmed[1].secret, FactorSecret::Passkey(kept) if *kept == expected));
}

async fn bounds_hold(store: &Arc<dyn SecondFactorStore>, aci: Aci) {
    for seed in 0..TOTP_KEYS_MAX as u64 {
        assert!(matches!(add_totp(&**store, aci, 10 + seed).await, AddOutcome::Added(_)));
    }
    assert_eq!(add_totp(&**store, aci, 20).await, AddOutcome::TooMany);
    let races = (100..120).map(|number| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.add(aci, passkey(number)).await })
    });
    let mut added = TOTP_KEYS_MAX;
    for race in races.collect::<Vec<_>>() {
        added += usize::from(matches!(race.await.unwrap().unwrap(), AddOutcome::Added(_)));
    }
    assert_eq!(added, FACTORS_MAX);
    assert_eq!(store.factors(aci).await.unwrap().unwrap().confirmed.len(), FACTORS_MAX);
}

async fn factors_are_removed(store: &dyn SecondFactorStore, aci: Aci) {
    assert!(!store.remove(aci, id(1), Some(FactorKind::Totp)).await.unwrap(), "it is a passkey");
    assert!(store.remove(aci, id(1), Some(FactorKind::Passkey)).await.unwrap());
    assert!(!store.remove(aci, id(1), None).await.unwrap());
    assert_eq!(store.passkey_owner(&credential_id(1)).await.unwrap(), None);
    assert_eq!(store.add(aci, passkey(1)).await.unwrap(), AddOutcome::Added(id(1)), "its number is free");
    assert_eq!(store.factors(aci).await.unwrap().unwrap().recovery_codes, 2);
    for number in [0, 1] {
        assert!(store.remove(aci, id(number), None).await.unwrap());
    }
    assert_eq!(
        store.factors(aci).await.unwrap().unwrap().recovery_codes,
        0,
        "they went with the last factor"
    );
    assert_eq!(store.add(aci, passkey(1)).await.unwrap(), AddOutcome::Added(id(0)));
}

async fn factors_go_with_their_account(stores: &Stores, aci: Aci) {
    assert!(stores.accounts.accounts.delete(aci, NOW).await.unwrap());
    assert!(stores.factors.factors(aci).await.unwrap().is_none());
    assert_eq!(stores.factors.passkey_owner(&credential_id(1)).await.unwrap(), None);
}
