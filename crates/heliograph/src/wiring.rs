//! Puts the program together: the engine under the services, the services behind the door.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use async_trait::async_trait;
use auth::{
    AccountService,
    registration::{RegistrationParts, RegistrationService},
    remote_config::RemoteConfig,
    revocation::{Disconnect, QueueClearer, Revocations},
    store::AccountStore,
    verification::{
        AcceptAnyCaptcha, CodeSender, Outbox, VerificationParts, VerificationPolicy, VerificationService,
    },
};
use gateway::{Services, services::Parts};
use keys::{KeyFetchLimit, KeyService, NoGroupSendTokens};
use limits::{LimitId, RateLimits, RetryAfter};
use messages::{CloseReason, MessageQueue, MessageService, SendLimits};
use protocol::{
    Aci, ServiceId,
    ambient::{Clock, Entropy, StorageError, SystemClock, SystemEntropy, Timestamp},
};
use store::sqlite::{Database, Schema, SqliteAccounts, SqliteKeys, SqliteQueue, SqliteSessions};
use vault::Vault;

use crate::config::{Config, Provider};

/// The files of the embedded store inside the data folder.
const ACCOUNTS_FILE: &str = "accounts.sqlite";
const MESSAGES_FILE: &str = "messages.sqlite";

/// Where the "outbox" provider leaves codes.
const OUTBOX_FILE: &str = "outbox.jsonl";

/// The embedded store, opened.
pub(crate) struct Stores {
    accounts: Arc<Database>,
    messages: Arc<Database>,
}

impl Stores {
    /// Opens both files. With `create`, missing ones are made.
    pub(crate) fn open(config: &Config, create: bool) -> Result<Self> {
        let open = |name: &str, schema| {
            let path = config.data.join(name);
            let opened = Database::open(&path, schema, create);
            opened.map(Arc::new).with_context(|| format!("the store {} cannot be opened", path.display()))
        };
        Ok(Self {
            accounts: open(ACCOUNTS_FILE, Schema::Accounts)?,
            messages: open(MESSAGES_FILE, Schema::Messages)?,
        })
    }

    /// Commits what is waiting and closes both files.
    pub(crate) async fn close(&self) {
        self.messages.close().await;
        self.accounts.close().await;
    }
}

/// What runs behind the door.
pub(crate) struct Backend {
    pub(crate) services: Services,
    pub(crate) queue: MessageQueue,
    pub(crate) revocations: Revocations,
    pub(crate) verification: Arc<VerificationService>,
}

/// Builds the services on those stores.
pub(crate) async fn build(config: &Config, stores: &Stores, vault: &Vault) -> Result<Backend> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let limits = Arc::new(RateLimits::new(Arc::clone(&clock), config.rate_limits()));
    let accounts = Arc::new(SqliteAccounts::new(Arc::clone(&stores.accounts), vault.clone()));
    let keys = Arc::new(SqliteKeys::new(Arc::clone(&stores.accounts)));
    let queue_store = Arc::new(SqliteQueue::new(Arc::clone(&stores.messages), vault.clone()));
    let queue = MessageQueue::open(queue_store, Arc::clone(&clock), config.queue.to_queue()).await?;

    let hub = Arc::new(Hub(queue.clone()));
    let account_store: Arc<dyn AccountStore> = accounts.clone();
    let revocations = Revocations::new(Arc::clone(&account_store), hub.clone(), hub);
    let verification = Arc::new(VerificationService::new(VerificationParts {
        sessions: Arc::new(SqliteSessions::new(Arc::clone(&stores.accounts), vault.clone())),
        accounts: Arc::clone(&account_store),
        sender: code_sender(config, &clock)?,
        captcha: Arc::new(AcceptAnyCaptcha),
        limits: Arc::clone(&limits),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        policy: VerificationPolicy {
            ask_for_captcha: config.verification.offer_captcha,
            ..VerificationPolicy::default()
        },
    }));
    let registration = RegistrationService::new(RegistrationParts {
        accounts: Arc::clone(&account_store),
        verification: Arc::clone(&verification),
        revocations: revocations.clone(),
        limits: Arc::clone(&limits),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    });
    let gates = Arc::new(Gates(Arc::clone(&limits)));
    let services = Services::new(Parts {
        accounts: AccountService::new(
            account_store,
            revocations.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        ),
        verification: Arc::clone(&verification),
        registration: Arc::new(registration),
        remote_config: Arc::new(RemoteConfig::new(config.remote_config.clone())),
        keys: KeyService::new(keys, accounts.clone(), gates.clone(), Arc::new(NoGroupSendTokens)),
        messages: MessageService::new(queue.clone(), accounts, gates, Arc::clone(&clock), entropy),
        limits,
        clock,
    });
    Ok(Backend { services, queue, revocations, verification })
}

fn code_sender(config: &Config, clock: &Arc<dyn Clock>) -> Result<Arc<dyn CodeSender>> {
    match config.verification.provider {
        Provider::Outbox => {
            let path = config.data.join(OUTBOX_FILE);
            let outbox = Outbox::open(&path, Arc::clone(clock))
                .with_context(|| format!("the outbox {} cannot be opened", path.display()))?;
            Ok(Arc::new(outbox))
        }
    }
}

/// Tells the message queue what becomes of accounts.
struct Hub(MessageQueue);

impl Disconnect for Hub {
    fn credentials_revoked(&self, aci: Aci) {
        self.0.disconnect(aci, CloseReason::CredentialsRevoked);
    }
}

#[async_trait]
impl QueueClearer for Hub {
    async fn clear(&self, aci: Aci, cutoff: Timestamp) -> Result<(), StorageError> {
        self.0.clear(aci, cutoff).await
    }
}

/// Asks the rate limits on behalf of services.
struct Gates(Arc<RateLimits>);

impl Gates {
    fn check(&self, id: LimitId, key: &[u8], amount: u64) -> Result<(), Duration> {
        self.0.check(id, key, amount).map_err(|RetryAfter(wait)| wait)
    }
}

impl KeyFetchLimit for Gates {
    fn check(&self, key: &[u8]) -> Result<(), Duration> {
        self.check(LimitId::Prekeys, key, 1)
    }
}

impl SendLimits for Gates {
    fn message(&self, Aci(sender): Aci, Aci(recipient): Aci) -> Result<(), Duration> {
        let mut pair = [0; 32];
        pair[..16].copy_from_slice(sender.as_bytes());
        pair[16..].copy_from_slice(recipient.as_bytes());
        self.check(LimitId::Messages, &pair, 1)
    }

    fn inbound_bytes(&self, recipient: ServiceId, bytes: usize) -> Result<(), Duration> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.check(LimitId::InboundMessageBytes, recipient.uuid().as_bytes(), bytes)
    }
}
