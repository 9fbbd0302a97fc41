//! A sender: at most one unanswered message to each reader, so that the order of each stream is known.

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::json;
use testkit::{Account, ChatSocket, Event, wire::FrameView};
use tokio::{sync::watch, time::timeout};

use crate::{
    Control, Stage,
    ledger::{Ledger, MessageKey},
};

const OUTSTANDING_MAX: usize = 16;
/// Content lengths reach from a few bytes to more than a database page.
const CONTENT_LEN_MAX: usize = 6_000;
/// An answer that takes longer than this is missing: the server runs, and nothing else holds it up so long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Sender {
    index: u16,
    account: Account,
    readers: Vec<Account>,
    /// The number of the next message to each reader.
    next: Vec<u32>,
    ledger: Arc<Ledger>,
    rng: SmallRng,
}

impl Sender {
    pub(crate) fn new(
        index: u16,
        account: Account,
        readers: &[Account],
        ledger: Arc<Ledger>,
        seed: u64,
    ) -> Self {
        ledger.busy_senders.fetch_add(1, Ordering::Relaxed);
        let (readers, next) = (readers.to_vec(), vec![0; readers.len()]);
        Self { index, account, readers, next, ledger, rng: SmallRng::seed_from_u64(seed) }
    }

    pub(crate) async fn run(mut self, mut control: watch::Receiver<Control>) -> anyhow::Result<()> {
        while control.borrow().stage == Stage::Load {
            let Some(target) = control.borrow_and_update().target.clone() else {
                control.changed().await?;
                continue;
            };
            if let Ok(socket) = ChatSocket::connect(&target, Some(&self.account)).await {
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
        let mut under_way = HashMap::new();
        let mut waiting_for = HashSet::new();
        loop {
            if !self.take(&mut socket, &mut under_way, &mut waiting_for) {
                break;
            }
            if control.borrow().stage == Stage::Load {
                self.send(&mut socket, &mut under_way, &mut waiting_for);
            } else if under_way.is_empty() {
                return;
            }
            match timeout(ANSWER_TIMEOUT, poll_fn(|cx| socket.poll_io(cx))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => break,
                Err(_) => {
                    self.ledger.fault(format!("{} messages were not answered in time", under_way.len()));
                    break;
                }
            }
        }
        self.ledger.unanswered.fetch_add(under_way.len() as u64, Ordering::Relaxed);
    }

    /// Reads what there is; false when the connection has ended.
    fn take(
        &mut self,
        socket: &mut ChatSocket,
        under_way: &mut HashMap<u64, MessageKey>,
        waiting_for: &mut HashSet<u16>,
    ) -> bool {
        loop {
            let receipt = match socket.received() {
                Ok(None) => return true,
                Ok(Some(Event::Frame(FrameView::Response(response)))) => {
                    let status = response.status;
                    let Some(key) = under_way.remove(&response.id) else {
                        self.ledger.fault("an answer to nothing");
                        continue;
                    };
                    waiting_for.remove(&key.reader);
                    match status {
                        200 => self.ledger.accepted(key),
                        500.. => _ = self.ledger.refused.fetch_add(1, Ordering::Relaxed),
                        _ => self.ledger.fault(format!("a message was answered with {status}")),
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

    fn send(
        &mut self,
        socket: &mut ChatSocket,
        under_way: &mut HashMap<u64, MessageKey>,
        waiting_for: &mut HashSet<u16>,
    ) {
        let most = OUTSTANDING_MAX.min(self.readers.len());
        while under_way.len() < most {
            let reader = self.rng.random_range(0..self.readers.len());
            let short = u16::try_from(reader).unwrap_or(u16::MAX);
            if !waiting_for.insert(short) {
                continue;
            }
            let key = MessageKey { sender: self.index, reader: short, number: self.next[reader] };
            self.next[reader] += 1;
            let mut content = key.to_bytes().to_vec();
            let len = self.rng.random_range(0..CONTENT_LEN_MAX);
            content.resize(content.len() + len, 0x5A);
            let to = &self.readers[reader];
            let body = json!({
                "messages": [{
                    "type": 1,
                    "destinationDeviceId": 1,
                    "destinationRegistrationId": to.registration_id,
                    "content": STANDARD.encode(content),
                }],
                "timestamp": 1_700_000_000_000_u64,
            });
            let path = format!("/v1/messages/{}", to.aci);
            let headers = ["content-type: application/json"];
            let id = socket.queue_request("PUT", &path, &headers, body.to_string().as_bytes());
            under_way.insert(id, key);
        }
    }
}
