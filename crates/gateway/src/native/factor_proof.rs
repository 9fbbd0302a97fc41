//! A second factor as clients show it, and what they are offered to show.

use auth::second_factor::{
    FactorProof, VerificationOffer, totp::OneTimePassword, webauthn::AssertionResponse,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    extract::Secret,
    problem::{Code, Problem},
    webauthn::RequestOptions,
};

/// A second factor: one of these.
#[derive(Deserialize, ToSchema)]
#[schema(as = FactorProof)]
pub(super) struct ProofFields {
    /// Six digits, as the generator shows them.
    #[schema(example = "012345", value_type = Option<String>)]
    one_time_password: Option<Secret>,
    /// A recovery code, with hyphens or without.
    #[schema(example = "0000-0000-0000-0000-0000-0000", value_type = Option<String>)]
    recovery_code: Option<Secret>,
    /// `AuthenticationResponseJSON`: what a browser's credential says by `toJSON()`.
    #[schema(value_type = Option<Object>)]
    passkey: Option<AssertionResponse>,
}

/// By which of its second factors an account may show that it is itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SecondFactorOffer)]
pub(super) struct OfferBody {
    /// By a one-time password.
    totp: bool,
    /// By a passkey, asked by these options.
    passkey: Option<RequestOptions>,
    /// By one of so many recovery codes.
    recovery_codes: usize,
}

impl ProofFields {
    /// The factor, if there is any. More than one is a mistake; what cannot be a factor was mistyped.
    pub(super) fn read(self) -> Result<Option<FactorProof>, Problem> {
        let mistyped = || Problem::of(Code::InvalidSecondFactor);
        match self {
            Self { one_time_password: Some(text), recovery_code: None, passkey: None } => {
                OneTimePassword::from_text(&text.0).ok_or_else(mistyped).map(FactorProof::Totp).map(Some)
            }
            Self { one_time_password: None, recovery_code: Some(text), passkey: None } => {
                text.0.parse().map(FactorProof::RecoveryCode).map(Some).map_err(|_| mistyped())
            }
            Self { one_time_password: None, recovery_code: None, passkey: Some(response) } => {
                Ok(Some(FactorProof::Passkey(Box::new(response))))
            }
            Self { one_time_password: None, recovery_code: None, passkey: None } => Ok(None),
            _ => Err(Problem::of(Code::InvalidBody)),
        }
    }
}

impl From<VerificationOffer> for OfferBody {
    fn from(offer: VerificationOffer) -> Self {
        Self {
            totp: offer.has_totp,
            passkey: offer.passkeys.map(Into::into),
            recovery_codes: offer.recovery_codes,
        }
    }
}
