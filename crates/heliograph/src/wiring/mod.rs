//! Puts the program together: the engine under the services, the services behind the door.

mod audit;
mod bridges;
mod code_senders;
mod providers;
mod stores;

use std::sync::Arc;

use ::audit::Recorder;
use anyhow::{Context, Result};
use auth::{
    AccountService,
    admission::Admission,
    audit::AuditTrail,
    challenge::{ChallengeParts, ChallengeService, PushChallenges},
    change_number::{ChangeNumberParts, ChangeNumberService},
    handover::{HandoverParts, HandoverService},
    idle::{IdleParts, IdleService},
    linking::{LinkingParts, LinkingService, provisioning::ProvisioningRelay},
    native::{AccessTokens, NativeParts, NativeService, PasswordHasher},
    registration::{NoReceipts, RegistrationParts, RegistrationService},
    remote_config::RemoteConfig,
    revocation::Revocations,
    second_factor::{SecondFactorParts, SecondFactors},
    sender_certificate::SenderCertificates,
    store::AccountStore,
    verification::{
        AcceptAnyCaptcha, CaptchaVerifier, CodeSender, Outbox, VerificationParts, VerificationPolicy,
        VerificationService,
    },
};
use gateway::{Services, services::Parts};
use keys::KeyService;
use limits::RateLimits;
use messages::{
    MessageMetrics, MessageParts, MessageQueue, MessageService, QueueParts, ReportService, ReportTokens,
    WakeUps, Waker,
};
use protocol::{
    ambient::{Clock, Entropy, SystemClock, SystemEntropy},
    group_send::NoGroupSendTokens,
};
use push::{PushMetrics, PushParts, PushService, Recovery};
use store::sqlite::{
    SqliteAccounts, SqliteAdmission, SqliteAudit, SqliteHandovers, SqliteKeys, SqliteProfiles, SqliteQueue,
    SqliteReports, SqliteSessions, SqliteWakeLog,
};
use tokio::sync::Mutex;
use vault::Vault;

use crate::{
    audit_log::Checkpoints,
    config::{Challenges, Config, PushProvider},
    secrets::Secrets,
};

use audit::Trail;
use bridges::{Challenged, Gates, Hub, KeysAudited, Notices, Pusher, Rewaker};

pub(crate) use audit::Form;
pub(crate) use stores::{ACCOUNTS_FILE, AUDIT_FILE, Stores};

/// Where the "outbox" provider leaves codes.
const OUTBOX_FILE: &str = "outbox.jsonl";

/// Names the key of the tokens by which messages are reported. Another name voids the tokens that are out.
const REPORT_TOKEN_KEY: &str = "messages.report_token";

/// The niceness of the threads that hash passwords: a tenth of the attention that the others get, when all want some.
const PASSWORDS_NICENESS: i32 = 10;

/// What runs behind the door.
pub(crate) struct Backend {
    pub(crate) services: Services,
    pub(crate) queue: MessageQueue,
    pub(crate) audit: Arc<dyn AuditTrail>,
    pub(crate) recorder: Recorder,
    pub(crate) checkpoints: Arc<Mutex<Checkpoints>>,
    pub(crate) message_metrics: MessageMetrics,
    pub(crate) reports: ReportService,
    pub(crate) revocations: Revocations,
    pub(crate) verification: Arc<VerificationService>,
    pub(crate) change_number: Arc<ChangeNumberService>,
    pub(crate) linking: Arc<LinkingService>,
    pub(crate) native: NativeService,
    pub(crate) access_tokens: Arc<AccessTokens>,
    pub(crate) handovers: Arc<HandoverService>,
    pub(crate) idle: Arc<IdleService>,
    pub(crate) admission: Admission,
    pub(crate) sender_certificates: Arc<SenderCertificates>,
    pub(crate) push_metrics: PushMetrics,
    /// What wakes devices, if anything does.
    pub(crate) waking: Option<Waking>,
}

/// What wakes devices that are away.
pub(crate) struct Waking {
    pub(crate) wake_ups: WakeUps,
    pub(crate) waker: Arc<dyn Waker>,
    pub(crate) recovery: Arc<Recovery>,
}

/// Builds the services on those stores.
pub(crate) async fn build(
    config: &Config,
    stores: &Stores,
    secrets: &Secrets,
    vault: &Vault,
    development: bool,
) -> Result<Backend> {
    let ground = Ground::new(config, stores, vault, development)?;
    let message_metrics = MessageMetrics::default();
    let push_metrics = PushMetrics::default();
    let push = ground.push(secrets, &push_metrics)?;
    let wake_ups = ground.wake_ups(&push, &message_metrics);
    let queue = ground.queue(&message_metrics, wake_ups.clone()).await?;
    let waking = wake_ups.map(|wake_ups| ground.waking(&push, &queue, wake_ups, &message_metrics));
    let hub = Arc::new(Hub(queue.clone()));
    let revocations = Revocations::new(ground.account_store(), hub.clone(), hub.clone());
    let report_tokens = ReportTokens::new(&vault.index(REPORT_TOKEN_KEY, &[]));
    let reports = ground.reports(report_tokens.clone(), &message_metrics);
    let verification = ground.verification(&push)?;
    let idle = ground.idle(&revocations, Arc::clone(&hub));
    let second_factors = ground.second_factors();
    let linking = ground.linking(&revocations, hub);
    let handovers = ground.handovers();
    let sender_certificates = ground.sender_certificates(secrets)?;
    let challenges = ground.challenges(&push);
    let access_tokens = ground.access_tokens(secrets)?;
    let native = ground.native(&revocations, &access_tokens)?;
    let messages = ground.messages(&queue, &challenges, report_tokens);
    let change_number = ground.change_number(&revocations, &verification, &messages);
    let services = Services::new(Parts {
        accounts: ground.account_service(&revocations),
        registration: ground.registration(&revocations, &verification, &second_factors),
        second_factors,
        verification: Arc::clone(&verification),
        linking: Arc::clone(&linking),
        handovers: Arc::clone(&handovers),
        sender_certificates: Arc::clone(&sender_certificates),
        provisioning: ground.provisioning(),
        native: native.clone(),
        profiles: Arc::new(SqliteProfiles::new(Arc::clone(&stores.accounts), vault.clone())),
        remote_config: Arc::new(RemoteConfig::new(config.remote_config.clone())),
        keys: ground.keys(),
        messages,
        change_number: Arc::clone(&change_number),
        challenges,
        reports: reports.clone(),
        limits: Arc::clone(&ground.limits),
        clock: Arc::clone(&ground.clock),
    });
    Ok(Backend {
        services,
        queue,
        admission: ground.admission(),
        audit: ground.audit(),
        recorder: ground.recorder.clone(),
        checkpoints: Arc::new(Mutex::new(ground.checkpoints())),
        message_metrics,
        reports,
        revocations,
        verification,
        change_number,
        linking,
        native,
        access_tokens,
        handovers,
        idle,
        sender_certificates,
        push_metrics,
        waking,
    })
}

/// The push service alone, for a command.
pub(crate) fn push_service(
    config: &Config,
    stores: &Stores,
    secrets: &Secrets,
    vault: &Vault,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<PushService> {
    Ok(PushService::new(PushParts {
        targets: Arc::new(SqliteAccounts::new(Arc::clone(&stores.accounts), vault.clone())),
        providers: providers::providers(config, secrets, vault, clock, entropy)?,
        limits: Arc::new(RateLimits::new(Arc::clone(clock), config.rate_limits())),
        metrics: PushMetrics::default(),
        clock: Arc::clone(clock),
    }))
}

/// What the services stand on; each method builds one.
struct Ground<'a> {
    config: &'a Config,
    development: bool,
    stores: &'a Stores,
    vault: &'a Vault,
    accounts: Arc<SqliteAccounts>,
    limits: Arc<RateLimits>,
    audit_log: Arc<SqliteAudit>,
    recorder: Recorder,
    audit: Arc<dyn AuditTrail>,
    outbox: Arc<Outbox>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl<'a> Ground<'a> {
    fn new(config: &'a Config, stores: &'a Stores, vault: &'a Vault, development: bool) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let path = config.data.join(OUTBOX_FILE);
        let outbox = Outbox::open(&path, Arc::clone(&clock))
            .with_context(|| format!("the outbox {} cannot be opened", path.display()))?;
        let audit_log = Arc::new(SqliteAudit::new(Arc::clone(&stores.audit), vault.clone()));
        let recorder = Recorder::new(audit_log.clone(), Arc::clone(&clock), config.audit.life());
        Ok(Self {
            config,
            development,
            stores,
            vault,
            accounts: Arc::new(SqliteAccounts::new(Arc::clone(&stores.accounts), vault.clone())),
            limits: Arc::new(RateLimits::new(Arc::clone(&clock), config.rate_limits())),
            audit: Arc::new(Trail::new(recorder.clone(), Form::new(config, vault, Arc::clone(&clock)))),
            audit_log,
            recorder,
            outbox: Arc::new(outbox),
            clock,
            entropy: Arc::new(SystemEntropy),
        })
    }

    fn account_store(&self) -> Arc<dyn AccountStore> {
        self.accounts.clone()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn entropy(&self) -> Arc<dyn Entropy> {
        Arc::clone(&self.entropy)
    }

    fn limits(&self) -> Arc<RateLimits> {
        Arc::clone(&self.limits)
    }

    fn audit(&self) -> Arc<dyn AuditTrail> {
        Arc::clone(&self.audit)
    }

    fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.config, self.vault, self.audit_log.clone(), self.clock())
    }

    fn gates(&self) -> Arc<Gates> {
        Arc::new(Gates(self.limits()))
    }

    fn push(&self, secrets: &Secrets, metrics: &PushMetrics) -> Result<Arc<PushService>> {
        Ok(Arc::new(PushService::new(PushParts {
            targets: self.accounts.clone(),
            providers: providers::providers(self.config, secrets, self.vault, &self.clock, &self.entropy)?,
            limits: self.limits(),
            metrics: metrics.clone(),
            clock: self.clock(),
        })))
    }

    /// The devices that are to be woken; nothing if nobody could wake them.
    fn wake_ups(&self, push: &PushService, metrics: &MessageMetrics) -> Option<WakeUps> {
        push.is_on().then(|| WakeUps::new(self.config.push.to_wake_ups(), metrics.wake_ups.clone()))
    }

    fn waking(
        &self,
        push: &Arc<PushService>,
        queue: &MessageQueue,
        wake_ups: WakeUps,
        metrics: &MessageMetrics,
    ) -> Waking {
        let log = SqliteWakeLog::new(Arc::clone(&self.stores.messages));
        let rewaker =
            Rewaker { queue: queue.clone(), wake_ups: wake_ups.clone(), metrics: metrics.wake_ups.clone() };
        Waking {
            wake_ups,
            waker: Arc::new(Pusher(Arc::clone(push))),
            recovery: Arc::new(Recovery::new(Arc::clone(push), Arc::new(log), Arc::new(rewaker))),
        }
    }

    async fn queue(&self, metrics: &MessageMetrics, wake_ups: Option<WakeUps>) -> Result<MessageQueue> {
        let store = SqliteQueue::new(Arc::clone(&self.stores.messages), self.vault.clone());
        let parts = QueueParts {
            store: Arc::new(store),
            clock: self.clock(),
            config: self.config.queue.to_queue(),
            metrics: metrics.clone(),
            wake_ups,
        };
        Ok(MessageQueue::open(parts).await?)
    }

    fn reports(&self, tokens: ReportTokens, metrics: &MessageMetrics) -> ReportService {
        let store = SqliteReports::new(Arc::clone(&self.stores.accounts), self.vault.clone());
        ReportService::new(tokens, Arc::new(store), metrics.clone(), self.clock())
    }

    fn account_service(&self, revocations: &Revocations) -> AccountService {
        AccountService::new(
            self.account_store(),
            revocations.clone(),
            self.audit(),
            self.clock(),
            self.entropy(),
        )
    }

    fn admission(&self) -> Admission {
        let store = SqliteAdmission::new(Arc::clone(&self.stores.accounts), self.vault.clone());
        let policy = self.config.registration.policy(self.development);
        Admission::new(policy, Arc::new(store), self.audit(), self.clock(), self.entropy())
    }

    fn verification(&self, push: &Arc<PushService>) -> Result<Arc<VerificationService>> {
        let sessions = SqliteSessions::new(Arc::clone(&self.stores.accounts), self.vault.clone());
        Ok(Arc::new(VerificationService::new(VerificationParts {
            sessions: Arc::new(sessions),
            accounts: self.account_store(),
            sender: self.code_sender()?,
            admission: self.admission(),
            captcha: Arc::new(AcceptAnyCaptcha),
            audit: self.audit(),
            push: push_challenges(self.config.verification.push, &self.outbox, push),
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
            policy: VerificationPolicy {
                ask_for_captcha: self.config.verification.offer_captcha,
                ..VerificationPolicy::default()
            },
        })))
    }

    fn code_sender(&self) -> Result<Arc<dyn CodeSender>> {
        code_senders::code_sender(&self.config.verification, &self.outbox, self.clock(), self.entropy())
    }

    fn registration(
        &self,
        revocations: &Revocations,
        verification: &Arc<VerificationService>,
        second_factors: &Arc<SecondFactors>,
    ) -> Arc<RegistrationService> {
        Arc::new(RegistrationService::new(RegistrationParts {
            accounts: self.account_store(),
            numberless: self.accounts.clone(),
            // None are issued here.
            receipts: Arc::new(NoReceipts),
            admission: self.admission(),
            verification: Arc::clone(verification),
            second_factors: Arc::clone(second_factors),
            revocations: revocations.clone(),
            audit: self.audit(),
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
        }))
    }

    fn change_number(
        &self,
        revocations: &Revocations,
        verification: &Arc<VerificationService>,
        messages: &MessageService,
    ) -> Arc<ChangeNumberService> {
        Arc::new(ChangeNumberService::new(ChangeNumberParts {
            accounts: self.account_store(),
            numbers: self.accounts.clone(),
            verification: Arc::clone(verification),
            notices: Arc::new(Notices(messages.clone())),
            revocations: revocations.clone(),
            audit: self.audit(),
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
        }))
    }

    fn second_factors(&self) -> Arc<SecondFactors> {
        Arc::new(SecondFactors::new(SecondFactorParts {
            store: self.accounts.clone(),
            relying_party: self.config.relying_party(),
            audit: self.audit(),
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
        }))
    }

    fn linking(&self, revocations: &Revocations, backlog: Arc<Hub>) -> Arc<LinkingService> {
        Arc::new(LinkingService::new(LinkingParts {
            accounts: self.account_store(),
            links: self.accounts.clone(),
            revocations: revocations.clone(),
            backlog,
            audit: self.audit(),
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
        }))
    }

    fn handovers(&self) -> Arc<HandoverService> {
        let store = SqliteHandovers::new(Arc::clone(&self.stores.accounts), self.vault.clone());
        Arc::new(HandoverService::new(HandoverParts {
            store: Arc::new(store),
            accounts: self.account_store(),
            limits: self.limits(),
            clock: self.clock(),
        }))
    }

    fn idle(&self, revocations: &Revocations, presence: Arc<Hub>) -> Arc<IdleService> {
        Arc::new(IdleService::new(IdleParts {
            store: self.accounts.clone(),
            presence,
            revocations: revocations.clone(),
            audit: self.audit(),
            policy: self.config.devices.to_policy(),
            clock: self.clock(),
        }))
    }

    fn provisioning(&self) -> Arc<ProvisioningRelay> {
        Arc::new(ProvisioningRelay::new(self.limits(), self.entropy()))
    }

    fn sender_certificates(&self, secrets: &Secrets) -> Result<Arc<SenderCertificates>> {
        Ok(Arc::new(SenderCertificates::new(
            self.account_store(),
            secrets.sender_signer(self.vault)?,
            self.config.sender_certificates.lifetime(),
            self.clock(),
            self.entropy(),
        )))
    }

    fn access_tokens(&self, secrets: &Secrets) -> Result<Arc<AccessTokens>> {
        Ok(Arc::new(AccessTokens::new(
            self.config.access_tokens.to_tokens(&self.config.public_url),
            secrets.access_keys(self.vault)?,
            self.clock(),
            self.entropy(),
        )))
    }

    fn native(&self, revocations: &Revocations, tokens: &Arc<AccessTokens>) -> Result<NativeService> {
        let hashing = self.config.passwords.to_hashing();
        let hasher = PasswordHasher::start(hashing, self.entropy(), yield_to_others)
            .context("the threads that hash passwords cannot be started")?;
        Ok(NativeService::new(NativeParts {
            store: self.accounts.clone(),
            admission: self.admission(),
            revocations: revocations.clone(),
            audit: self.audit(),
            hasher,
            policy: self.config.passwords.to_policy(),
            tokens: Arc::clone(tokens),
            sessions: self.config.sessions.to_sessions(),
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
        }))
    }

    fn challenges(&self, push: &Arc<PushService>) -> Arc<ChallengeService> {
        Arc::new(ChallengeService::new(ChallengeParts {
            accounts: self.account_store(),
            captcha: captcha_challenges(self.config.challenges),
            push: match self.config.challenges {
                Challenges { enabled: true, push: provider, .. } => {
                    push_challenges(provider, &self.outbox, push)
                }
                Challenges { enabled: false, .. } => None,
            },
            limits: self.limits(),
            clock: self.clock(),
            entropy: self.entropy(),
        }))
    }

    fn keys(&self) -> KeyService {
        let store = SqliteKeys::new(Arc::clone(&self.stores.accounts));
        KeyService::new(
            Arc::new(store),
            self.accounts.clone(),
            self.gates(),
            Arc::new(NoGroupSendTokens),
            Arc::new(KeysAudited(self.audit())),
        )
    }

    fn messages(
        &self,
        queue: &MessageQueue,
        challenges: &Arc<ChallengeService>,
        report_tokens: ReportTokens,
    ) -> MessageService {
        MessageService::new(MessageParts {
            queue: queue.clone(),
            recipients: self.accounts.clone(),
            limits: self.gates(),
            gate: Arc::new(Challenged(Arc::clone(challenges))),
            group_send_tokens: Arc::new(NoGroupSendTokens),
            report_tokens,
            clock: self.clock(),
            entropy: self.entropy(),
        })
    }
}

/// Asks the system to run the calling thread only when nobody else wants to: whoever logs in can wait, messages cannot.
fn yield_to_others() {
    // On Linux this is about the thread and not the process. Where it is refused, the number of threads is bound enough.
    if let Err(error) = rustix::process::setpriority_process(None, PASSWORDS_NICENESS) {
        tracing::debug!(%error, "the threads that hash passwords keep their priority");
    }
}

fn captcha_challenges(Challenges { enabled, captcha, .. }: Challenges) -> Option<Arc<dyn CaptchaVerifier>> {
    (enabled && captcha).then(|| Arc::new(AcceptAnyCaptcha) as _)
}

fn push_challenges(
    provider: PushProvider,
    outbox: &Arc<Outbox>,
    push: &Arc<PushService>,
) -> Option<Arc<dyn PushChallenges>> {
    match provider {
        PushProvider::None => None,
        PushProvider::Push => Some(Arc::new(Pusher(Arc::clone(push)))),
        PushProvider::Outbox => Some(outbox.clone()),
    }
}
