//! Accounts, made through the server's own API.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use protocol::{ambient::SystemEntropy, xeddsa::PrivateKey};
use rand::{Rng as _, RngExt as _, distr::Alphanumeric};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    https::{Call, HttpVersion, Https},
    outbox::Outbox,
    server::Server,
};

const PASSWORD_LEN: usize = 24;
const KYBER_KEY_LEN: usize = 1569;
const KYBER_KEY_TYPE: u8 = 8;

/// The access key for sealed sender that every account here has.
pub const ACCESS_KEY: [u8; 16] = [7; 16];

/// A device of a registered account, the primary unless it was linked.
#[derive(Clone, Debug)]
pub struct Account {
    /// The account identity.
    pub aci: Uuid,
    /// The phone-number identity.
    pub pni: Uuid,
    /// Which of the account's devices it is.
    pub device_id: u8,
    /// The phone number.
    pub number: String,
    /// The device password.
    pub password: String,
    /// The registration id of the account identity.
    pub registration_id: u16,
    /// The registration id of the phone-number identity.
    pub pni_registration_id: u16,
}

impl Account {
    /// The `Authorization` header of the device.
    pub fn authorization(&self) -> String {
        basic(&format!("{}.{}", self.aci, self.device_id), &self.password)
    }
}

/// The `Authorization` header of that user and password.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of standard base64, padded or not; none when it is not that.
pub fn from_base64(text: &str) -> Vec<u8> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).unwrap_or_default()
}

/// An identity key and what it has signed: a signed pre-key and a last-resort key. The Kyber key is random
/// bytes with the right first one; a server cannot tell.
#[derive(Debug)]
pub struct KeySet {
    identity: PrivateKey,
    signed: Value,
    last_resort: Value,
}

impl KeySet {
    /// A new identity with freshly signed keys.
    pub fn generate() -> Self {
        let identity = PrivateKey::generate(&SystemEntropy);
        let signed = ec_signed_key(&identity, 1);
        let last_resort = kem_signed_key(&identity, 2);
        Self { identity, signed, last_resort }
    }

    /// The public identity key in base64.
    pub fn identity_key(&self) -> String {
        STANDARD.encode(self.identity.public_key().as_bytes())
    }

    /// The body of a key upload: one-time keys with ids from `first` on, and nothing else.
    pub fn one_time_keys(&self, first: u32, ec: u32, kem: u32) -> Value {
        let ec: Vec<_> = (first..first + ec).map(ec_key).collect();
        let kem: Vec<_> = (first..first + kem).map(|id| kem_signed_key(&self.identity, id)).collect();
        json!({ "preKeys": ec, "pqPreKeys": kem })
    }

    /// The body of the native API's `PUT /keys` for a device's first keys, with that many one-time keys of each kind.
    pub fn native_body(&self, one_time: u32) -> Value {
        let native = |key: &Value| {
            let mut key = json!({ "key_id": key["keyId"], "public_key": key["publicKey"], "signature": key["signature"] });
            if key["signature"].is_null() {
                key.as_object_mut().map(|key| key.remove("signature"));
            }
            key
        };
        let list = |keys: &Value| keys.as_array().into_iter().flatten().map(native).collect::<Vec<_>>();
        let others = self.one_time_keys(100, one_time, one_time);
        json!({
            "identity_key": self.identity_key(),
            "signed_pre_key": native(&self.signed),
            "pq_last_resort_pre_key": native(&self.last_resort),
            "pre_keys": list(&others["preKeys"]),
            "pq_pre_keys": list(&others["pqPreKeys"]),
        })
    }

    /// The signed pre-key, as JSON.
    pub fn signed(&self) -> &Value {
        &self.signed
    }
}

fn ec_key(id: u32) -> Value {
    let public = PrivateKey::generate(&SystemEntropy).public_key();
    json!({ "keyId": id, "publicKey": STANDARD.encode(public.as_bytes()) })
}

fn ec_signed_key(identity: &PrivateKey, id: u32) -> Value {
    let public = PrivateKey::generate(&SystemEntropy).public_key();
    let signature = identity.sign(public.as_bytes(), &SystemEntropy);
    json!({
        "keyId": id,
        "publicKey": STANDARD.encode(public.as_bytes()),
        "signature": STANDARD.encode(signature.as_bytes()),
    })
}

fn kem_signed_key(identity: &PrivateKey, id: u32) -> Value {
    let mut public = vec![0; KYBER_KEY_LEN];
    rand::rng().fill_bytes(&mut public);
    public[0] = KYBER_KEY_TYPE;
    let signature = identity.sign(&public, &SystemEntropy);
    json!({
        "keyId": id,
        "publicKey": STANDARD.encode(&public),
        // Android leaves the padding out.
        "signature": STANDARD_NO_PAD.encode(signature.as_bytes()),
    })
}

/// The body of a registration with these keys; tests spoil parts of it.
pub fn registration_body(session_id: &str, aci: &KeySet, pni: &KeySet, ids: (u16, u16)) -> Value {
    json!({
        "sessionId": session_id,
        "skipDeviceTransfer": true,
        "aciIdentityKey": aci.identity_key(),
        "pniIdentityKey": pni.identity_key(),
        "aciSignedPreKey": aci.signed,
        "pniSignedPreKey": pni.signed,
        "aciPqLastResortPreKey": aci.last_resort,
        "pniPqLastResortPreKey": pni.last_resort,
        "accountAttributes": {
            "fetchesMessages": true,
            "registrationId": ids.0,
            "pniRegistrationId": ids.1,
            "capabilities": { "spqr": true },
            "unidentifiedAccessKey": STANDARD.encode(ACCESS_KEY),
            "unrestrictedUnidentifiedAccess": false,
            "discoverableByPhoneNumber": true,
        },
    })
}

/// Goes through number verification and returns the verified session's id.
pub async fn verify_number(outbox: &Outbox, https: &mut Https, number: &str) -> anyhow::Result<String> {
    let call = Call::post("/v1/verification/session").json(&json!({ "number": number }));
    let session = https.send(call).await?.success().context("new verification session")?.json()?;
    let id = session["id"].as_str().context("session without id")?.to_owned();
    let path = format!("/v1/verification/session/{id}/code");
    let call = Call::post(&path).json(&json!({ "transport": "sms", "client": "testkit" }));
    https.send(call).await?.success().context("asking for a code")?;
    let code = outbox.code(number).await?;
    let call = Call::put(&path).json(&json!({ "code": code }));
    let session = https.send(call).await?.success().context("submitting the code")?.json()?;
    ensure!(session["verified"] == true, "the code was not accepted");
    Ok(id)
}

/// Registers that number over an open connection.
pub async fn register_over(
    outbox: &Outbox,
    https: &mut Https,
    number: &str,
    keys: (&KeySet, &KeySet),
) -> anyhow::Result<Account> {
    let session_id = verify_number(outbox, https, number).await?;
    let (password, ids) = new_device();
    let call = Call::post("/v1/registration")
        .authorization(&basic(number, &password))
        .json(&registration_body(&session_id, keys.0, keys.1, ids));
    let identity = https.send(call).await?.success().context("registration")?.json()?;
    let id = |name: &str| identity[name].as_str().and_then(|text| text.parse().ok());
    Ok(Account {
        aci: id("uuid").context("registration without uuid")?,
        pni: id("pni").context("registration without pni")?,
        device_id: 1,
        number: number.to_owned(),
        password,
        registration_id: ids.0,
        pni_registration_id: ids.1,
    })
}

/// A password and the two registration ids of a new device.
fn new_device() -> (String, (u16, u16)) {
    let mut rng = rand::rng();
    let password = (0..PASSWORD_LEN).map(|_| char::from(rng.sample(Alphanumeric))).collect();
    (password, (rng.random_range(1..=16383), rng.random_range(1..=16383)))
}

/// The body of a device's request to be linked with that code; tests spoil parts of it.
pub fn link_body(code: &str, aci: &KeySet, pni: &KeySet, ids: (u16, u16)) -> Value {
    json!({
        "verificationCode": code,
        "aciSignedPreKey": aci.signed,
        "pniSignedPreKey": pni.signed,
        "aciPqLastResortPreKey": aci.last_resort,
        "pniPqLastResortPreKey": pni.last_resort,
        "accountAttributes": {
            "fetchesMessages": true,
            "registrationId": ids.0,
            "pniRegistrationId": ids.1,
            "capabilities": { "spqr": true },
        },
    })
}

/// Links one more device over an open connection, to the account of this primary. `keys` are those with which
/// it was registered: they are signed by its identities.
pub async fn link_over(
    https: &mut Https,
    primary: &Account,
    keys: (&KeySet, &KeySet),
) -> anyhow::Result<Account> {
    let call = Call::get("/v1/devices/provisioning/code").auth(primary);
    let code = https.send(call).await?.success().context("a link code")?.json()?;
    let code = code["verificationCode"].as_str().context("no code")?;
    let (password, ids) = new_device();
    let call = Call::put("/v1/devices/link")
        .authorization(&basic(&primary.number, &password))
        .json(&link_body(code, keys.0, keys.1, ids));
    let linked = https.send(call).await?.success().context("linking")?.json()?;
    let device_id = linked["deviceId"].as_u64().and_then(|id| id.try_into().ok()).context("no device id")?;
    Ok(Account { device_id, password, registration_id: ids.0, pni_registration_id: ids.1, ..primary.clone() })
}

/// Registers that number with keys of its own.
pub async fn register(server: &Server, number: &str) -> anyhow::Result<Account> {
    register_with(server, number, (&KeySet::generate(), &KeySet::generate())).await
}

/// Registers that number with these keys for its account identity and its phone-number identity.
pub async fn register_with(
    server: &Server,
    number: &str,
    keys: (&KeySet, &KeySet),
) -> anyhow::Result<Account> {
    let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
    register_over(server.outbox(), &mut https, number, keys).await
}

/// The phone number of the n-th test account.
pub fn test_number(n: usize) -> String {
    format!("+1555{n:07}")
}

/// Registers the numbers `first..first + count`, over that many connections at a time. They all use the same
/// keys, so that signing does not take the processor from the server.
pub async fn register_many(
    server: &Server,
    first: usize,
    count: usize,
    connections: usize,
) -> anyhow::Result<Vec<Account>> {
    let keys = (KeySet::generate(), KeySet::generate());
    let next = AtomicUsize::new(first);
    let worker = async || -> anyhow::Result<Vec<(usize, Account)>> {
        let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
        let mut made = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= first + count {
                return Ok(made);
            }
            made.push((
                n,
                register_over(server.outbox(), &mut https, &test_number(n), (&keys.0, &keys.1)).await?,
            ));
        }
    };
    let workers = futures_util::future::try_join_all((0..connections.max(1)).map(|_| worker())).await?;
    let mut accounts: Vec<_> = workers.into_iter().flatten().collect();
    accounts.sort_by_key(|(n, _)| *n);
    Ok(accounts.into_iter().map(|(_, account)| account).collect())
}
