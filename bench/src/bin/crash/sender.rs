//! A sender: at most one unanswered message to each reader, so that the order of each stream is known.

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng, seq::IteratorRandom as _};
use serde_json::json;
use testkit::{
    Account, ChatSocket, Event,
    account::ACCESS_KEY,
    multi_recipient::{self, Recipient},
    wire::FrameView,
};
use tokio::{sync::watch, time::timeout};

use crate::{
    Control, Stage,
    content::{self, Content},
    ledger::{Ledger, MessageKey},
};

const OUTSTANDING_MAX: usize = 16;
/// Content lengths reach from a few bytes to more than a database page.
const CONTENT_LEN_MAX: usize = 6_000;
/// Readers of one multi-recipient message.
const GROUP_MAX: usize = 6;
/// An answer that takes longer than this is missing: the server runs, and nothing else holds it up so long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const TIMESTAMP: u64 = 1_700_000_000_000;

/// How a sender sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// As an account.
    Identified,
    /// With the recipient's access key, on a socket that says not who it is.
    Sealed,
    /// To several recipients at once, with their access keys combined.
    MultiRecipient,
}

/// An account that reads, as its devices.
pub(crate) type Devices = Vec<Account>;

pub(crate) struct Sender {
    pub(crate) index: u16,
    pub(crate) way: Way,
    /// Not used by those who do not say who they are.
    pub(crate) account: Account,
    pub(crate) readers: Arc<Vec<Devices>>,
    pub(crate) ledger: Arc<Ledger>,
    /// The number of the next message to each reader.
    next: Vec<u32>,
    rng: SmallRng,
}

/// The requests of one connection that are not answered yet.
#[derive(Default)]
struct UnderWay {
    /// What each of them sends.
    requests: HashMap<u64, Vec<MessageKey>>,
    readers: HashSet<u16>,
}

impl Sender {
    pub(crate) fn new(
        (index, way): (u16, Way),
        account: Account,
        readers: Arc<Vec<Devices>>,
        ledger: Arc<Ledger>,
        seed: u64,
    ) -> Self {
        ledger.busy_senders.fetch_add(1, Ordering::Relaxed);
        let next = vec![0; readers.len()];
        Self { index, way, account, readers, ledger, next, rng: SmallRng::seed_from_u64(seed) }
    }

    pub(crate) async fn run(mut self, mut control: watch::Receiver<Control>) -> anyhow::Result<()> {
        while control.borrow().stage == Stage::Load {
            let Some(target) = control.borrow_and_update().target.clone() else {
                control.changed().await?;
                continue;
            };
            let account = (self.way == Way::Identified).then_some(&self.account);
            if let Ok(socket) = ChatSocket::connect(&target, account).await {
                self.session(socket, &mut control).await;
            } else {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        self.ledger.busy_senders.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sends until the connection is lost or the load ends.
    async fn session(&mut self, mut socket: ChatSocket, control: &mut watch::Receiver<Control>) {
        let mut under_way = UnderWay::default();
        loop {
            if !self.take(&mut socket, &mut under_way) {
                break;
            }
            if control.borrow().stage == Stage::Load {
                self.send_allowed(&mut socket, &mut under_way);
            } else if under_way.requests.is_empty() {
                return;
            }
            match timeout(ANSWER_TIMEOUT, poll_fn(|cx| socket.poll_io(cx))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => break,
                Err(_) => {
                    let missing = under_way.requests.len();
                    self.ledger.fault(format!("{missing} requests were not answered in time"));
                    break;
                }
            }
        }
        self.ledger.unanswered.fetch_add(under_way.requests.len() as u64, Ordering::Relaxed);
    }

    /// Reads what there is; false when the connection has ended.
    fn take(&mut self, socket: &mut ChatSocket, under_way: &mut UnderWay) -> bool {
        loop {
            let receipt = match socket.received() {
                Ok(None) => return true,
                Ok(Some(Event::Frame(FrameView::Response(response)))) => {
                    match under_way.requests.remove(&response.id) {
                        Some(keys) => self.answered(response.status, &keys, under_way),
                        None => self.ledger.fault("an answer to nothing"),
                    }
                    None
                }
                Ok(Some(Event::Frame(FrameView::Request(request)))) => {
                    request.is_delivery().then_some(request.id)
                }
                Ok(Some(Event::Close(code, reason))) => {
                    self.ledger.fault(format!("a sender's socket was closed with {code} {reason:?}"));
                    return false;
                }
                Err(error) => {
                    self.ledger.fault(format!("a sender got: {error:#}"));
                    return false;
                }
            };
            if let Some(id) = receipt {
                socket.queue_ack(id);
            }
        }
    }

    fn answered(&self, status: u16, keys: &[MessageKey], under_way: &mut UnderWay) {
        for key in keys {
            under_way.readers.remove(&key.reader);
        }
        match status {
            200 => self.ledger.accepted(self.way, keys),
            500.. => _ = self.ledger.refused.fetch_add(1, Ordering::Relaxed),
            _ => self.ledger.fault(format!("a request ({:?}) was answered with {status}", self.way)),
        }
    }

    fn send_allowed(&mut self, socket: &mut ChatSocket, under_way: &mut UnderWay) {
        while under_way.readers.len() < OUTSTANDING_MAX.min(self.readers.len()) {
            let free = (0..).take(self.readers.len()).filter(|index| !under_way.readers.contains(index));
            let most = if self.way == Way::MultiRecipient { self.rng.random_range(1..=GROUP_MAX) } else { 1 };
            let chosen = free.sample(&mut self.rng, most);
            let len = self.rng.random_range(0..CONTENT_LEN_MAX);
            let numbered: Vec<_> = chosen.into_iter().map(|reader| self.number(reader)).collect();
            let id = match numbered.as_slice() {
                [key] if self.way != Way::MultiRecipient => self.send_one(socket, *key, len),
                keys => self.send_to_several(socket, keys, len),
            };
            under_way.readers.extend(numbered.iter().map(|key| key.reader));
            let copies = numbered.iter().flat_map(|key| {
                let devices = &self.readers[usize::from(key.reader)];
                devices.iter().map(|device| MessageKey { device: device.device_id, ..*key })
            });
            under_way.requests.insert(id, copies.collect());
        }
    }

    /// The next message to that reader.
    fn number(&mut self, reader: u16) -> MessageKey {
        let next = &mut self.next[usize::from(reader)];
        let number = *next;
        *next += 1;
        MessageKey { sender: self.index, reader, number, device: 0 }
    }

    fn send_one(&self, socket: &mut ChatSocket, key: MessageKey, len: usize) -> u64 {
        let devices = &self.readers[usize::from(key.reader)];
        let (kind, access) = if self.way == Way::Sealed { (6, Some(access_header(1))) } else { (1, None) };
        let content = STANDARD.encode(content::for_one(key, len));
        let messages = devices.iter().map(|device| {
            json!({
                "type": kind,
                "destinationDeviceId": device.device_id,
                "destinationRegistrationId": device.registration_id,
                "content": content,
            })
        });
        let messages: Vec<_> = messages.collect();
        let body = json!({ "messages": messages, "timestamp": TIMESTAMP }).to_string();
        let path = format!("/v1/messages/{}", devices[0].aci);
        let mut headers = vec!["content-type: application/json"];
        headers.extend(access.as_deref());
        socket.queue_request("PUT", &path, &headers, body.as_bytes())
    }

    fn send_to_several(&mut self, socket: &mut ChatSocket, keys: &[MessageKey], len: usize) -> u64 {
        let content = Content::new(self.rng.random(), len);
        let recipients = keys.iter().map(|key| {
            let devices = &self.readers[usize::from(key.reader)];
            Recipient {
                aci: devices[0].aci,
                devices: devices.iter().map(|device| (device.device_id, device.registration_id)).collect(),
                key_material: content.key_material(*key),
            }
        });
        let recipients: Vec<_> = recipients.collect();
        let body = multi_recipient::sent(&recipients, &content.shared());
        // Some clients name what is the default.
        let defaults = if self.rng.random() { "&online=false&urgent=true&story=false" } else { "" };
        let path = format!("/v1/messages/multi_recipient?ts={TIMESTAMP}{defaults}");
        let content_type = format!("content-type: {}", multi_recipient::CONTENT_TYPE);
        socket.queue_request("PUT", &path, &[&content_type, &access_header(keys.len())], &body)
    }
}

/// The header with the combined access keys of so many accounts.
fn access_header(recipients: usize) -> String {
    let key = multi_recipient::combined_access_key(ACCESS_KEY, recipients);
    format!("unidentified-access-key: {}", STANDARD.encode(key))
}
