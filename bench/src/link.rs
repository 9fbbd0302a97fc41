//! One connection to what is measured, the server or the floor: what both can do.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use anyhow::{Context as _, bail, ensure};
use testkit::{
    Account, ChatSocket, Event, Target, websocket,
    wire::{EnvelopeView, FrameView, RECEIPT},
};

use crate::{
    floor::FloorSocket,
    template::{answered_number, content_number},
};

/// Who connects.
#[derive(Clone, Debug)]
pub(crate) enum Party {
    /// An account's primary device at the server.
    Account(Box<Account>),
    /// A client of the floor.
    Client(u32),
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Link {
    Chat(Box<ChatSocket>),
    Floor(Box<FloorSocket>),
}

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A message: what its acknowledgement carries, and its number.
    Delivery { token: u64, number: u64 },
    /// A delivery receipt, to be acknowledged too.
    Receipt { token: u64 },
    /// The message with that number was accepted.
    Answer { number: u64 },
    /// What waited at connect is delivered.
    QueueEmpty,
}

impl Link {
    pub(crate) async fn connect(target: &Target, party: &Party) -> anyhow::Result<Self> {
        Ok(match party {
            Party::Account(account) => {
                Self::Chat(Box::new(ChatSocket::connect(target, Some(account)).await?))
            }
            Party::Client(client) => Self::Floor(Box::new(FloorSocket::connect(target, *client).await?)),
        })
    }

    /// Connects and acknowledges all that waits.
    pub(crate) async fn settled(target: &Target, party: &Party) -> anyhow::Result<Self> {
        let mut link = Self::connect(target, party).await?;
        link.drain().await?;
        Ok(link)
    }

    /// Acknowledges what comes until the queue is empty, and says how many messages there were.
    pub(crate) async fn drain(&mut self) -> anyhow::Result<u64> {
        let mut messages = 0;
        loop {
            match self.received()? {
                None => poll_fn(|cx| self.poll_io(cx)).await?,
                Some(Incoming::Delivery { token, .. }) => {
                    self.queue_ack(token);
                    messages += 1;
                }
                Some(Incoming::Receipt { token }) => self.queue_ack(token),
                Some(Incoming::QueueEmpty) => break,
                Some(other @ Incoming::Answer { .. }) => bail!("a recipient got {other:?}"),
            }
        }
        // The last acknowledgements must arrive before the connection ends.
        poll_fn(|cx| self.poll_send(cx)).await?;
        Ok(messages)
    }

    /// Queues a message made by a [`crate::template::Template`].
    pub(crate) fn queue(&mut self, message: &[u8]) {
        match self {
            Self::Chat(socket) => socket.queue_frame(websocket::BINARY, message),
            Self::Floor(socket) => socket.queue_raw(message),
        }
    }

    pub(crate) fn queue_ack(&mut self, token: u64) {
        match self {
            Self::Chat(socket) => socket.queue_ack(token),
            Self::Floor(socket) => socket.queue_ack(token),
        }
    }

    /// The next thing that came in, if there is one.
    pub(crate) fn received(&mut self) -> anyhow::Result<Option<Incoming>> {
        match self {
            Self::Floor(socket) => socket.received(),
            Self::Chat(socket) => match socket.received()? {
                None => Ok(None),
                Some(event) => chat_event(event).map(Some),
            },
        }
    }

    pub(crate) fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Chat(socket) => socket.poll_io(cx),
            Self::Floor(socket) => socket.poll_io(cx),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Chat(socket) => socket.poll_send(cx),
            Self::Floor(socket) => socket.poll_send(cx),
        }
    }
}

fn chat_event(event: Event<'_>) -> anyhow::Result<Incoming> {
    Ok(match event {
        Event::Frame(FrameView::Response(response)) => {
            ensure!(response.status == 200, "a message was answered with {}", response.status);
            Incoming::Answer { number: answered_number(response.id).context("an answer to nothing")? }
        }
        Event::Frame(FrameView::Request(request)) if request.is_delivery() => {
            let envelope = EnvelopeView::parse(request.body)?;
            if envelope.kind == RECEIPT {
                Incoming::Receipt { token: request.id }
            } else {
                let number = content_number(envelope.content).context("not a message of ours")?;
                Incoming::Delivery { token: request.id, number }
            }
        }
        Event::Frame(FrameView::Request(request)) if request.is_queue_empty() => Incoming::QueueEmpty,
        Event::Frame(FrameView::Request(_)) => bail!("unexpected request from the server"),
        Event::Close(code, reason) => bail!("closed with {code} {reason:?}"),
    })
}
