//! Messages, and the keys and challenges before them.

use std::sync::Arc;

use anyhow::Result;
use auth::{
    challenge::{ChallengeParts, ChallengeService},
    verification::{AcceptAnyCaptcha, CaptchaVerifier},
};
use keys::KeyService;
use messages::{
    MessageMetrics, MessageParts, MessageQueue, MessageService, QueueParts, ReportService, ReportTokens,
    WakeUps,
};
use protocol::group_send::NoGroupSendTokens;
use push::PushService;
use store::sqlite::{SqliteKeys, SqliteQueue, SqliteReports};

use super::{
    bridges::{Challenged, KeysAudited},
    ground::Ground,
    push::push_challenges,
    stores::MESSAGES_FOLDER,
};
use crate::config::Challenges;

impl Ground<'_> {
    pub(super) async fn queue(
        &self,
        metrics: &MessageMetrics,
        wake_ups: Option<WakeUps>,
    ) -> Result<MessageQueue> {
        let folder = self.config.data.join(MESSAGES_FOLDER);
        let store = SqliteQueue::open(Arc::clone(&self.stores.messages), &folder, self.vault.clone()).await?;
        let parts = QueueParts {
            store: Arc::new(store),
            clock: self.clock(),
            config: self.config.queue.to_queue(),
            metrics: metrics.clone(),
            wake_ups,
        };
        Ok(MessageQueue::open(parts).await?)
    }

    pub(super) fn messages(
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

    pub(super) fn reports(&self, tokens: ReportTokens, metrics: &MessageMetrics) -> ReportService {
        let store = SqliteReports::new(Arc::clone(&self.stores.accounts), self.vault.clone());
        ReportService::new(tokens, Arc::new(store), metrics.clone(), self.clock())
    }

    pub(super) fn challenges(&self, push: &Arc<PushService>) -> Arc<ChallengeService> {
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

    pub(super) fn keys(&self) -> KeyService {
        let store = SqliteKeys::new(Arc::clone(&self.stores.accounts));
        KeyService::new(
            Arc::new(store),
            self.accounts.clone(),
            self.gates(),
            Arc::new(NoGroupSendTokens),
            Arc::new(KeysAudited(self.audit())),
        )
    }
}

fn captcha_challenges(Challenges { enabled, captcha, .. }: Challenges) -> Option<Arc<dyn CaptchaVerifier>> {
    (enabled && captcha).then(|| Arc::new(AcceptAnyCaptcha) as _)
}
