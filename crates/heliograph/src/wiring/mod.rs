//! Puts the program together: the engine under the services, the services behind the door.

mod accounts;
mod audit;
mod bridges;
mod code_senders;
mod ground;
mod linking;
mod mail;
mod messages;
mod native;
mod providers;
mod push;
mod registration;
mod stores;

use std::sync::Arc;

use ::audit::Recorder;
use ::messages::{MessageMetrics, MessageQueue, ReportService, ReportTokens};
use ::push::PushMetrics;
use anyhow::Result;
use auth::{
    admission::Admission,
    audit::AuditTrail,
    change_number::ChangeNumberService,
    handover::HandoverService,
    idle::IdleService,
    linking::LinkingService,
    mail::Post,
    native::{AccessTokens, NativeService, operator::LoggedOut},
    remote_config::RemoteConfig,
    revocation::Revocations,
    sender_certificate::SenderCertificates,
    verification::VerificationService,
};
use gateway::{Services, services::Parts};
use store::sqlite::SqliteProfiles;
use tokio::sync::Mutex;
use vault::Vault;

use self::{bridges::Hub, ground::Ground};
use crate::{audit_log::Checkpoints, config::Config, secrets::Secrets};

pub(crate) use self::{
    audit::Form,
    mail::mailer,
    push::{Waking, push_service},
    stores::{ACCOUNTS_FILE, AUDIT_FILE, Stores},
};

/// Names the key of the tokens by which messages are reported. Another name voids the tokens that are out.
const REPORT_TOKEN_KEY: &str = "messages.report_token";

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
    pub(crate) logged_out: Arc<LoggedOut>,
    pub(crate) access_tokens: Arc<AccessTokens>,
    /// By what letters to people leave, if any are sent.
    pub(crate) post: Option<Post>,
    pub(crate) handovers: Arc<HandoverService>,
    pub(crate) idle: Arc<IdleService>,
    pub(crate) admission: Admission,
    pub(crate) sender_certificates: Arc<SenderCertificates>,
    pub(crate) push_metrics: PushMetrics,
    /// What wakes devices, if anything does.
    pub(crate) waking: Option<Waking>,
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
    let (letters, post) = ground.letters()?.unzip();
    let native = ground.native(&revocations, &access_tokens, &second_factors, letters)?;
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
        push: Arc::clone(&push),
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
        logged_out: ground.logged_out(&revocations),
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
        post,
        handovers,
        idle,
        sender_certificates,
        push_metrics,
        waking,
    })
}
