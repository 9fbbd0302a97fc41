//! What every [`SessionStore`] must do.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{sync::Arc, time::Duration};

use auth::verification::{IDLE_LIFE, Session, SessionId, SessionStore, VerificationPolicy};
use protocol::ambient::{SeededEntropy, Timestamp};

type Store = Arc<dyn SessionStore>;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn id(seed: u64) -> SessionId {
    SessionId::random(&SeededEntropy::new(seed))
}

fn session(digit: u8) -> Session {
    let number = format!("+1555010000{digit}").parse().unwrap();
    Session::new(number, &VerificationPolicy::default(), NOW)
}

/// Runs the whole suite; `open` opens the same store anew, as after a restart.
pub async fn run<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = Store>,
{
    let store = open().await;
    keeps_sessions_apart(&store).await;
    replaces_only_the_version_it_knows(&store).await;
    one_of_many_replacements_wins(&store).await;
    ends_sessions(&store).await;
    store.insert(&id(90), session(9)).await.unwrap();
    drop(store);
    let store = open().await;
    let found = store.load(&id(90), NOW).await.unwrap().unwrap();
    assert_eq!(found.session, session(9));
}

async fn keeps_sessions_apart(store: &Store) {
    store.insert(&id(1), session(1)).await.unwrap();
    store.insert(&id(2), session(2)).await.unwrap();
    for digit in [1, 2] {
        let found = store.load(&id(digit.into()), NOW).await.unwrap().unwrap();
        assert_eq!(found.session, session(digit));
    }
    assert!(store.load(&id(3), NOW).await.unwrap().is_none());
}

async fn replaces_only_the_version_it_knows(store: &Store) {
    store.insert(&id(10), session(1)).await.unwrap();
    let before = store.load(&id(10), NOW).await.unwrap().unwrap().version;
    assert!(store.replace(&id(10), before, session(2)).await.unwrap());
    assert!(!store.replace(&id(10), before, session(3)).await.unwrap());
    let after = store.load(&id(10), NOW).await.unwrap().unwrap();
    assert_eq!(after.session, session(2));
    assert_ne!(after.version, before);
    assert!(!store.replace(&id(11), 0, session(1)).await.unwrap(), "no such session");
}

async fn one_of_many_replacements_wins(store: &Store) {
    store.insert(&id(20), session(0)).await.unwrap();
    let version = store.load(&id(20), NOW).await.unwrap().unwrap().version;
    let tries = (1..=8).map(|digit| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.replace(&id(20), version, session(digit)).await })
    });
    let mut won = 0;
    for outcome in tries.collect::<Vec<_>>() {
        won += usize::from(outcome.await.unwrap().unwrap());
    }
    assert_eq!(won, 1);
}

async fn ends_sessions(store: &Store) {
    store.insert(&id(30), session(1)).await.unwrap();
    let end = NOW.saturating_add(IDLE_LIFE);
    let before_end = Timestamp::from_millis(end.as_millis() - 1);
    assert!(store.load(&id(30), before_end).await.unwrap().is_some());
    assert!(store.load(&id(30), end).await.unwrap().is_none());
    assert_eq!(store.remove_expired(before_end).await.unwrap(), 0);
    assert!(store.remove_expired(end.saturating_add(Duration::from_secs(1))).await.unwrap() > 0);
    assert!(store.load(&id(30), NOW).await.unwrap().is_none());
}
