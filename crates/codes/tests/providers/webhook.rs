use std::{sync::Arc, time::Duration};

use auth::verification::{CodeSender, NotDelivered, SendCodeError, Transport};
use codes::webhook::{SIGNATURE, TIMESTAMP, Webhook, WebhookParts, sign};
use protocol::ambient::{ManualClock, SeededEntropy, Timestamp};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::stand_in::{Reply, StandIn, client, message, patience};

const SECRET: &[u8] = b"a secret that both of them know";

fn webhook(base: &str) -> Webhook {
    Webhook::new(WebhookParts {
        client: client(),
        address: format!("{base}/codes").parse().unwrap(),
        secret: Zeroizing::new(SECRET.to_vec()),
        patience: patience(),
        clock: Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_999))),
        entropy: Arc::new(SeededEntropy::new(1)),
    })
}

#[tokio::test]
async fn the_request_is_signed_and_says_what_is_needed() {
    let stand_in = StandIn::start([Reply::Status(204, "")]).await;
    let message = message(Transport::Voice);
    let code = message.code.as_str().to_owned();
    webhook(&stand_in.base).send(message).await.unwrap();
    let [asked] = stand_in.asked().try_into().unwrap();
    assert_eq!(
        (asked.path.as_str(), &asked.headers["content-type"]),
        ("/codes", &"application/json".parse().unwrap())
    );
    assert_eq!(asked.headers[TIMESTAMP], "1700000000");
    assert_eq!(asked.headers[SIGNATURE], sign(SECRET, 1_700_000_000, &asked.body));
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!(body["to"], "+15550100001");
    assert_eq!(body["transport"], "voice");
    assert_eq!(body["code"], code);
    assert_eq!(body["client"], "ios");
    assert_eq!(body["languages"], "de-DE, en;q=0.5");
    assert!(uuid::Uuid::try_parse(body["id"].as_str().unwrap()).is_ok());
}

#[tokio::test]
async fn one_that_fails_is_asked_again_about_the_same_code() {
    let replies = [Reply::Status(503, ""), Reply::HangUp, Reply::Status(200, "")];
    let stand_in = StandIn::start(replies).await;
    webhook(&stand_in.base).send(message(Transport::Sms)).await.unwrap();
    let asked = stand_in.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|next| next.body == asked[0].body));
}

#[tokio::test]
async fn every_answer_has_its_meaning() {
    let not_delivered = |reason, permanent| (format!("{reason:?}"), Some(permanent));
    for (reply, expected, tries) in [
        (Reply::Status(400, ""), not_delivered(NotDelivered::IllegalArgument, true), 1),
        (Reply::Status(422, ""), not_delivered(NotDelivered::IllegalArgument, true), 1),
        (Reply::Status(403, ""), not_delivered(NotDelivered::ProviderRejected, true), 1),
        (Reply::Status(410, ""), not_delivered(NotDelivered::ProviderRejected, true), 1),
        (Reply::Status(401, ""), not_delivered(NotDelivered::ProviderUnavailable, false), 1),
        (Reply::Status(302, ""), not_delivered(NotDelivered::ProviderUnavailable, false), 1),
        (Reply::Status(500, ""), not_delivered(NotDelivered::ProviderUnavailable, false), 3),
        (Reply::HangUp, not_delivered(NotDelivered::ProviderUnavailable, false), 3),
        (Reply::Silence, not_delivered(NotDelivered::ProviderUnavailable, false), 3),
        (Reply::Status(406, ""), ("TransportUnavailable".to_owned(), None), 1),
        (Reply::Status(429, ""), ("RateLimited(None)".to_owned(), None), 1),
        (Reply::Wait("90"), (format!("RateLimited({:?})", Some(Duration::from_secs(90))), None), 1),
        (Reply::Wait("Wed, 21 Oct 2026 07:28:00 GMT"), ("RateLimited(None)".to_owned(), None), 1),
    ] {
        let stand_in = StandIn::start([reply.clone()]).await;
        let error = webhook(&stand_in.base).send(message(Transport::Sms)).await.unwrap_err();
        let found = match error {
            SendCodeError::NotDelivered { reason, permanent } => (format!("{reason:?}"), Some(permanent)),
            other => (format!("{other:?}"), None),
        };
        assert_eq!(found, expected, "{reply:?}");
        assert_eq!(stand_in.asked().len(), tries, "{reply:?}");
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_unavailable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = webhook(&format!("http://{free}")).send(message(Transport::Sms)).await.unwrap_err();
    let SendCodeError::NotDelivered { reason, permanent } = error else { panic!("{error:?}") };
    assert_eq!((reason, permanent), (NotDelivered::ProviderUnavailable, false));
}
