//! Sender certificates: the server's word, for a few days, on who the sender of a sealed message is.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::RwLock;
use protocol::{
    DeviceId, ServiceId,
    ambient::{Clock, Entropy, Timestamp},
    certificate::{SenderCertificate, SenderCertificateFields, ServerCertificate},
    xeddsa::PrivateKey,
};

use crate::{account::Account, service::Authenticated, settings::AccountError, store::AccountStore};

/// Longest life of a sender certificate. Certificates cannot be taken back, so it is also how long a
/// device that was removed may go on sending as one of the account, and how long a trust root counts after
/// its last use.
pub const LIFETIME_MAX: Duration = Duration::from_hours(30 * 24);

/// What signs sender certificates: a key, and the certificate by which clients believe it.
#[derive(Debug)]
pub struct Signer {
    certificate: ServerCertificate,
    key: PrivateKey,
}

impl Signer {
    /// The two together; nothing if the certificate is of another key.
    pub fn new(certificate: ServerCertificate, key: PrivateKey) -> Option<Self> {
        (*certificate.key() == key.public_key()).then_some(Self { certificate, key })
    }

    /// The certificate of the key.
    pub fn certificate(&self) -> &ServerCertificate {
        &self.certificate
    }

    fn issue(
        &self,
        account: &Account,
        device: DeviceId,
        form: Form,
        expires: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, AccountError> {
        account.device(device).ok_or(AccountError::Gone)?;
        let e164 = match form {
            Form::WithNumber => {
                Some(account.number.as_ref().map(|number| &number.number).ok_or(AccountError::NoNumber)?)
            }
            Form::WithoutNumber => None,
        };
        let identity_key = account.identity_key.as_ref().ok_or(AccountError::NoIdentityKey)?;
        let fields = SenderCertificateFields { e164, uuid: account.aci, device, expires, identity_key };
        Ok(SenderCertificate::issue(fields, &self.certificate, &self.key, entropy))
    }
}

/// Whether a certificate tells recipients the sender's phone number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It does.
    WithNumber,
    /// It does not.
    WithoutNumber,
}

/// Both forms of a device's certificate, serialized.
#[derive(Clone, Debug)]
pub struct BothForms {
    /// With the number, when the account has one.
    pub with_number: Option<Vec<u8>>,
    /// Without it.
    pub without_number: Vec<u8>,
}

/// Issues sender certificates.
pub struct SenderCertificates {
    accounts: Arc<dyn AccountStore>,
    signer: RwLock<Arc<Signer>>,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl SenderCertificates {
    /// Issues under that signer, for the accounts of that store. `lifetime` is from issue to expiry, and
    /// cut to [`LIFETIME_MAX`].
    pub fn new(
        accounts: Arc<dyn AccountStore>,
        signer: Signer,
        lifetime: Duration,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let lifetime = lifetime.min(LIFETIME_MAX);
        Self { accounts, signer: RwLock::new(Arc::new(signer)), lifetime, clock, entropy }
    }

    /// Issues under another signer from now on. Answers whether it is another.
    pub fn replace_signer(&self, signer: Signer) -> bool {
        let mut current = self.signer.write();
        let other = current.certificate.as_bytes() != signer.certificate.as_bytes();
        if other {
            *current = Arc::new(signer);
        }
        other
    }

    /// A certificate of the calling device, serialized.
    pub async fn issue(&self, caller: &Authenticated, form: Form) -> Result<Vec<u8>, AccountError> {
        let account = self.account(caller).await?;
        self.sign(&account, caller.device_id, form)
    }

    /// Both certificates of the calling device.
    pub async fn issue_both(&self, caller: &Authenticated) -> Result<BothForms, AccountError> {
        let account = self.account(caller).await?;
        let with_number = match self.sign(&account, caller.device_id, Form::WithNumber) {
            Err(AccountError::NoNumber) => None,
            signed => Some(signed?),
        };
        let without_number = self.sign(&account, caller.device_id, Form::WithoutNumber)?;
        Ok(BothForms { with_number, without_number })
    }

    async fn account(&self, caller: &Authenticated) -> Result<Account, AccountError> {
        self.accounts.account(ServiceId::Aci(caller.aci)).await?.ok_or(AccountError::Gone)
    }

    fn sign(&self, account: &Account, device: DeviceId, form: Form) -> Result<Vec<u8>, AccountError> {
        let signer = Arc::clone(&self.signer.read());
        let expires = self.clock.now().saturating_add(self.lifetime);
        signer.issue(account, device, form, expires, &*self.entropy)
    }
}

impl fmt::Debug for SenderCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SenderCertificates").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Aci, Pni, ambient::SeededEntropy};
    use uuid::Uuid;

    use super::*;
    use crate::{
        account::{AccountVersion, NumberIdentity},
        device::tests::device,
    };

    fn account(entropy: &dyn Entropy, number: Option<&str>) -> Account {
        let key = || PrivateKey::generate(entropy).public_key();
        Account {
            aci: Aci(Uuid::from_u128(1)),
            identity_key: Some(key()),
            number: number.map(|number| NumberIdentity {
                number: number.parse().unwrap(),
                pni: Pni(Uuid::from_u128(2)),
                identity_key: key(),
            }),
            unidentified_access: protocol::UnidentifiedAccess::default(),
            discoverable: true,
            registration_lock: None,
            devices: vec![device(1), device(2)],
            version: AccountVersion(1),
        }
    }

    fn signer(entropy: &dyn Entropy) -> (PrivateKey, Signer) {
        let (root, key) = (PrivateKey::generate(entropy), PrivateKey::generate(entropy));
        let certificate = ServerCertificate::issue(1, &key.public_key(), &root, entropy);
        (root, Signer::new(certificate, key).unwrap())
    }

    #[test]
    fn a_certificate_says_who_the_device_is_and_its_number_only_if_wanted() {
        let entropy = SeededEntropy::new(1);
        let (root, signer) = signer(&entropy);
        let account = account(&entropy, Some("+15550100001"));
        let expires = Timestamp::from_millis(1_700_000_000_000);
        for device in [1, 2] {
            let device = DeviceId::try_from(device).unwrap();
            for (form, number) in [(Form::WithNumber, Some("+15550100001")), (Form::WithoutNumber, None)] {
                let bytes = signer.issue(&account, device, form, expires, &entropy).unwrap();
                let read = SenderCertificate::from_bytes(&bytes).unwrap();
                assert!(read.verify(&root.public_key(), expires));
                assert!(!read.verify(&root.public_key(), Timestamp::from_millis(1_700_000_000_001)));
                assert_eq!((read.uuid, read.device, read.expires), (account.aci, device, expires));
                // The account identity's key, not that of the phone number.
                assert_eq!(Some(read.identity_key), account.identity_key);
                assert_eq!(read.e164.as_ref().map(protocol::PhoneNumber::as_str), number);
            }
        }
    }

    #[test]
    fn a_number_that_is_not_there_is_not_certified_and_neither_is_a_device() {
        let entropy = SeededEntropy::new(1);
        let (_, signer) = signer(&entropy);
        let account = account(&entropy, None);
        let issue = |device: u32, form| {
            signer.issue(&account, device.try_into().unwrap(), form, Timestamp::from_millis(1), &entropy)
        };
        assert!(matches!(issue(1, Form::WithNumber), Err(AccountError::NoNumber)));
        assert!(issue(1, Form::WithoutNumber).is_ok());
        assert!(matches!(issue(3, Form::WithoutNumber), Err(AccountError::Gone)));
    }

    #[test]
    fn an_account_that_has_published_no_key_is_not_certified() {
        let entropy = SeededEntropy::new(1);
        let (_, signer) = signer(&entropy);
        let account = Account { identity_key: None, ..account(&entropy, Some("+15550100001")) };
        for form in [Form::WithNumber, Form::WithoutNumber] {
            let issued = signer.issue(&account, DeviceId::PRIMARY, form, Timestamp::from_millis(1), &entropy);
            assert!(matches!(issued, Err(AccountError::NoIdentityKey)));
        }
    }

    #[test]
    fn a_signer_has_the_key_of_its_certificate() {
        let entropy = SeededEntropy::new(1);
        let (_, Signer { certificate, .. }) = signer(&entropy);
        assert!(Signer::new(certificate, PrivateKey::generate(&entropy)).is_none());
    }
}
