//! What runs beside the requests: expiring messages, waking devices, clearing away what is over, taking up rotated
//! keys.

use std::{sync::Arc, time::Duration};

use audit::Recorder;
use auth::{
    admission::Admission,
    audit::{Action, AuditTrail, Detail, Party},
    change_number::ChangeNumberService,
    handover::HandoverService,
    idle::{IdleRound, IdleService},
    linking::LinkingService,
    native::{
        AccessTokens, NativeService,
        operator::{self, LoggedOut},
    },
    revocation::Revocations,
    sender_certificate::SenderCertificates,
    verification::VerificationService,
};
use messages::ReportService;
use tokio::{signal::unix::Signal, sync::Mutex, task::JoinSet};
use vault::Vault;

use crate::{
    audit_log::Checkpoints,
    secrets::Secrets,
    wiring::{Backend, Waking},
};

/// How often what is over is cleared away (queues of devices that are gone, should their clearing have failed,
/// verification sessions nobody came back to, link codes nobody used, what devices left for one another, old reports), and
/// rotated keys are taken up.
const TIDY_INTERVAL: Duration = Duration::from_mins(1);

/// How often devices are looked for that nobody uses. They are counted in days.
const IDLE_INTERVAL: Duration = Duration::from_hours(1);

/// Starts it; it ends when what this returns is dropped.
pub(crate) fn start(
    backend: &Backend,
    secrets: Secrets,
    vault: Vault,
    access_key_age: Option<Duration>,
    hangup: Signal,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let queue = backend.queue.clone();
    tasks.spawn(async move { queue.run_expiry().await });
    let recorder = backend.recorder.clone();
    tasks.spawn(async move { recorder.run().await });
    if let Some(Waking { wake_ups, waker, recovery }) = &backend.waking {
        let (wake_ups, waker) = (wake_ups.clone(), Arc::clone(waker));
        tasks.spawn(async move { wake_ups.run(waker).await });
        let (notes, looks) = (Arc::clone(recovery), Arc::clone(recovery));
        tasks.spawn(async move { notes.run_notes().await });
        tasks.spawn(async move { looks.run_looks().await });
    }
    let tidying = Tidying {
        revocations: backend.revocations.clone(),
        verification: Arc::clone(&backend.verification),
        change_number: Arc::clone(&backend.change_number),
        linking: Arc::clone(&backend.linking),
        native: backend.native.clone(),
        handovers: Arc::clone(&backend.handovers),
        reports: backend.reports.clone(),
        admission: backend.admission.clone(),
        audit: Arc::clone(&backend.audit),
        recorder: backend.recorder.clone(),
        checkpoints: Arc::clone(&backend.checkpoints),
        rotation: Arc::new(Rotation {
            secrets,
            vault,
            certificates: Arc::clone(&backend.sender_certificates),
            access_tokens: Arc::clone(&backend.access_tokens),
            access_key_age,
        }),
    };
    tasks.spawn(tidying.run(hangup));
    tasks.spawn(part_with_idle(Arc::clone(&backend.idle)));
    tasks.spawn(disconnect_logged_out(Arc::clone(&backend.logged_out)));
    tasks
}

/// Unlinks devices and deletes accounts that are no longer used, now and every hour.
async fn part_with_idle(idle: Arc<IdleService>) {
    loop {
        match idle.round().await {
            Ok(IdleRound { devices: 0, accounts: 0 }) => {}
            Ok(IdleRound { devices, accounts }) => {
                tracing::info!(
                    devices,
                    accounts,
                    "devices were unlinked, and accounts deleted, that nobody uses"
                );
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "unused devices were not looked for"
                );
            }
        }
        tokio::time::sleep(IDLE_INTERVAL).await;
    }
}

/// Closes the connections of those whom `heliograph sessions end` has logged out.
async fn disconnect_logged_out(logged_out: Arc<LoggedOut>) {
    loop {
        if let Err(error) = logged_out.disconnect().await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "devices that were logged out were not disconnected, and will be later");
        }
        tokio::time::sleep(operator::LOOK_INTERVAL).await;
    }
}

struct Tidying {
    revocations: Revocations,
    verification: Arc<VerificationService>,
    change_number: Arc<ChangeNumberService>,
    linking: Arc<LinkingService>,
    native: NativeService,
    handovers: Arc<HandoverService>,
    reports: ReportService,
    admission: Admission,
    audit: Arc<dyn AuditTrail>,
    recorder: Recorder,
    checkpoints: Arc<Mutex<Checkpoints>>,
    rotation: Arc<Rotation>,
}

impl Tidying {
    /// Every minute, and at once on SIGHUP.
    async fn run(self, mut hangup: Signal) {
        loop {
            self.clear_away().await;
            let rotation = Arc::clone(&self.rotation);
            match tokio::task::spawn_blocking(move || rotation.take_up()).await {
                Ok(false) => {}
                Ok(true) => {
                    let event = Action::RotateKey.by(Party::Server).detail(Detail::TokenKey);
                    self.audit.record(event).await;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "rotated keys were not looked for");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(TIDY_INTERVAL) => {}
                Some(()) = hangup.recv() => {}
            }
        }
    }

    /// Finishes what a crash may have left undone, and removes what is over.
    async fn clear_away(&self) {
        if let Err(error) = self.revocations.finish().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "queues of former devices were not cleared"
            );
        }
        if let Err(error) = self.change_number.finish().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "devices were not told of a new number");
        }
        if let Err(error) = self.verification.remove_expired().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "expired sessions were not removed");
        }
        if let Err(error) = self.linking.remove_expired().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "expired link codes were not removed");
        }
        if let Err(error) = self.native.remove_expired().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "sessions that are over were not removed"
            );
        }
        if let Err(error) = self.handovers.remove_expired().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what devices left for one another was not removed"
            );
        }
        if let Err(error) = self.reports.remove_expired().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "old reports were not removed");
        }
        if let Err(error) = self.admission.remove_expired().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "old invitations were not removed");
        }
        if let Err(error) = self.recorder.remove_expired().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "old audit records were not removed");
        }
        if let Err(error) = self.checkpoints.lock().await.write().await {
            tracing::error!("where the audit log ends was not noted: {error:#}");
        }
    }
}

/// How a running server learns that `heliograph keys rotate` was run.
struct Rotation {
    secrets: Secrets,
    vault: Vault,
    certificates: Arc<SenderCertificates>,
    access_tokens: Arc<AccessTokens>,
    /// How old a key of access tokens becomes.
    access_key_age: Option<Duration>,
}

impl Rotation {
    /// Replaces a key that has become too old, and signs with what the files say now. What cannot be read changes nothing.
    /// Answers whether a key was replaced.
    fn take_up(&self) -> bool {
        let replaced = self.replace_old_access_key();
        self.take_up_certificate();
        self.take_up_access_key();
        replaced
    }

    fn replace_old_access_key(&self) -> bool {
        let Some(age) = self.access_key_age else { return false };
        self.secrets.rotate_old_access_key(&self.vault, age).unwrap_or_else(|error| {
            tracing::error!("the key of access tokens was not replaced: {error:#}");
            false
        })
    }

    fn take_up_access_key(&self) {
        match self.secrets.access_keys(&self.vault) {
            Ok(keys) => {
                let id = keys.current.public().id().to_owned();
                if self.access_tokens.replace_keys(keys) {
                    tracing::info!(id, "another key signs access tokens");
                }
            }
            Err(error) => tracing::error!("the key of access tokens was not read anew: {error:#}"),
        }
    }

    fn take_up_certificate(&self) {
        match self.secrets.sender_signer(&self.vault) {
            Ok(signer) => {
                let id = signer.certificate().id();
                if self.certificates.replace_signer(signer) {
                    tracing::info!(id, "another server certificate signs sender certificates");
                }
            }
            Err(error) => tracing::error!("the server certificate was not read anew: {error:#}"),
        }
    }
}
