//! Where a push reaches a device.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::base64;

/// Who delivers a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PushService {
    /// Apple's.
    Apns,
    /// Google's.
    Fcm,
    /// Whatever server a Web Push subscription names: a `UnifiedPush` distributor's, a browser's.
    WebPush,
}

/// Where a push reaches a device. It is a secret: who knows it may be able to wake the device.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PushToken {
    #[zeroize(skip)]
    service: PushService,
    token: String,
}

impl PushToken {
    /// Longest token kept: Apple's have 64 to 200 characters, Google's about 160 and no promised bound.
    pub const MAX_LEN: usize = 4096;

    /// The token of that service, as [`as_str`](Self::as_str) has it; nothing if it is empty, too long, or not
    /// of that service's form.
    pub fn new(service: PushService, token: String) -> Option<Self> {
        let made = Self { service, token };
        let well_formed = match service {
            PushService::Apns | PushService::Fcm => true,
            PushService::WebPush => made.web_push().is_some(),
        };
        ((1..=Self::MAX_LEN).contains(&made.token.len()) && well_formed).then_some(made)
    }

    /// Who delivers it.
    pub fn service(&self) -> PushService {
        self.service
    }

    /// The token as that service knows it. Of a subscription: the endpoint and the two keys in base64url,
    /// apart by a space.
    pub fn as_str(&self) -> &str {
        &self.token
    }

    /// The subscription, if it is one of Web Push.
    pub fn web_push(&self) -> Option<WebPushSubscription> {
        if self.service != PushService::WebPush {
            return None;
        }
        let mut parts = self.token.split(' ');
        let (endpoint, public_key, auth) = (parts.next()?, parts.next()?, parts.next()?);
        parts.next().is_none().then(|| WebPushSubscription::new(endpoint, public_key, auth))?
    }
}

impl fmt::Debug for PushToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushToken").field("service", &self.service).finish_non_exhaustive()
    }
}

/// A subscription of Web Push (RFC 8030) with the keys that messages to it are encrypted with (RFC 8291).
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct WebPushSubscription {
    endpoint: String,
    public_key: [u8; Self::PUBLIC_KEY_LEN],
    auth: [u8; Self::AUTH_LEN],
}

impl WebPushSubscription {
    /// Longest endpoint. Those in use have up to about 500 characters.
    pub const ENDPOINT_MAX_LEN: usize = 2048;
    /// An uncompressed point of P-256.
    pub const PUBLIC_KEY_LEN: usize = 65;
    /// The authentication secret.
    pub const AUTH_LEN: usize = 16;

    /// The subscription of that endpoint, with `p256dh` and `auth` in base64url, padded or not. Nothing if one
    /// of them is not what it should be; that the key is a point of the curve shows when it is used.
    pub fn new(endpoint: &str, public_key: &str, auth: &str) -> Option<Self> {
        let public_key = base64::decode_url_lenient(public_key)?.try_into().ok()?;
        let auth = base64::decode_url_lenient(auth)?.try_into().ok()?;
        // A fragment would not be sent, and a name before the host would be.
        let rest = endpoint.strip_prefix("https://")?;
        let authority = rest.split(['/', '?']).next()?;
        let fine = endpoint.len() <= Self::ENDPOINT_MAX_LEN
            && endpoint.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\')
            && !authority.is_empty()
            && !authority.contains('@');
        fine.then(|| Self { endpoint: endpoint.to_owned(), public_key, auth })
    }

    /// Where messages are posted to.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The device's public key, `p256dh`.
    pub fn public_key(&self) -> &[u8; Self::PUBLIC_KEY_LEN] {
        &self.public_key
    }

    /// The secret that proves to the device that a message is from whom it subscribed with, `auth`.
    pub fn auth(&self) -> &[u8; Self::AUTH_LEN] {
        &self.auth
    }

    /// The subscription as a token.
    pub fn to_token(&self) -> PushToken {
        let [key, auth] = [base64::encode_url(self.public_key), base64::encode_url(self.auth)];
        PushToken { service: PushService::WebPush, token: format!("{} {key} {auth}", self.endpoint) }
    }
}

impl fmt::Debug for WebPushSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebPushSubscription(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    #[test]
    fn tokens_are_bounded_and_do_not_print() {
        assert!(PushToken::new(PushService::Fcm, String::new()).is_none());
        assert!(PushToken::new(PushService::Fcm, "x".repeat(4097)).is_none());
        let token = PushToken::new(PushService::Apns, "secret".to_owned()).unwrap();
        assert!(!format!("{token:?}").contains("secret"));
        assert!(token.web_push().is_none());
    }

    #[test]
    fn a_subscription_comes_back_from_its_token() {
        let made = WebPushSubscription::new("https://push.example.net/abc?d=e", KEY, AUTH).unwrap();
        let token = made.to_token();
        assert_eq!(token.web_push(), Some(made.clone()));
        let again = PushToken::new(PushService::WebPush, token.as_str().to_owned());
        assert_eq!(again, Some(token.clone()));
        assert_eq!(PushToken::new(PushService::WebPush, format!("{} x", token.as_str())), None);
        assert!(!format!("{made:?} {token:?}").contains("push.example.net"));
    }

    #[test]
    fn what_is_no_subscription_is_refused() {
        for endpoint in [
            "http://push.example.net/",
            "https://",
            "https:///x",
            "push.example.net",
            "https://a@b/",
            "https://a/ b",
            "https://a/#b",
            "https://a/\u{e4}",
            "https://a\\b/",
            "https://?x",
        ] {
            assert_eq!(WebPushSubscription::new(endpoint, KEY, AUTH), None, "{endpoint}");
        }
        let long = format!("https://a/{}", "x".repeat(WebPushSubscription::ENDPOINT_MAX_LEN));
        assert_eq!(WebPushSubscription::new(&long, KEY, AUTH), None);
        assert_eq!(WebPushSubscription::new("https://a/", AUTH, AUTH), None);
        assert_eq!(WebPushSubscription::new("https://a/", KEY, KEY), None);
        assert!(WebPushSubscription::new("https://a/", &format!("{KEY}="), &format!("{AUTH}==")).is_some());
    }
}
