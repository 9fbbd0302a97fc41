//! Twilio Verify (version 2), which draws, sends and checks codes itself.
//!
//! `POST {base}/v2/Services/{service}/Verifications` begins, `POST …/VerificationCheck` checks; forms in, JSON out, Basic
//! credentials. What its error codes mean to us is in [`meaning`].

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use auth::verification::{Code, CodeMessage, CodeSender, CodeVerdict, SendCodeError, Transport};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use outgoing::{Answer, Client};
use protocol::PhoneNumber;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::patience::{Patience, Randomness, complain, illegal, limited, rejected, unavailable};

/// Where Twilio Verify is.
pub const BASE: &str = "https://verify.twilio.com";

/// Languages in which Twilio writes and speaks codes, as it calls them. A person who reads none of them gets Twilio's
/// choice for the number's country.
const LOCALES: [&str; 38] = [
    "af", "ar", "ca", "cs", "da", "de", "el", "en", "en-GB", "es", "et", "fi", "fr", "he", "hi", "hr", "hu",
    "id", "it", "ja", "kn", "ko", "lt", "mr", "ms", "nb", "nl", "pl", "pt", "pt-BR", "ro", "ru", "sk", "sv",
    "te", "th", "tr", "zh",
];

/// Languages looked at, of those that a person reads.
const LANGUAGES_MAX: usize = 8;

/// Asks Twilio.
pub struct TwilioVerify {
    parts: TwilioParts,
}

/// What a [`TwilioVerify`] is made of.
pub struct TwilioParts {
    /// Makes the requests.
    pub client: Arc<Client>,
    /// Where Twilio is, without a slash at the end: [`BASE`] but for tests.
    pub base: String,
    /// The account, or an API key of it: the user of the credentials.
    pub account: String,
    /// Its token, or the key's secret.
    pub token: Zeroizing<String>,
    /// The Verify service (`VA…`).
    pub service: String,
    /// How often a request is made again.
    pub patience: Patience,
    /// Draws waits.
    pub entropy: Randomness,
}

/// What is read of an answer.
#[derive(Default, Deserialize)]
struct Verification {
    #[serde(default)]
    status: String,
}

/// What is read of an error.
#[derive(Default, Deserialize)]
struct Problem {
    code: Option<u64>,
}

impl TwilioVerify {
    /// Made of these parts.
    pub fn new(parts: TwilioParts) -> Self {
        Self { parts }
    }

    async fn post(&self, resource: &str, form: &[(&str, &str)]) -> Result<Answer, SendCodeError> {
        let TwilioParts { client, patience, entropy, .. } = &self.parts;
        patience.ask(client, &**entropy, || self.request(resource, form)).await
    }

    fn request(&self, resource: &str, form: &[(&str, &str)]) -> Result<Request<Bytes>, http::Error> {
        let TwilioParts { base, account, token, service, .. } = &self.parts;
        let address: Uri = format!("{base}/v2/Services/{service}/{resource}").parse()?;
        let credentials = Zeroizing::new(format!("{account}:{}", token.as_str()));
        let mut authorization =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials.as_bytes())))?;
        authorization.set_sensitive(true);
        Request::post(address)
            .header(header::AUTHORIZATION, authorization)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Bytes::from(encode(form)))
    }
}

#[async_trait]
impl CodeSender for TwilioVerify {
    async fn send(&self, message: CodeMessage) -> Result<(), SendCodeError> {
        let channel = match message.transport {
            Transport::Sms => "sms",
            Transport::Voice => "call",
        };
        let mut form = vec![("To", message.to.as_str()), ("Channel", channel)];
        if let Some(locale) = message.languages.as_deref().and_then(locale) {
            form.push(("Locale", locale));
        }
        let answer = self.post("Verifications", &form).await?;
        if answer.status().is_success() { Ok(()) } else { Err(meaning(&answer)) }
    }

    fn checks_codes(&self) -> bool {
        true
    }

    async fn check(&self, number: &PhoneNumber, guess: &Code) -> Result<CodeVerdict, SendCodeError> {
        let form = [("To", number.as_str()), ("Code", guess.as_str())];
        let answer = self.post("VerificationCheck", &form).await?;
        let status = answer.status();
        if status.is_success() {
            let verification: Verification = serde_json::from_slice(answer.body()).unwrap_or_default();
            return Ok(match verification.status.as_str() {
                "approved" => CodeVerdict::Right,
                "pending" => CodeVerdict::Wrong,
                // Canceled, expired, deleted, max_attempts_reached: this one cannot be right any more.
                _ => CodeVerdict::Over,
            });
        }
        match (status, problem(&answer).code) {
            // Expired, approved before, or given up after five wrong codes.
            (StatusCode::NOT_FOUND, _) | (_, Some(60202)) => Ok(CodeVerdict::Over),
            // Too short or too long for this service.
            (StatusCode::BAD_REQUEST, Some(60200)) => Ok(CodeVerdict::Wrong),
            _ => Err(meaning(&answer)),
        }
    }
}

/// What it means that Twilio did not take a request.
///
/// | code | Twilio says | we say |
/// |---|---|---|
/// | 60205, 60222, 60223, 60224 | a landline, or the channel is not enabled | not by this transport |
/// | 60203, 60212, 20429, 14107; status 429 | too many attempts | later |
/// | 60410, 60605, 60606, 60610, 21408, 21610, 21612, 21614 | prefix or country blocked, number opted out or unreachable | not to this number |
/// | 60200, 21211, 21217, other 400 | invalid parameter or number | makes no sense |
/// | 20003, 20404; status 401, 403, 404 | wrong credentials or service | not now, and the log says why |
fn meaning(answer: &Answer) -> SendCodeError {
    let (status, code) = (answer.status(), problem(answer).code);
    match (status, code) {
        (_, Some(60205 | 60222 | 60223 | 60224)) => SendCodeError::TransportUnavailable,
        (StatusCode::TOO_MANY_REQUESTS, _) | (_, Some(60203 | 60212 | 20429 | 14107)) => {
            limited(answer.headers())
        }
        (_, Some(60410 | 60605 | 60606 | 60610 | 21408 | 21610 | 21612 | 21614)) => rejected(),
        (StatusCode::BAD_REQUEST, _) => illegal(),
        (status, _) if status.is_server_error() => unavailable(),
        _ => {
            complain(status, code);
            unavailable()
        }
    }
}

fn problem(answer: &Answer) -> Problem {
    serde_json::from_slice(answer.body()).unwrap_or_default()
}

/// The first language of an `Accept-Language` that Twilio knows. Clients list what a person reads in order.
fn locale(languages: &str) -> Option<&'static str> {
    languages.split(',').take(LANGUAGES_MAX).find_map(|language| {
        let tag = language.split(';').next().unwrap_or_default().trim();
        let primary = tag.split('-').next().unwrap_or_default();
        let known = |wanted: &str| LOCALES.into_iter().find(|locale| locale.eq_ignore_ascii_case(wanted));
        known(tag).or_else(|| known(primary))
    })
}

/// The form as `application/x-www-form-urlencoded`.
fn encode(form: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in form {
        if !out.is_empty() {
            out.push('&');
        }
        escape(name, &mut out);
        out.push('=');
        escape(value, &mut out);
    }
    out
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*') {
            out.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

impl fmt::Debug for TwilioVerify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwilioVerify").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_language_that_twilio_knows_is_taken() {
        for (languages, expected) in [
            ("de-AT, en;q=0.8", Some("de")),
            ("gsw, pt-BR", Some("pt-BR")),
            ("EN-gb", Some("en-GB")),
            ("en-US", Some("en")),
            ("gsw", None),
            ("", None),
            ("*", None),
        ] {
            assert_eq!(locale(languages), expected, "{languages}");
        }
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(encode(&[("To", "+15550100001"), ("a b", "ü&")]), "To=%2B15550100001&a%20b=%C3%BC%26");
    }
}
