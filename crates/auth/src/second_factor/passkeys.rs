//! Adding passkeys and using them.

use protocol::{
    Aci,
    ambient::{Entropy, Timestamp},
};

use super::{
    FACTORS_MAX, FactorError, FactorId, FactorSecret, Label, SecondFactors,
    store::{Advance, Factors, NewFactor},
    webauthn::{
        Algorithm, AssertionResponse, AttestationResponse, Challenge, Credential, CredentialId, Expected,
    },
};
use crate::{
    audit::{Action, Detail},
    pending::Pending,
};

/// What a challenge was handed out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To add a passkey to that account.
    Add(Aci),
    /// To prove a passkey of that account.
    Prove(Aci),
    /// To sign in with a passkey alone, to whichever account it belongs.
    SignIn,
}

/// How a passkey comes to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceremony {
    /// The server gives a challenge, as the standard has it.
    Challenged,
    /// As in Signal's calls: without a challenge of the server's, and only for accounts without a number.
    Unchallenged,
}

/// What a client needs to know to have a passkey made.
#[derive(Clone, Debug)]
pub struct PasskeyOptions {
    /// The domain that the passkey will belong to.
    pub relying_party: String,
    /// What the authenticator knows the account by.
    pub user_handle: Vec<u8>,
    /// The kinds of key that will do, the preferred first.
    pub algorithms: [Algorithm; 3],
    /// The passkeys that the account has: an authenticator with one of them is not asked for another.
    pub exclude: Vec<CredentialId>,
}

/// What a client needs to know to have a passkey used.
#[derive(Clone, Debug)]
pub struct PasskeyOffer {
    /// The domain that the passkey belongs to.
    pub relying_party: String,
    /// What is to be signed.
    pub challenge: Challenge,
    /// The passkeys that will do; empty if any of that domain will.
    pub credentials: Vec<CredentialId>,
    /// The authenticator must check who its user is, since nobody else does.
    pub user_verification: bool,
}

impl SecondFactors {
    /// Begins to add a passkey, as the standard has it: what it signs, and what it must be like.
    pub async fn start_passkey(&self, aci: Aci) -> Result<(Challenge, PasskeyOptions), FactorError> {
        let options = self.passkey_options(aci, Ceremony::Challenged).await?;
        Ok((self.challenge(Purpose::Add(aci)), options))
    }

    /// What a passkey that is to be added must be like.
    pub async fn passkey_options(&self, aci: Aci, ceremony: Ceremony) -> Result<PasskeyOptions, FactorError> {
        let factors = self.load_for_new_passkey(aci, ceremony).await?;
        Ok(PasskeyOptions {
            relying_party: self.0.relying_party.id.clone(),
            user_handle: user_handle(aci),
            algorithms: Algorithm::ALL,
            exclude: factors.passkeys().map(|(_, credential)| credential.id.clone()).collect(),
        })
    }

    /// Adds the passkey that was made.
    pub async fn finish_passkey(
        &self,
        aci: Aci,
        ceremony: Ceremony,
        response: AttestationResponse<'_>,
        label: Label,
    ) -> Result<FactorId, FactorError> {
        self.0.audit.ready()?;
        let added = self.try_finish_passkey(aci, ceremony, response, label).await;
        self.note(Action::AddSecondFactor, aci, Detail::Passkey, &added).await;
        added
    }

    async fn try_finish_passkey(
        &self,
        aci: Aci,
        ceremony: Ceremony,
        response: AttestationResponse<'_>,
        label: Label,
    ) -> Result<FactorId, FactorError> {
        self.load_for_new_passkey(aci, ceremony).await?;
        let challenge = match ceremony {
            Ceremony::Challenged => Some(self.asked(response.challenge()?, Purpose::Add(aci))?),
            Ceremony::Unchallenged => None,
        };
        let (credential, counter) = response.verify(self.expected(challenge.as_ref(), false))?;
        let secret = FactorSecret::Passkey(credential);
        let at = self.now();
        self.add(aci, NewFactor { secret, counter: counter.into(), label, at }).await
    }

    /// Asks for a passkey that stands alone, of whichever account.
    pub fn start_sign_in(&self) -> PasskeyOffer {
        self.ask(Purpose::SignIn, Vec::new())
    }

    /// Whose passkey it is. Its authenticator must have checked who used it.
    pub async fn finish_sign_in(&self, response: &AssertionResponse) -> Result<Aci, FactorError> {
        let challenge = self.asked(response.challenge()?, Purpose::SignIn)?;
        let aci = self.0.store.passkey_owner(&response.credential).await?;
        let aci = aci.ok_or(FactorError::NotVerified)?;
        self.prove_passkey(aci, response, &challenge, true).await?;
        Ok(aci)
    }

    /// Checks what a passkey has signed after [`start_verification`](Self::start_verification).
    pub async fn verify_passkey(&self, aci: Aci, response: &AssertionResponse) -> Result<(), FactorError> {
        let verified = async {
            let challenge = self.asked(response.challenge()?, Purpose::Prove(aci))?;
            self.prove_passkey(aci, response, &challenge, false).await
        };
        let verified = verified.await;
        self.note(Action::UseSecondFactor, aci, Detail::Passkey, &verified).await;
        verified
    }

    /// What an account's passkeys are asked, if it has any.
    pub(super) fn offer(&self, aci: Aci, factors: &Factors) -> Option<PasskeyOffer> {
        let credentials: Vec<_> = factors.passkeys().map(|(_, credential)| credential.id.clone()).collect();
        if credentials.is_empty() {
            return None;
        }
        Some(self.ask(Purpose::Prove(aci), credentials))
    }

    fn ask(&self, purpose: Purpose, credentials: Vec<CredentialId>) -> PasskeyOffer {
        PasskeyOffer {
            relying_party: self.0.relying_party.id.clone(),
            challenge: self.challenge(purpose),
            credentials,
            user_verification: purpose == Purpose::SignIn,
        }
    }

    async fn prove_passkey(
        &self,
        aci: Aci,
        response: &AssertionResponse,
        challenge: &Challenge,
        user_verification: bool,
    ) -> Result<(), FactorError> {
        let factors = self.0.store.factors(aci).await?.ok_or(FactorError::NotVerified)?;
        let found = factors.passkeys().find(|(_, credential)| credential.id == response.credential);
        let (factor, credential): (_, &Credential) = found.ok_or(FactorError::NotVerified)?;
        if response.user_handle.as_ref().is_some_and(|handle| *handle != user_handle(aci)) {
            return Err(FactorError::NotVerified);
        }
        let counter = response.verify(credential, self.expected(Some(challenge), user_verification))?;
        let counter = u64::from(counter);
        // A counter that does not grow is a copy's (section 7.2, step 22). Many authenticators do not count.
        if (counter, factor.counter) != (0, 0) && counter <= factor.counter {
            return Err(FactorError::NotVerified);
        }
        self.advance(aci, factor.id, Advance { from: factor.counter, to: counter }).await
    }

    async fn load_for_new_passkey(&self, aci: Aci, ceremony: Ceremony) -> Result<Factors, FactorError> {
        let factors = self.0.store.factors(aci).await?.ok_or(FactorError::Gone)?;
        if ceremony == Ceremony::Unchallenged && factors.has_number {
            return Err(FactorError::HasNumber);
        }
        if factors.confirmed.len() >= FACTORS_MAX {
            return Err(FactorError::TooMany);
        }
        Ok(factors)
    }

    /// A challenge for that purpose.
    fn challenge(&self, purpose: Purpose) -> Challenge {
        let challenge = (&*self.0.entropy as &dyn Entropy).bytes();
        self.challenges(purpose).ask(challenge, self.now(), || purpose);
        challenge
    }

    /// That challenge, if it was handed out for that purpose. It is good once.
    fn asked(&self, challenge: Challenge, purpose: Purpose) -> Result<Challenge, FactorError> {
        let asked = self.challenges(purpose).take(challenge, self.now());
        if asked == Some(purpose) { Ok(challenge) } else { Err(FactorError::NotVerified) }
    }

    /// Strangers' challenges lie apart, so that they do not push out those of accounts.
    fn challenges(&self, purpose: Purpose) -> &Pending<Challenge, Purpose> {
        match purpose {
            Purpose::Add(_) | Purpose::Prove(_) => &self.0.challenges,
            Purpose::SignIn => &self.0.sign_in_challenges,
        }
    }

    fn expected<'a>(&'a self, challenge: Option<&'a Challenge>, user_verification: bool) -> Expected<'a> {
        Expected { relying_party: &self.0.relying_party, challenge, user_verification }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

/// What authenticators know an account by: random for each account, and nothing about a person.
fn user_handle(aci: Aci) -> Vec<u8> {
    aci.0.as_bytes().to_vec()
}
