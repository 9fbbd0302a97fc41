//! What one connected device sees of its queue: a state machine without I/O.
//!
//! Envelopes go in, requests for the device come out; the device's answers go in, settled positions and
//! receipts come out. The loop that owns the socket does the rest.

use std::collections::VecDeque;

use protocol::{Aci, envelope::EnvelopeSummary};

use crate::{
    limits::{PAGE_MESSAGES, WINDOW},
    queue::Delivery,
    queued::QueuedEnvelope,
    receipt::Receipt,
    store::Position,
};

/// A request to the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// Here is an envelope.
    Message {
        /// Id of the request; the device's answer carries it.
        request_id: u64,
        /// The envelope.
        envelope: QueuedEnvelope,
    },
    /// What was waiting when the device connected has been delivered. Never answered by some clients.
    QueueEmpty {
        /// Id of the request.
        request_id: u64,
    },
}

/// An envelope that needs no more delivering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What to acknowledge in the queue; none for an envelope that is kept nowhere.
    pub position: Option<Position>,
    /// Whom to tell.
    pub receipt: Option<Receipt>,
}

/// Delivery to one connected device.
#[derive(Debug)]
pub struct DeliverySession {
    reader: Aci,
    receive_stories: bool,
    next_request_id: u64,
    /// In order of the requests' ids, which is nearly that of the answers.
    outstanding: VecDeque<Outstanding>,
    /// What stands up to there was waiting when the device connected; `None` once it has been told that all
    /// of that is delivered.
    draining_to: Option<Position>,
    /// The window has been full and no page fits yet.
    full: bool,
    /// Everything up to [`draining_to`](Self::draining_to) has been handed out.
    handed_out: bool,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    request_id: u64,
    position: Position,
    stored: bool,
    receipt: Option<Receipt>,
}

impl DeliverySession {
    /// A session of a device that just connected. `horizon` is the last position that was given out then.
    pub fn new(reader: Aci, receive_stories: bool, horizon: Position) -> Self {
        Self {
            reader,
            receive_stories,
            next_request_id: 1,
            outstanding: VecDeque::new(),
            draining_to: Some(horizon),
            full: false,
            handed_out: false,
        }
    }

    /// How many more envelopes the device may be sent now. Once the window has been full there is no room
    /// until a page fits again: reading the queue for one envelope costs as much as for many.
    pub fn room(&mut self) -> usize {
        let room = WINDOW.saturating_sub(self.outstanding.len());
        if room == 0 {
            self.full = true;
        } else if room >= PAGE_MESSAGES {
            self.full = false;
        }
        if self.full { 0 } else { room }
    }

    /// Whether envelopes are out that the device has not answered.
    pub fn has_outstanding(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Takes what was read from the queue; an empty read means that all of it has been handed out. Stories
    /// that the device does not want are settled at once.
    pub fn deliver(&mut self, read: Vec<Delivery>) -> (Vec<Outbound>, Vec<Settled>) {
        let past_horizon = |position| self.draining_to.is_some_and(|horizon| position > horizon);
        self.handed_out |= read.last().is_none_or(|last| past_horizon(last.position));
        let mut outbound = Vec::with_capacity(read.len());
        let mut settled = Vec::new();
        for delivery in read {
            let summary = EnvelopeSummary::of(&delivery.envelope.head);
            if summary.is_story && !self.receive_stories {
                settled.push(Settled {
                    position: Some(delivery.position).filter(|_| !delivery.ephemeral),
                    receipt: None,
                });
                continue;
            }
            let request_id = self.request_id();
            self.outstanding.push_back(Outstanding {
                request_id,
                position: delivery.position,
                stored: !delivery.ephemeral,
                receipt: Receipt::due_for(&summary, self.reader),
            });
            outbound.push(Outbound::Message { request_id, envelope: delivery.envelope });
        }
        (outbound, settled)
    }

    /// The device has answered a request. A 2xx settles the envelope; anything else leaves it in the queue
    /// for the next connection. Answers to unknown or settled requests mean nothing.
    pub fn answered(&mut self, request_id: u64, status: u16) -> Option<Settled> {
        let outstanding = self.take(request_id)?;
        if self.outstanding.is_empty() {
            // A drained window's worth of table is not worth keeping while the connection idles.
            self.outstanding.shrink_to(WINDOW / 16);
        }
        let position = outstanding.stored.then_some(outstanding.position);
        let accepted = (200..300).contains(&status);
        (accepted && (position.is_some() || outstanding.receipt.is_some()))
            .then_some(Settled { position, receipt: outstanding.receipt })
    }

    fn take(&mut self, request_id: u64) -> Option<Outstanding> {
        // Most devices answer in order.
        if let Some(first) = self.outstanding.pop_front_if(|first| first.request_id == request_id) {
            return Some(first);
        }
        let index = self.outstanding.binary_search_by_key(&request_id, |outstanding| outstanding.request_id);
        self.outstanding.remove(index.ok()?)
    }

    /// The queue-empty notice, once, when everything that was waiting at the beginning has been sent and
    /// answered.
    pub fn queue_empty(&mut self) -> Option<Outbound> {
        let horizon = self.draining_to.filter(|_| self.handed_out)?;
        if self.outstanding.iter().any(|outstanding| outstanding.position <= horizon) {
            return None;
        }
        self.draining_to = None;
        Some(Outbound::QueueEmpty { request_id: self.request_id() })
    }

    fn request_id(&mut self) -> u64 {
        let id = self.next_request_id;
        self.next_request_id += 1;
        id
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;
    use protocol::{
        ServiceId,
        envelope::{Envelope, EnvelopeType},
    };
    use uuid::Uuid;

    use super::*;

    const READER: Aci = Aci(Uuid::from_u128(1));
    const SENDER: Aci = Aci(Uuid::from_u128(2));

    fn delivery(position: u64, change: impl FnOnce(&mut Envelope)) -> Delivery {
        let mut envelope = Envelope {
            r#type: Some(EnvelopeType::DoubleRatchet as i32),
            client_timestamp: Some(77),
            source_service_id: Some(ServiceId::Aci(SENDER).to_binary()),
            destination_service_id: Some(ServiceId::Aci(READER).to_binary()),
            ..Envelope::default()
        };
        change(&mut envelope);
        let envelope = Bytes::from(envelope.encode_to_vec()).into();
        Delivery { position: Position(position), envelope, ephemeral: false }
    }

    fn request_ids(outbound: &[Outbound]) -> Vec<u64> {
        let id = |outbound: &Outbound| match outbound {
            Outbound::Message { request_id, .. } | Outbound::QueueEmpty { request_id } => *request_id,
        };
        outbound.iter().map(id).collect()
    }

    #[test]
    fn an_accepted_envelope_is_settled_once_and_its_sender_told() {
        let mut session = DeliverySession::new(READER, false, Position(0));
        let (outbound, _) = session.deliver(vec![delivery(5, |_| {})]);
        let [id] = request_ids(&outbound)[..] else { panic!() };
        let settled = session.answered(id, 200).unwrap();
        assert_eq!(settled.position, Some(Position(5)));
        assert_eq!(settled.receipt.unwrap().sender, SENDER);
        assert_eq!(session.answered(id, 200), None);
    }

    #[test]
    fn what_is_kept_nowhere_is_not_acknowledged_there() {
        let mut session = DeliverySession::new(READER, false, Position(0));
        let (outbound, _) = session.deliver(vec![Delivery { ephemeral: true, ..delivery(5, |_| {}) }]);
        let settled = session.answered(request_ids(&outbound)[0], 200).unwrap();
        assert!(settled.position.is_none() && settled.receipt.is_some());
    }

    #[test]
    fn a_refused_envelope_stays() {
        let mut session = DeliverySession::new(READER, false, Position(0));
        let (outbound, _) = session.deliver(vec![delivery(5, |_| {})]);
        assert_eq!(session.answered(request_ids(&outbound)[0], 500), None);
        assert_eq!(session.room(), WINDOW);
    }

    #[test]
    fn no_receipt_for_sealed_own_and_receipt_envelopes() {
        let changes: [fn(&mut Envelope); 3] = [
            |e| e.source_service_id = None,
            |e| e.source_service_id = Some(ServiceId::Aci(READER).to_binary()),
            |e| e.r#type = Some(EnvelopeType::ServerDeliveryReceipt as i32),
        ];
        for change in changes {
            let mut session = DeliverySession::new(READER, false, Position(0));
            let (outbound, _) = session.deliver(vec![delivery(5, change)]);
            assert_eq!(session.answered(request_ids(&outbound)[0], 200).unwrap().receipt, None);
        }
    }

    #[test]
    fn stories_are_dropped_for_devices_that_do_not_want_them() {
        for wanted in [false, true] {
            let mut session = DeliverySession::new(READER, wanted, Position(0));
            let (outbound, settled) = session.deliver(vec![delivery(5, |e| e.story = Some(true))]);
            assert_eq!((outbound.len(), settled.len()), if wanted { (1, 0) } else { (0, 1) });
        }
    }

    #[test]
    fn queue_empty_comes_once_after_the_backlog_is_answered() {
        let mut session = DeliverySession::new(READER, false, Position(10));
        assert_eq!(session.queue_empty(), None, "nothing has been read yet");
        let (outbound, _) =
            session.deliver(vec![delivery(9, |_| {}), delivery(10, |_| {}), delivery(11, |_| {})]);
        let ids = request_ids(&outbound);
        session.answered(ids[1], 200);
        assert_eq!(session.queue_empty(), None, "one of the backlog is unanswered");
        session.answered(ids[0], 500);
        assert!(session.queue_empty().is_some(), "what came later does not count");
        assert_eq!(session.queue_empty(), None);
    }

    #[test]
    fn an_empty_queue_is_announced_too() {
        let mut session = DeliverySession::new(READER, false, Position(10));
        session.deliver(Vec::new());
        assert!(session.queue_empty().is_some());
    }

    #[test]
    fn the_window_closes_and_opens() {
        let mut session = DeliverySession::new(READER, false, Position(0));
        let (outbound, _) = session.deliver((0..256).map(|i| delivery(i, |_| {})).collect());
        assert_eq!(session.room(), 0);
        let ids = request_ids(&outbound);
        for id in &ids[1..PAGE_MESSAGES] {
            session.answered(*id, 200);
        }
        assert_eq!(session.room(), 0, "not for less than a page");
        session.answered(ids[0], 200);
        assert_eq!(session.room(), PAGE_MESSAGES);
    }
}
