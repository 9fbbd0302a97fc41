//! Codes, push challenges and e-mail written to a file instead of being sent: for development and tests.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
    thread,
};

use async_trait::async_trait;
use protocol::{PushService, ambient::Clock};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::{CodeMessage, CodeSender, NotDelivered, SendCodeError};
use crate::{
    challenge::{PushChallengeMessage, PushChallengeTo, PushChallenges, PushUndelivered},
    mail::{MailError, MailMessage, Mailer},
};

/// Lines waiting to be written; senders wait beyond that.
const WAITING_MAX: usize = 256;

/// Appends each code, push challenge and e-mail to a file, as a line of JSON: `time` (milliseconds since the
/// epoch), `kind`, `to`; of a `verification_code` (to a number) also `transport` and `code`, of a `push_challenge`
/// (to `{aci}.{device}`, or to a number that is being registered) also `challenge`, of an `email` (to an address)
/// also `subject` and `text`.
///
/// Only its owner can read the file. Lines are whole however many are written at once, and are on disk
/// when the sender is answered; lines that arrive together share one sync.
pub struct Outbox {
    lines: mpsc::Sender<Line>,
    clock: Arc<dyn Clock>,
}

struct Line {
    text: String,
    written: oneshot::Sender<bool>,
}

#[derive(Serialize)]
struct Entry<'a> {
    time: u64,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum What<'a> {
    VerificationCode { to: &'a str, transport: &'static str, code: &'a str },
    PushChallenge { to: &'a str, challenge: &'a str },
    Email { to: &'a str, subject: &'a str, text: &'a str },
}

/// The line was not written; the log says why.
#[derive(Debug, thiserror::Error)]
#[error("the outbox was not written")]
struct NotWritten;

impl Outbox {
    /// Appends to that file, which is made if it is missing.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        let (lines, waiting) = mpsc::channel(WAITING_MAX);
        thread::Builder::new().name("outbox".to_owned()).spawn(move || write_lines(&file, waiting))?;
        Ok(Self { lines, clock })
    }

    async fn write(&self, what: What<'_>) -> Result<(), NotWritten> {
        let entry = Entry { time: self.clock.now().as_millis(), what };
        let mut text = serde_json::to_string(&entry).map_err(|_| NotWritten)?;
        text.push('\n');
        let (written, outcome) = oneshot::channel();
        self.lines.send(Line { text, written }).await.map_err(|_| NotWritten)?;
        if outcome.await.unwrap_or(false) { Ok(()) } else { Err(NotWritten) }
    }
}

/// Writes what has arrived, syncs once, answers all of it; ends when the outbox is dropped.
fn write_lines(mut file: &File, mut waiting: mpsc::Receiver<Line>) {
    let mut batch = Vec::with_capacity(WAITING_MAX);
    while waiting.blocking_recv_many(&mut batch, WAITING_MAX) > 0 {
        let text: String = batch.iter().map(|line| line.text.as_str()).collect();
        let outcome = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = &outcome {
            tracing::error!(error = error as &dyn std::error::Error, "the outbox was not written");
        }
        for line in batch.drain(..) {
            // Whoever asked may have gone away; the line is written all the same.
            line.written.send(outcome.is_ok()).ok();
        }
    }
}

#[async_trait]
impl CodeSender for Outbox {
    async fn send(&self, message: CodeMessage) -> Result<(), SendCodeError> {
        let line = What::VerificationCode {
            to: message.to.as_str(),
            transport: message.transport.name(),
            code: message.code.as_str(),
        };
        self.write(line).await.map_err(|NotWritten| SendCodeError::NotDelivered {
            reason: NotDelivered::ProviderUnavailable,
            permanent: false,
        })
    }
}

#[async_trait]
impl PushChallenges for Outbox {
    fn reaches(&self, _: PushService) -> bool {
        true
    }

    async fn send(&self, message: PushChallengeMessage) -> Result<(), PushUndelivered> {
        let to = match &message.to {
            PushChallengeTo::Device(device) => format!("{}.{}", device.aci, device.device_id),
            PushChallengeTo::Newcomer(number) => number.as_str().to_owned(),
        };
        let line = What::PushChallenge { to: &to, challenge: message.challenge.as_str() };
        self.write(line).await.map_err(|not_written| PushUndelivered(not_written.into()))
    }
}

#[async_trait]
impl Mailer for Outbox {
    async fn send(&self, message: MailMessage) -> Result<String, MailError> {
        let MailMessage { to, subject, text } = &message;
        let line = What::Email { to: to.as_str(), subject, text };
        self.write(line).await.map_err(|not_written| MailError::Unavailable(not_written.into()))?;
        Ok("written to the outbox".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use protocol::ambient::{ManualClock, SeededEntropy, Timestamp};
    use serde_json::Value;

    use super::{
        super::{Code, Transport},
        *,
    };

    #[tokio::test]
    async fn lines_are_whole_private_and_appended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("outbox.jsonl");
        fs::write(&path, "{\"kind\":\"earlier\"}\n").unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(42)));
        let outbox = Arc::new(Outbox::open(&path, clock).unwrap());
        let code = Code::random(&SeededEntropy::new(1));
        let sends: Vec<_> = (0..500)
            .map(|i| {
                let (outbox, code) = (Arc::clone(&outbox), code.clone());
                let to = format!("+1555{i:07}").parse().unwrap();
                let message =
                    CodeMessage { to, transport: Transport::Voice, code, client: None, languages: None };
                tokio::spawn(async move { CodeSender::send(&*outbox, message).await })
            })
            .collect();
        for send in sends {
            send.await.unwrap().unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 501);
        let mut numbers: Vec<_> = lines[1..].iter().map(|line| line["to"].as_str().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers.first(), Some(&"+15550000000"));
        assert_eq!(numbers.last(), Some(&"+15550000499"));
        assert_eq!(lines[1]["time"], 42);
        assert_eq!(lines[1]["kind"], "verification_code");
        assert_eq!(lines[1]["transport"], "voice");
        assert_eq!(lines[1]["code"], code.as_str());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
