//! Short texts that strangers type or send: numbers, codes, names, addresses, credentials, subscriptions, tokens.

#![no_main]

use auth::{
    admission::invite::InviteCode,
    credentials::BasicCredentials,
    linking::LinkCodeId,
    mail::MailAddress,
    native::{LoginPassword, SessionId, Username, refresh::RefreshToken},
    second_factor::{recovery::RecoveryCode, totp::OneTimePassword},
};
use libfuzzer_sys::fuzz_target;
use protocol::{PhoneNumber, ServiceId, WebPushSubscription};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // What is taken says itself again, and is taken again.
    if let Ok(number) = text.parse::<PhoneNumber>() {
        assert_eq!(number.as_str().parse(), Ok(number.clone()));
    }
    if let Ok(id) = text.parse::<ServiceId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Ok(id) = text.parse::<SessionId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(code) = text.parse::<RecoveryCode>() {
        assert_eq!(code.to_text().parse(), Ok(code));
    }
    if let Ok(name) = Username::new(text) {
        assert_eq!(Username::new(name.as_str()).as_ref(), Ok(&name));
    }
    if let Ok(address) = text.parse::<MailAddress>() {
        assert_eq!(address.as_str().parse(), Ok(address.clone()));
    }
    if let Some(token) = RefreshToken::from_text(text) {
        assert_eq!(token.to_text().as_str(), text);
    }
    if let Some(id) = LinkCodeId::from_text(text) {
        assert_eq!(LinkCodeId::from_text(&id.to_text()), Some(id));
    }
    if let Ok(credentials) = BasicCredentials::from_header(text) {
        let _ = credentials.device();
    }
    let _ = InviteCode::parse(text);
    let _ = OneTimePassword::from_text(text);
    let _ = LoginPassword::new(text);
    let mut parts = text.splitn(3, '\n');
    if let (Some(endpoint), Some(key), Some(auth)) = (parts.next(), parts.next(), parts.next())
        && let Some(subscription) = WebPushSubscription::new(endpoint, key, auth)
    {
        assert_eq!(subscription.to_token().web_push(), Some(subscription));
    }
});
