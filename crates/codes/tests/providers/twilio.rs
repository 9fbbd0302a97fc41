use std::{sync::Arc, time::Duration};

use auth::verification::{Code, CodeSender, CodeVerdict, NotDelivered, SendCodeError, Transport};
use codes::twilio::{TwilioParts, TwilioVerify};
use protocol::ambient::SeededEntropy;
use zeroize::Zeroizing;

use crate::stand_in::{Reply, StandIn, client, message, patience};

fn twilio(base: &str) -> TwilioVerify {
    TwilioVerify::new(TwilioParts {
        client: client(),
        base: base.to_owned(),
        account: "AC0123".to_owned(),
        token: Zeroizing::new("token".to_owned()),
        service: "VA4567".to_owned(),
        patience: patience(),
        entropy: Arc::new(SeededEntropy::new(1)),
    })
}

fn guess() -> Code {
    Code::guess("123456").unwrap()
}

#[tokio::test]
async fn a_code_is_asked_for_as_twilio_wants_it() {
    let stand_in = StandIn::start([Reply::Status(201, r#"{"status":"pending"}"#)]).await;
    let twilio = twilio(&stand_in.base);
    assert!(twilio.checks_codes());
    twilio.send(message(Transport::Sms)).await.unwrap();
    twilio.send(message(Transport::Voice)).await.unwrap();
    let [sms, voice] = stand_in.asked().try_into().unwrap();
    for asked in [&sms, &voice] {
        assert_eq!(asked.path, "/v2/Services/VA4567/Verifications");
        assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded");
        // base64 of AC0123:token
        assert_eq!(asked.headers["authorization"], "Basic QUMwMTIzOnRva2Vu");
    }
    assert_eq!(sms.body, "To=%2B15550100001&Channel=sms&Locale=de");
    assert_eq!(voice.body, "To=%2B15550100001&Channel=call&Locale=de");
}

#[tokio::test]
async fn twilio_says_whether_a_code_is_right() {
    for (reply, verdict) in [
        (Reply::Status(200, r#"{"status":"approved","valid":true}"#), CodeVerdict::Right),
        (Reply::Status(200, r#"{"status":"pending","valid":false}"#), CodeVerdict::Wrong),
        (Reply::Status(200, r#"{"status":"max_attempts_reached","valid":false}"#), CodeVerdict::Over),
        (Reply::Status(200, "not json"), CodeVerdict::Over),
        (Reply::Status(404, r#"{"code":20404}"#), CodeVerdict::Over),
        (Reply::Status(429, r#"{"code":60202}"#), CodeVerdict::Over),
        (Reply::Status(400, r#"{"code":60200}"#), CodeVerdict::Wrong),
    ] {
        let stand_in = StandIn::start([reply.clone()]).await;
        let number = "+15550100001".parse().unwrap();
        let found = twilio(&stand_in.base).check(&number, &guess()).await.unwrap();
        assert_eq!(found, verdict, "{reply:?}");
        let [asked] = stand_in.asked().try_into().unwrap();
        assert_eq!(asked.path, "/v2/Services/VA4567/VerificationCheck");
        assert_eq!(asked.body, "To=%2B15550100001&Code=123456");
    }
    let stand_in = StandIn::start([Reply::Status(500, "")]).await;
    let number = "+15550100001".parse().unwrap();
    assert!(twilio(&stand_in.base).check(&number, &guess()).await.is_err(), "neither right nor wrong");
    assert_eq!(stand_in.asked().len(), 3);
}

#[tokio::test]
async fn every_error_has_its_meaning() {
    let not_delivered = |reason, permanent| (format!("{reason:?}"), Some(permanent));
    let unavailable = || not_delivered(NotDelivered::ProviderUnavailable, false);
    let rejected = || not_delivered(NotDelivered::ProviderRejected, true);
    let illegal = || not_delivered(NotDelivered::IllegalArgument, true);
    let transport = || ("TransportUnavailable".to_owned(), None);
    let later = || ("RateLimited(None)".to_owned(), None);
    for (reply, expected) in [
        (
            Reply::Status(403, r#"{"code":60205,"message":"SMS is not supported by landline phone number"}"#),
            transport(),
        ),
        (Reply::Status(403, r#"{"code":60223}"#), transport()),
        (Reply::Status(429, r#"{"code":60203}"#), later()),
        (Reply::Status(429, r#"{"code":20429}"#), later()),
        (Reply::Status(403, r#"{"code":60410}"#), rejected()),
        (Reply::Status(400, r#"{"code":21614}"#), rejected()),
        (Reply::Status(400, r#"{"code":60200}"#), illegal()),
        (Reply::Status(400, "no json at all"), illegal()),
        (Reply::Status(401, r#"{"code":20003}"#), unavailable()),
        (Reply::Status(404, r#"{"code":20404}"#), unavailable()),
        (Reply::Status(503, ""), unavailable()),
        (Reply::HangUp, unavailable()),
        (Reply::Silence, unavailable()),
        (Reply::Wait("30"), (format!("RateLimited({:?})", Some(Duration::from_secs(30))), None)),
    ] {
        let stand_in = StandIn::start([reply.clone()]).await;
        let error = twilio(&stand_in.base).send(message(Transport::Sms)).await.unwrap_err();
        let found = match error {
            SendCodeError::NotDelivered { reason, permanent } => (format!("{reason:?}"), Some(permanent)),
            other => (format!("{other:?}"), None),
        };
        assert_eq!(found, expected, "{reply:?}");
    }
}
