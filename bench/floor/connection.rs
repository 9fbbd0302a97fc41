//! One connection: reads frames and acts on them, writes what its mailbox holds.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use anyhow::{Context as _, bail};
use floor_frame::Frame;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::server::TlsStream;

use crate::{
    Floor,
    disk::Page,
    mailbox::{Mailbox, Overfull},
};

const READ_LEN: usize = 16 * 1024;
/// Buffers larger than this are given back once they are empty.
const KEEP_LEN: usize = 16 * 1024;

pub(crate) struct Connection {
    floor: Arc<Floor>,
    stream: TlsStream<TcpStream>,
    mailbox: Arc<Mailbox>,
    client: Option<u32>,
    inbox: Vec<u8>,
    /// Bytes being written, of which `written` have been.
    outbox: Vec<u8>,
    written: usize,
    /// The page being read for a client that has come back.
    page: Option<JoinHandle<anyhow::Result<Page>>>,
}

impl Connection {
    pub(crate) fn new(floor: Arc<Floor>, stream: TlsStream<TcpStream>) -> Self {
        Self {
            floor,
            stream,
            mailbox: Arc::default(),
            client: None,
            inbox: Vec::new(),
            outbox: Vec::new(),
            written: 0,
            page: None,
        }
    }

    /// Serves the client until it goes.
    pub(crate) async fn serve(mut self) -> anyhow::Result<()> {
        let ended = poll_fn(|cx| self.poll(cx)).await;
        if let Some(client) = self.client {
            self.floor.registry.gone(client, &self.mailbox);
        }
        ended
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<anyhow::Result<()>> {
        loop {
            let read = match self.poll_read(cx)? {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                read => read.is_ready(),
            };
            self.take_frames()?;
            let wrote = self.poll_write(cx)?.is_ready();
            let paged = wrote && self.poll_page(cx)?.is_ready();
            if !read && !paged {
                return Poll::Pending;
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.inbox.reserve(READ_LEN);
        let polled = pin!(self.stream.read_buf(&mut self.inbox)).poll(cx);
        if polled.is_pending() && self.inbox.is_empty() {
            // An idle connection keeps no buffer.
            self.inbox = Vec::new();
        }
        polled
    }

    fn take_frames(&mut self) -> anyhow::Result<()> {
        let mut taken = 0;
        while let Some((frame, len)) = Frame::first(&self.inbox[taken..])? {
            taken += len;
            match (frame, self.client) {
                (Frame::Hello { client }, None) => self.client = Some(client),
                (Frame::Message { to, number, payload }, Some(client)) => {
                    self.floor.message(client, &self.mailbox, to, number, payload);
                    continue;
                }
                (Frame::Ack { token }, Some(_)) => {
                    self.floor.acknowledged(token);
                    continue;
                }
                _ => bail!("unexpected frame"),
            }
            if self.floor.disk.is_some() {
                self.read_page(0);
            } else {
                self.arrived();
            }
        }
        self.inbox.drain(..taken);
        Ok(())
    }

    /// From here on the client gets messages at once. One that comes between its last page and this stays in
    /// the table until it connects again.
    fn arrived(&mut self) {
        if let Some(client) = self.client {
            self.floor.registry.connected(client, &self.mailbox);
            self.mailbox.push(&Frame::Empty);
        }
    }

    fn read_page(&mut self, after: u64) {
        if let (Some(client), true) = (self.client, self.floor.disk.is_some()) {
            let floor = Arc::clone(&self.floor);
            self.page = Some(tokio::task::spawn_blocking(move || match &floor.disk {
                Some(disk) => disk.read(client, after),
                None => Ok(Page::new()),
            }));
        }
    }

    /// Takes the page that has been read and asks for the next one. Called when all before it is written, so
    /// that a slow reader holds one page.
    fn poll_page(&mut self, cx: &mut Context<'_>) -> Poll<anyhow::Result<()>> {
        let Some(reading) = &mut self.page else { return Poll::Pending };
        let page = ready!(Pin::new(reading).poll(cx)).context("reading a page")??;
        self.page = None;
        for (position, payload) in &page {
            Frame::Delivery { token: *position, payload }.put(&mut self.outbox);
        }
        match page.last() {
            Some((last, _)) => self.read_page(*last),
            None => self.arrived(),
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when all there is has been written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.written < self.outbox.len() {
                let rest = &self.outbox[self.written..];
                self.written += ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            }
            if !self.outbox.is_empty() {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            }
            self.written = 0;
            self.outbox.clear();
            self.outbox.shrink_to(KEEP_LEN);
            if let Err(Overfull) = self.mailbox.swap(&mut self.outbox, cx) {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            }
            if self.outbox.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
