//! Sender certificates, from the outside.

use std::time::Duration;

use auth::{Authenticated, sender_certificate::Form, settings::AccountError};
use protocol::{ambient::Clock, certificate::SenderCertificate};
use serde_json::json;

use crate::support::{NUMBER, World};

async fn caller(world: &World) -> Authenticated {
    let aci = world.registered(NUMBER, "one", &json!({})).await.identity.aci;
    world.sign_in(aci, "one").await.unwrap()
}

#[tokio::test]
async fn both_forms_are_good_until_they_expire() {
    let world = World::new();
    let caller = caller(&world).await;
    let both = world.certificates.issue_both(&caller).await.unwrap();
    let alone = world.certificates.issue(&caller, Form::WithNumber).await.unwrap();
    let (root, now) = (world.trust_root.public_key(), world.clock.now());
    let number = Some(NUMBER.parse().unwrap());
    for (bytes, number) in
        [(both.with_number.unwrap(), &number), (both.without_number, &None), (alone, &number)]
    {
        let read = SenderCertificate::from_bytes(&bytes).unwrap();
        assert_eq!((&read.e164, read.uuid), (number, caller.aci));
        assert_eq!(read.expires.saturating_since(now), World::CERTIFICATE_LIFETIME);
        assert!(read.verify(&root, read.expires));
        assert!(!read.verify(&root, read.expires.saturating_add(Duration::from_millis(1))));
    }
}

#[tokio::test]
async fn another_signer_is_used_at_once_and_the_old_certificates_stay_good() {
    let world = World::new();
    let caller = caller(&world).await;
    let old = world.certificates.issue(&caller, Form::WithoutNumber).await.unwrap();
    let (next_root, next) = world.signer(4);
    assert!(world.certificates.replace_signer(next));
    let new = world.certificates.issue(&caller, Form::WithoutNumber).await.unwrap();
    let good = |bytes: &[u8], root: &protocol::xeddsa::PrivateKey| {
        SenderCertificate::from_bytes(bytes).unwrap().verify(&root.public_key(), world.clock.now())
    };
    assert!(good(&old, &world.trust_root) && good(&new, &next_root));
    assert!(!good(&new, &world.trust_root));
}

#[tokio::test]
async fn an_account_that_is_gone_gets_none() {
    let world = World::new();
    let caller = caller(&world).await;
    world.accounts.delete(&caller).await.unwrap();
    let refused = world.certificates.issue(&caller, Form::WithoutNumber).await;
    assert!(matches!(refused, Err(AccountError::Gone)));
}
