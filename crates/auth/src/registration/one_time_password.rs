//! One-time passwords: holding the number does not open an account that asks for more.

use protocol::Aci;

use super::{RegisterError, RegistrationRequest, RegistrationService};
use crate::second_factor::FactorError;

impl RegistrationService {
    /// Passes if the account asks for no one-time password or the request brings the right one.
    ///
    /// A password is good once, also when the registration is tried again because the account has changed
    /// meanwhile; `proven` is whose it was.
    pub(super) async fn check_one_time_password(
        &self,
        aci: Aci,
        request: &RegistrationRequest,
        proven: &mut Option<Aci>,
    ) -> Result<(), RegisterError> {
        if *proven == Some(aci) {
            return Ok(());
        }
        match self.0.second_factors.check_registration(aci, request.one_time_password).await {
            Ok(used) => {
                *proven = used.then_some(aci);
                Ok(())
            }
            Err(FactorError::RateLimited(wait)) => Err(RegisterError::RateLimited(wait)),
            Err(FactorError::Storage(error)) => Err(RegisterError::Storage(error)),
            // No other comes of a one-time password; if one did, it would not be a pass.
            Err(
                FactorError::NotVerified
                | FactorError::Gone
                | FactorError::TooMany
                | FactorError::TooManyTotpKeys
                | FactorError::HasNumber,
            ) => Err(RegisterError::SecondFactorRequired),
        }
    }
}
