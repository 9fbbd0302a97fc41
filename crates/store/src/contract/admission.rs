//! What every [`AdmissionStore`] must do.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{sync::Arc, time::Duration};

use auth::admission::{
    AdmissionStore, Applicant, ApplicationId, Standing,
    invite::{Invite, InviteCode, InviteId, NewInvite},
};
use protocol::{PhoneNumber, ambient::Timestamp};
use uuid::Uuid;

type Store = Arc<dyn AdmissionStore>;

const BEGIN: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn at(seconds: u64) -> Timestamp {
    BEGIN.saturating_add(Duration::from_secs(seconds))
}

fn number(last: u32) -> PhoneNumber {
    format!("+1555010{last:04}").parse().unwrap()
}

fn code(text: &str) -> InviteCode {
    InviteCode::parse(text).unwrap()
}

fn invite(id: u128, text: &str, bound_to: Option<PhoneNumber>) -> NewInvite {
    let invite = Invite {
        id: InviteId(Uuid::from_u128(id)),
        bound: bound_to.is_some(),
        uses: 2,
        used: 0,
        wrong_codes: 0,
        created: BEGIN,
        expires: at(100),
        revoked: None,
        note: (id == 1).then(|| "for a friend".to_owned()),
        accounts: Vec::new(),
    };
    NewInvite { invite, code: code(text), number: bound_to }
}

/// Runs the whole suite; `open` opens the same store anew, as after a restart.
pub async fn run<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = Store>,
{
    let store = open().await;
    assert_eq!(store.invites().await.unwrap(), []);
    assert_eq!(store.applications().await.unwrap(), []);
    finds_invites(&store).await;
    drop(store);
    let store = open().await;
    voids_what_is_guessed_at(&store).await;
    takes_back(&store).await;
    keeps_those_who_wait(&store).await;
    forgets_what_is_over(&store).await;
}

async fn finds_invites(store: &Store) {
    let (free, bound) = (invite(1, "123456789012", None), invite(2, "123456", Some(number(2))));
    assert!(store.add_invite(free.clone()).await.unwrap());
    assert!(store.add_invite(bound.clone()).await.unwrap());
    assert!(!store.add_invite(invite(3, "123456789012", None)).await.unwrap(), "the code is in use");
    assert!(!store.add_invite(invite(4, "123456", Some(number(2)))).await.unwrap());
    assert!(
        store.add_invite(invite(5, "123456", Some(number(5)))).await.unwrap(),
        "for another number it is not"
    );
    assert_eq!(
        store.invites().await.unwrap(),
        [free.invite, bound.invite, invite(5, "123456", Some(number(5))).invite]
    );

    let find = async |text: &str, number: Option<PhoneNumber>, seconds| {
        let found = store.find_invite(&code(text), number.as_ref(), at(seconds)).await.unwrap();
        found.map(|InviteId(id)| id.as_u128())
    };
    assert_eq!(find("123456789012", None, 99).await, Some(1));
    assert_eq!(find("123456789012", Some(number(9)), 99).await, Some(1));
    assert_eq!(find("123456789012", None, 100).await, None, "it is over");
    assert_eq!(find("123456789013", None, 0).await, None);
    assert_eq!(find("123456", Some(number(2)), 0).await, Some(2));
    assert_eq!(find("123456", Some(number(5)), 0).await, Some(5));
    assert_eq!(find("123456", Some(number(9)), 0).await, None);
    assert_eq!(find("123456", None, 0).await, None);
    assert!(store.is_invited(&number(2), at(99)).await.unwrap());
    assert!(!store.is_invited(&number(2), at(100)).await.unwrap());
    assert!(!store.is_invited(&number(9), at(0)).await.unwrap());
}

async fn voids_what_is_guessed_at(store: &Store) {
    for _ in 0..3 {
        assert!(store.is_invited(&number(2), at(0)).await.unwrap());
        store.wrong_code(&number(2), 3).await.unwrap();
    }
    assert!(!store.is_invited(&number(2), at(0)).await.unwrap());
    assert_eq!(store.find_invite(&code("123456"), Some(&number(2)), at(0)).await.unwrap(), None);
    assert!(store.is_invited(&number(5), at(0)).await.unwrap());
    let wrong: Vec<_> = store.invites().await.unwrap().iter().map(|invite| invite.wrong_codes).collect();
    assert_eq!(wrong, [0, 3, 0]);
}

async fn takes_back(store: &Store) {
    let id = InviteId(Uuid::from_u128(1));
    assert!(store.revoke_invite(id, at(5)).await.unwrap());
    assert!(!store.revoke_invite(id, at(6)).await.unwrap());
    assert!(!store.revoke_invite(InviteId(Uuid::from_u128(77)), at(6)).await.unwrap());
    assert_eq!(store.find_invite(&code("123456789012"), None, at(0)).await.unwrap(), None);
    assert_eq!(store.invites().await.unwrap()[0].revoked, Some(at(5)));
}

async fn keeps_those_who_wait(store: &Store) {
    let apply = async |applicant: &Applicant, id: u128, seconds| {
        store.apply(applicant, ApplicationId(Uuid::from_u128(id)), at(seconds), 2).await.unwrap()
    };
    let (by_number, by_name) = (Applicant::Number(number(1)), Applicant::Name("somebody".to_owned()));
    assert_eq!(apply(&by_number, 1, 0).await, Standing::Pending);
    assert_eq!(apply(&by_number, 2, 1).await, Standing::Pending, "once");
    assert_eq!(apply(&by_name, 3, 2).await, Standing::Pending);
    assert_eq!(apply(&Applicant::Number(number(3)), 4, 3).await, Standing::Pending, "and not noted");
    let waiting: Vec<_> = store.applications().await.unwrap();
    let seen: Vec<_> =
        waiting.iter().map(|found| (found.id.0.as_u128(), &found.applicant, found.asked)).collect();
    assert_eq!(seen, [(1, &by_number, at(0)), (3, &by_name, at(2))]);

    let (one, three) = (ApplicationId(Uuid::from_u128(1)), ApplicationId(Uuid::from_u128(3)));
    assert_eq!(store.decide(one, true, at(10)).await.unwrap(), Some(by_number.clone()));
    assert_eq!(store.decide(three, false, at(11)).await.unwrap(), Some(by_name.clone()));
    assert_eq!(store.decide(ApplicationId(Uuid::from_u128(9)), true, at(12)).await.unwrap(), None);
    assert_eq!(apply(&by_number, 5, 13).await, Standing::Approved(one));
    assert_eq!(apply(&by_name, 6, 13).await, Standing::Refused);
    assert_eq!(apply(&Applicant::Number(number(3)), 7, 14).await, Standing::Pending);
    assert_eq!(store.applications().await.unwrap().len(), 3, "there is room again");
}

async fn forgets_what_is_over(store: &Store) {
    store.remove_expired(at(50), at(11)).await.unwrap();
    assert_eq!(store.invites().await.unwrap().len(), 2, "the revoked one is gone");
    assert_eq!(store.applications().await.unwrap().len(), 2);
    store.remove_expired(at(101), at(101)).await.unwrap();
    assert_eq!((store.invites().await.unwrap().len(), store.applications().await.unwrap().len()), (0, 0));
}
