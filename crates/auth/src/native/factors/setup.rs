//! Beginning to add a factor: what a generator or an authenticator is told about the account.

use zeroize::Zeroizing;

use super::super::{Bearer, NativeService, Username};
use crate::second_factor::{FactorError, PasskeyOptions, totp::TotpKey, webauthn::Challenge};

/// A key for one-time passwords that waits for the first of them.
#[derive(Clone, Debug)]
pub struct TotpSetup {
    /// The key.
    pub key: TotpKey,
    /// What a QR code says, so that a generator takes over the key, who issued it and for which name.
    pub uri: Zeroizing<String>,
}

/// A passkey that is to be made.
#[derive(Clone, Debug)]
pub struct PasskeySetup {
    /// What the authenticator shows the account as.
    pub username: Username,
    /// What it signs.
    pub challenge: Challenge,
    /// What it is asked for.
    pub options: PasskeyOptions,
}

impl NativeService {
    /// A fresh key for one-time passwords, which counts once one of them has come back.
    pub async fn start_totp(&self, bearer: &Bearer) -> Result<TotpSetup, FactorError> {
        let username = self.username(bearer).await?;
        let factors = &self.0.second_factors;
        let key = factors.generate_totp(bearer.device.aci).await?;
        let uri = Zeroizing::new(key.uri(&factors.relying_party().id, username.as_str()));
        Ok(TotpSetup { key, uri })
    }

    /// Begins to add a passkey.
    pub async fn start_passkey(&self, bearer: &Bearer) -> Result<PasskeySetup, FactorError> {
        let username = self.username(bearer).await?;
        let (challenge, options) = self.0.second_factors.start_passkey(bearer.device.aci).await?;
        Ok(PasskeySetup { username, challenge, options })
    }

    async fn username(&self, bearer: &Bearer) -> Result<Username, FactorError> {
        let login = self.0.store.login_of(bearer.device.aci).await?;
        login.map(|login| login.username).ok_or(FactorError::Gone)
    }
}
