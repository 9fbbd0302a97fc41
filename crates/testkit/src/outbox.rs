//! The verification codes and e-mail that a development server writes to a file.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

/// How long a code may be on its way after it was asked for.
const CODE_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Reads the file once, however many ask: whoever misses a code reads what has been added since.
#[derive(Debug)]
pub struct Outbox {
    path: PathBuf,
    tail: Mutex<Tail>,
}

#[derive(Debug, Default)]
struct Tail {
    offset: u64,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
    /// Codes by number, in the order they came, until they are taken.
    codes: HashMap<String, Vec<String>>,
    /// Mails by address, likewise.
    mails: HashMap<String, VecDeque<Mail>>,
}

/// An e-mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// What it is about.
    pub subject: String,
    /// What it says.
    pub text: String,
}

impl Mail {
    /// The code in a mail that has one: a line of groups of symbols.
    pub fn code(&self) -> anyhow::Result<String> {
        code_in(&self.text)
    }
}

/// The code in the text of a mail.
pub fn code_in(text: &str) -> anyhow::Result<String> {
    let is_code = |line: &&str| line.len() == 34 && line.split('-').all(|group| group.len() == 4);
    let code = text.lines().map(str::trim).find(is_code);
    code.map(str::to_owned).with_context(|| format!("no code in {text:?}"))
}

impl Outbox {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, tail: Mutex::default() }
    }

    /// Takes the latest code that was sent to that number, waiting for it if need be.
    pub async fn code(&self, number: &str) -> anyhow::Result<String> {
        wait_for(|| self.take(number)).await.context("no verification code was sent")
    }

    /// Takes the next mail that was sent to that address, waiting for it if need be.
    pub async fn mail(&self, address: &str) -> anyhow::Result<Mail> {
        wait_for(|| self.take_mail(address)).await.context("no mail was sent")
    }

    /// Takes the next mail that was sent to that address, if there is one.
    pub fn take_mail(&self, address: &str) -> anyhow::Result<Option<Mail>> {
        let mut tail = self.tail.lock();
        if tail.mails.get(address).is_none_or(VecDeque::is_empty) {
            tail.read(&self.path)?;
        }
        Ok(tail.mails.get_mut(address).and_then(VecDeque::pop_front))
    }

    fn take(&self, number: &str) -> anyhow::Result<Option<String>> {
        let mut tail = self.tail.lock();
        if !tail.codes.contains_key(number) {
            tail.read(&self.path)?;
        }
        Ok(tail.codes.remove(number).and_then(|mut codes| codes.pop()))
    }
}

async fn wait_for<T>(mut take: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + CODE_TIMEOUT;
    loop {
        if let Some(taken) = take()? {
            return Ok(taken);
        }
        anyhow::ensure!(Instant::now() < deadline, "nothing within {CODE_TIMEOUT:?}");
        sleep(POLL_INTERVAL).await;
    }
}

impl Tail {
    fn read(&mut self, path: &PathBuf) -> anyhow::Result<()> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        self.offset += file.read_to_end(&mut self.partial)? as u64;
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let rest = self.partial.split_off(end + 1);
        let lines = std::mem::replace(&mut self.partial, rest);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let entry: serde_json::Value = serde_json::from_slice(line).context("outbox line is not JSON")?;
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            match entry["kind"].as_str().unwrap_or_default() {
                "verification_code" => self.codes.entry(text("to")).or_default().push(text("code")),
                "email" => {
                    let mail = Mail { subject: text("subject"), text: text("text") };
                    self.mails.entry(text("to")).or_default().push_back(mail);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn lines_are_read_once_and_only_when_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.jsonl");
        let outbox = Outbox::new(path.clone());
        assert_eq!(outbox.take("+15550100001").unwrap(), None);
        let mut file = File::create(path).unwrap();
        let line =
            r#"{"time":1,"kind":"verification_code","to":"+15550100001","transport":"sms","code":"111111"}"#;
        writeln!(file, "{line}").unwrap();
        write!(file, "{}", line.replace("111111", "222222")).unwrap();
        assert_eq!(outbox.code("+15550100001").await.unwrap(), "111111");
        assert_eq!(outbox.take("+15550100001").unwrap(), None);
        writeln!(file).unwrap();
        assert_eq!(outbox.code("+15550100001").await.unwrap(), "222222");
    }
}
