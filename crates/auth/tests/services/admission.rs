//! Who may register.

use std::time::Duration;

use auth::{
    admission::{
        AdmissionError, AdmissionMode, AdmissionPolicy, Admitted, Applicant,
        invite::{InviteCode, InviteTerms},
    },
    registration::RegisterError,
    verification::{NotDelivered, SessionError},
};
use serde_json::json;

use crate::support::{NUMBER, World};

fn policy(mode: AdmissionMode) -> AdmissionPolicy {
    AdmissionPolicy { mode, ..AdmissionPolicy::default() }
}

fn terms(number: Option<&str>) -> InviteTerms {
    InviteTerms {
        number: number.map(|number| number.parse().unwrap()),
        uses: 1,
        life: Duration::from_hours(24),
        note: None,
    }
}

/// Asks for a code for the number, which is refused; answers whether for good.
async fn refused(world: &World, number: &str) -> bool {
    let session = world.verification.create(number, None).await.unwrap().id;
    match world.request_code(&session).await {
        Err(SessionError::NotDelivered { reason: NotDelivered::ProviderRejected, permanent }) => permanent,
        other => panic!("{other:?}"),
    }
}

/// A session in which a code was asked for and none was sent.
async fn awaiting_invite(world: &World, number: &str) -> String {
    let session = world.verification.create(number, None).await.unwrap().id;
    let view = world.request_code(&session).await.unwrap();
    assert_eq!(view.next_verification_attempt, Some(0));
    assert!(world.outside.codes.lock().await.is_empty());
    session
}

#[tokio::test]
async fn an_invitation_bound_to_a_number_is_typed_as_its_code() {
    let world = World::with_policy(policy(AdmissionMode::Invite));
    let (invite, code) = world.admission.create_invite(terms(Some(NUMBER))).await.unwrap();
    assert_eq!(code.as_str().len(), 6);

    let other = awaiting_invite(&world, "+15550100002").await;
    assert!(!world.verification.submit_code(&other, code.as_str()).await.unwrap().verified, "another number");
    let session = awaiting_invite(&world, NUMBER).await;
    let wrong = if code.as_str() == "000000" { "000001" } else { "000000" };
    assert!(!world.verification.submit_code(&session, wrong).await.unwrap().verified);
    assert!(world.verification.submit_code(&session, code.as_str()).await.unwrap().verified);
    let registered = world.register(NUMBER, "p", &json!({"sessionId": session})).await.unwrap();
    let [found] = world.admission.invites().await.unwrap().try_into().unwrap();
    assert_eq!((found.id, found.used, found.accounts), (invite.id, 1, vec![registered.identity.aci]));
    assert_eq!(found.wrong_codes, 1);

    // The number has an account now: it is proved by a code that is sent.
    let again = world.registered(NUMBER, "q", &json!({})).await;
    assert!(again.reregistration);
}

#[tokio::test]
async fn an_invitation_takes_no_account_from_anybody() {
    let world = World::with_policy(policy(AdmissionMode::Invite));
    let (_, code) = world.admission.create_invite(InviteTerms { uses: 9, ..terms(None) }).await.unwrap();
    // Somebody hands it in for a number that has no account yet, and bides their time.
    let lurking = awaiting_invite(&world, NUMBER).await;
    assert!(world.verification.submit_code(&lurking, code.as_str()).await.unwrap().verified);
    let session = awaiting_invite(&world, NUMBER).await;
    assert!(world.verification.submit_code(&session, code.as_str()).await.unwrap().verified);
    let owner = world.register(NUMBER, "p", &json!({"sessionId": session})).await.unwrap();

    let error = world.register(NUMBER, "q", &json!({"sessionId": lurking})).await.unwrap_err();
    assert!(matches!(error, RegisterError::NotVerified), "{error:?}");
    world.sign_in(owner.identity.aci, "p").await.unwrap();
    // The client that did not hear of its success asks again.
    let again = world.register(NUMBER, "p", &json!({"sessionId": session})).await.unwrap();
    assert_eq!(again.identity.aci, owner.identity.aci);
}

#[tokio::test]
async fn without_an_invitation_there_is_no_account() {
    let world = World::with_policy(policy(AdmissionMode::Invite));
    let session = awaiting_invite(&world, NUMBER).await;
    for guess in ["123456", "123456789012"] {
        assert!(!world.verification.submit_code(&session, guess).await.unwrap().verified);
    }
    let error = world.register(NUMBER, "p", &json!({"sessionId": session})).await.unwrap_err();
    assert!(matches!(error, RegisterError::NotVerified), "{error:?}");
}

#[tokio::test]
async fn an_invitation_for_all_makes_as_many_accounts_as_it_may() {
    let world = World::with_policy(policy(AdmissionMode::Invite));
    let (_, code) = world.admission.create_invite(InviteTerms { uses: 2, ..terms(None) }).await.unwrap();
    // Three hand it in before the first of them registers.
    let mut sessions = Vec::new();
    for last in 1..=3 {
        let number = format!("+1555010000{last}");
        let session = awaiting_invite(&world, &number).await;
        assert!(world.verification.submit_code(&session, code.as_str()).await.unwrap().verified);
        sessions.push((number, session));
    }
    let mut outcomes = Vec::new();
    for (number, session) in &sessions {
        outcomes.push(world.register(number, "p", &json!({"sessionId": session})).await);
    }
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok());
    assert!(matches!(outcomes[2], Err(RegisterError::NotAdmitted)), "{:?}", outcomes[2]);
    let late = awaiting_invite(&world, "+15550100004").await;
    assert!(!world.verification.submit_code(&late, code.as_str()).await.unwrap().verified, "used up");
}

#[tokio::test]
async fn one_that_was_revoked_or_has_expired_lets_nobody_in() {
    let world = World::with_policy(policy(AdmissionMode::Invite));
    let (invite, code) = world.admission.create_invite(terms(Some(NUMBER))).await.unwrap();
    let session = awaiting_invite(&world, NUMBER).await;
    assert!(world.verification.submit_code(&session, code.as_str()).await.unwrap().verified);
    assert!(world.admission.revoke_invite(invite.id).await.unwrap());
    let error = world.register(NUMBER, "p", &json!({"sessionId": session})).await.unwrap_err();
    assert!(matches!(error, RegisterError::NotAdmitted), "{error:?}");

    let (_, code) = world.admission.create_invite(terms(Some(NUMBER))).await.unwrap();
    world.clock.advance(Duration::from_hours(24));
    let session = awaiting_invite(&world, NUMBER).await;
    assert!(!world.verification.submit_code(&session, code.as_str()).await.unwrap().verified);
}

#[tokio::test]
async fn where_it_is_closed_nobody_new_comes_and_those_inside_stay() {
    let world = World::with_policy(policy(AdmissionMode::Closed));
    assert!(refused(&world, NUMBER).await);
    let by_name = world.admission.admit_name("somebody", None, None).await;
    assert!(matches!(by_name, Err(AdmissionError::Refused)));
}

#[tokio::test]
async fn numbers_of_other_countries_are_refused() {
    let prefixes = vec!["+49".to_owned()];
    let policy = AdmissionPolicy { number_prefixes: prefixes, ..policy(AdmissionMode::Open) };
    let world = World::with_policy(policy);
    assert!(refused(&world, NUMBER).await);
    world.registered("+4915112345678", "p", &json!({})).await;
}

#[tokio::test]
async fn who_asks_waits_for_the_operator() {
    let world = World::with_policy(policy(AdmissionMode::Approval));
    let other = "+15550100002";
    assert!(
        !refused(&world, NUMBER).await && !refused(&world, NUMBER).await && !refused(&world, other).await
    );
    let waiting = world.admission.applications().await.unwrap();
    let numbers: Vec<_> = waiting.iter().map(|found| found.applicant.clone()).collect();
    assert_eq!(numbers, [NUMBER, other].map(|number| Applicant::Number(number.parse().unwrap())));
    assert!(world.admission.decide(waiting[0].id, true).await.unwrap());
    assert!(world.admission.decide(waiting[1].id, false).await.unwrap());
    assert!(refused(&world, other).await, "for good");

    let registered = world.registered(NUMBER, "p", &json!({})).await;
    assert!(!registered.reregistration);
    assert_eq!(world.admission.applications().await.unwrap().len(), 1, "an approval is used up");

    // Who is invited need not wait.
    let third = "+15550100003";
    let (_, code) = world.admission.create_invite(terms(Some(third))).await.unwrap();
    let session = world.verification.create(third, None).await.unwrap().id;
    world.request_code(&session).await.unwrap();
    assert!(world.verification.submit_code(&session, code.as_str()).await.unwrap().verified);
    world.register(third, "p", &json!({"sessionId": session})).await.unwrap();
}

#[tokio::test]
async fn a_name_is_let_in_by_an_invitation_or_the_operator() {
    let world = World::with_policy(policy(AdmissionMode::Approval));
    let (invite, code) = world.admission.create_invite(terms(None)).await.unwrap();
    let admit = async |code: Option<&InviteCode>| world.admission.admit_name("somebody", None, code).await;
    let wrong = InviteCode::parse("000000000000").unwrap();
    assert_eq!(admit(Some(&code)).await.unwrap(), Admitted::ByInvite(invite.id));
    assert!(matches!(admit(Some(&wrong)).await, Err(AdmissionError::NoInvite)));
    let (_, bound) = world.admission.create_invite(terms(Some(NUMBER))).await.unwrap();
    assert!(matches!(admit(Some(&bound)).await, Err(AdmissionError::NoInvite)));
    assert!(matches!(admit(None).await, Err(AdmissionError::Pending)));
    let id = world.admission.applications().await.unwrap()[0].id;
    world.admission.decide(id, true).await.unwrap();
    assert_eq!(admit(None).await.unwrap(), Admitted::ByOperator(id));
}
