//! Whether whoever asks for codes is a person.

use async_trait::async_trait;

/// What a captcha provider says of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptchaVerdict {
    /// It is right.
    Accepted,
    /// It is wrong, or used before.
    Rejected,
}

/// Why a captcha could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum CaptchaError {
    /// The text is not an answer to any captcha.
    #[error("malformed captcha")]
    Malformed,
    /// The provider cannot be reached.
    #[error("the captcha provider is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Judges captchas.
#[async_trait]
pub trait CaptchaVerifier: Send + Sync + 'static {
    /// Judges an answer.
    async fn verify(&self, answer: &str) -> Result<CaptchaVerdict, CaptchaError>;
}

/// Takes every answer: for servers that ask for captchas only because some apps expect to be asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAnyCaptcha;

#[async_trait]
impl CaptchaVerifier for AcceptAnyCaptcha {
    async fn verify(&self, _answer: &str) -> Result<CaptchaVerdict, CaptchaError> {
        Ok(CaptchaVerdict::Accepted)
    }
}
