//! Any of an account's factors, shown.

use protocol::Aci;

use super::{
    FactorError, SecondFactors, VerificationOffer, recovery::RecoveryCode, totp::OneTimePassword,
    webauthn::AssertionResponse,
};

/// A second factor as somebody shows it.
#[derive(Debug)]
pub enum FactorProof {
    /// A one-time password.
    Totp(OneTimePassword),
    /// A recovery code.
    RecoveryCode(RecoveryCode),
    /// What a passkey has signed.
    Passkey(Box<AssertionResponse>),
}

impl SecondFactors {
    /// What the account asks for besides its password; nothing if it has no factor.
    pub async fn asked_for(&self, aci: Aci) -> Result<Option<VerificationOffer>, FactorError> {
        Ok(Some(self.start_verification(aci).await?).filter(VerificationOffer::is_asked))
    }

    /// Checks a factor, which is used up if it is right.
    pub async fn verify(&self, aci: Aci, proof: FactorProof) -> Result<(), FactorError> {
        match proof {
            FactorProof::Totp(password) => self.verify_totp(aci, password).await,
            FactorProof::RecoveryCode(code) => self.use_recovery_code(aci, &code).await,
            FactorProof::Passkey(response) => self.verify_passkey(aci, &response).await,
        }
    }
}
