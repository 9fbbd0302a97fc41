//! Verification sessions, from the outside.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use crate::support::{NUMBER, World};
use auth::{
    challenge::PushChallengeTo,
    device::{PushService, PushToken},
    verification::{IDLE_LIFE, InvalidSessionId, RequestedInformation, SessionError, SessionUpdate},
};

#[tokio::test]
async fn a_code_proves_the_number_and_a_wrong_one_does_not() {
    let world = World::new();
    let session = world.verification.create(NUMBER, None).await.unwrap();
    assert!(session.allowed_to_request_code && !session.verified);
    assert!(matches!(
        world.verification.submit_code(&session.id, "123456").await,
        Err(SessionError::NotReady(_))
    ));
    world.request_code(&session.id).await.unwrap();
    let sent = world.outside.codes.lock().await.pop().unwrap();
    assert_eq!(sent.to.as_str(), NUMBER);
    let wrong = if sent.code.as_str() == "000000" { "000001" } else { "000000" };
    assert!(!world.verification.submit_code(&session.id, wrong).await.unwrap().verified);
    assert!(matches!(
        world.verification.submit_code(&session.id, "12345x").await,
        Err(SessionError::Malformed)
    ));
    assert!(world.verification.submit_code(&session.id, sent.code.as_str()).await.unwrap().verified);
    assert!(world.verification.get(&session.id).await.unwrap().verified);
    for again in [
        world.verification.submit_code(&session.id, sent.code.as_str()).await,
        world.request_code(&session.id).await,
    ] {
        assert!(matches!(again, Err(SessionError::NotReady(view)) if view.verified));
    }
}

#[tokio::test]
async fn the_same_request_sent_again_sends_one_code() {
    let world = Arc::new(World::new());
    let id = world.verification.create(NUMBER, None).await.unwrap().id;
    let requests: Vec<_> = (0..6)
        .map(|_| {
            let (world, id) = (Arc::clone(&world), id.clone());
            tokio::spawn(async move { world.request_code(&id).await })
        })
        .collect();
    for request in requests {
        request.await.unwrap().unwrap();
    }
    assert_eq!(world.outside.codes.lock().await.len(), 1);
    world.clock.advance(Duration::from_secs(10));
    let Err(SessionError::RateLimited { session, retry_after }) = world.request_code(&id).await else {
        panic!("it is too early for another code");
    };
    assert_eq!((session.next_sms, retry_after.unwrap().seconds()), (Some(20), 20));
}

#[tokio::test]
async fn what_a_provider_refused_may_be_tried_at_once() {
    let world = World::new();
    let id = world.verification.create(NUMBER, None).await.unwrap().id;
    world.outside.provider_fails.store(true, SeqCst);
    assert!(matches!(
        world.request_code(&id).await,
        Err(SessionError::NotDelivered { permanent: false, .. })
    ));
    world.outside.provider_fails.store(false, SeqCst);
    world.request_code(&id).await.unwrap();
}

#[tokio::test]
async fn captchas_are_taken_and_answers_to_nothing_are_not() {
    let world = World::new();
    let id = world.verification.create(NUMBER, None).await.unwrap().id;
    let captcha = SessionUpdate { captcha: Some("any".to_owned()), ..SessionUpdate::default() };
    for _ in 0..2 {
        let view = world.verification.update(&id, captcha.clone()).await.unwrap();
        assert!(view.requested_information.is_empty() && view.allowed_to_request_code);
    }
    let challenge = SessionUpdate { push_challenge: Some("any".to_owned()), ..SessionUpdate::default() };
    assert!(matches!(world.verification.update(&id, challenge).await, Err(SessionError::Rejected(_))));
}

/// A token that pushes reach, and one that they do not.
fn tokens() -> [PushToken; 2] {
    [PushService::Fcm, PushService::Apns].map(|service| PushToken::new(service, "token".to_owned()).unwrap())
}

fn pushed(world: &World) -> Vec<String> {
    let pushes = world.outside.pushes.lock();
    let newcomer = PushChallengeTo::Newcomer(NUMBER.parse().unwrap());
    assert!(pushes.iter().all(|push| push.to == newcomer));
    pushes.iter().map(|push| push.challenge.as_str().to_owned()).collect()
}

#[tokio::test]
async fn what_was_pushed_serves_in_place_of_a_captcha() {
    let world = World::new();
    let [reached, unreached] = tokens();
    let session = world.verification.create(NUMBER, Some(unreached)).await.unwrap();
    assert_eq!(session.requested_information, [RequestedInformation::Captcha]);
    let push_token = Some(reached.clone());
    let update = SessionUpdate { push_token, ..SessionUpdate::default() };
    let later = world.verification.update(&session.id, update).await.unwrap();
    let both = [RequestedInformation::PushChallenge, RequestedInformation::Captcha];
    assert_eq!(later.requested_information, both);
    let session = world.verification.create(NUMBER, Some(reached)).await.unwrap();
    assert_eq!(session.requested_information, both);
    let challenges = pushed(&world);
    let answer = async |answer: &str| {
        let push_challenge = Some(answer.to_owned());
        let update = SessionUpdate { push_challenge, ..SessionUpdate::default() };
        world.verification.update(&session.id, update).await
    };
    let wrong = answer(&challenges[0]).await;
    assert!(matches!(wrong, Err(SessionError::Rejected(_))), "that of another session");
    assert!(answer(&challenges[1]).await.unwrap().requested_information.is_empty());
    assert!(matches!(answer(&challenges[1]).await, Err(SessionError::Rejected(_))), "once");
}

#[tokio::test]
async fn a_push_that_fails_is_not_waited_for() {
    let world = World::new();
    world.outside.provider_fails.store(true, SeqCst);
    let [reached, _] = tokens();
    let session = world.verification.create(NUMBER, Some(reached)).await.unwrap();
    assert_eq!(session.requested_information, [RequestedInformation::Captcha]);
}

#[tokio::test]
async fn sessions_end_when_they_are_not_used() {
    let world = World::new();
    let id = world.verification.create(NUMBER, None).await.unwrap().id;
    for _ in 0..3 {
        world.clock.advance(IDLE_LIFE.mul_f32(0.9));
        world.verification.get(&id).await.unwrap();
    }
    world.clock.advance(IDLE_LIFE);
    assert!(matches!(world.verification.get(&id).await, Err(SessionError::NotFound)));
    assert_eq!(world.verification.remove_expired().await.unwrap(), 1);
    for (id, why) in [("AAAA", InvalidSessionId::Unusable), ("not base64!", InvalidSessionId::NotBase64)] {
        assert!(
            matches!(world.verification.get(id).await, Err(SessionError::InvalidId(found)) if found == why)
        );
    }
}
