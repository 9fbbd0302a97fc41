//! A websocket over an upgraded connection: whole messages in, frames out, and no memory between them.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use protocol::websocket::{self, Decoder, Message, Violation};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::{limits::SOCKET_READ, scratch};

thread_local! {
    static RECEIVED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a client that closes without a code is answered.
const NORMAL: u16 = 1000;

/// The server's end of a websocket.
pub(super) struct WebSocket<S = TokioIo<Upgraded>> {
    stream: S,
    decoder: Decoder,
    /// What came in together with the message before it.
    unread: Bytes,
    /// Frames that have not been written yet.
    outgoing: Vec<u8>,
    written: usize,
}

/// Why no message comes any more.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The client has gone, or its connection has.
    Gone,
    /// The client does not keep to the protocol.
    Violation(Violation),
}

impl From<Violation> for Unreadable {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// A websocket that takes messages of up to so many bytes.
    pub(super) fn new(stream: S, message_max: usize) -> Self {
        Self {
            stream,
            decoder: Decoder::new(message_max),
            unread: Bytes::new(),
            outgoing: Vec::new(),
            written: 0,
        }
    }

    /// Waits for the next message. Giving up the wait loses nothing.
    pub(super) async fn next(&mut self) -> Result<Message, Unreadable> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The next message, like [`next`](Self::next).
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, Unreadable>> {
        loop {
            let mut input = &self.unread[..];
            let message = self.decoder.decode(&mut input);
            let rest = input.len();
            self.unread.advance(self.unread.len() - rest);
            if self.unread.is_empty() {
                self.unread = Bytes::new();
            }
            let message = match message? {
                Some(message) => Some(message),
                None => ready!(self.poll_receive(context))?,
            };
            if let Some(message) = message {
                return Poll::Ready(Ok(message));
            }
        }
    }

    /// Reads once, and keeps what follows the first whole message.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Message>, Unreadable>> {
        scratch::lend(&RECEIVED, SOCKET_READ, |received| {
            let mut received = ReadBuf::new(received);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut received));
            let mut input = received.filled();
            if read.is_err() || input.is_empty() {
                return Poll::Ready(Err(Unreadable::Gone));
            }
            let message = self.decoder.decode(&mut input)?;
            self.unread = Bytes::copy_from_slice(input);
            Poll::Ready(Ok(message))
        })
    }

    /// Queues a binary message of `len` bytes, which `payload` writes.
    pub(super) fn queue(&mut self, len: usize, payload: impl FnOnce(&mut Vec<u8>)) {
        self.outgoing.reserve(websocket::FRAME_HEAD_MAX + len);
        websocket::put_binary_head(&mut self.outgoing, len);
        let start = self.outgoing.len();
        payload(&mut self.outgoing);
        debug_assert_eq!(self.outgoing.len() - start, len, "a frame of another length than announced");
    }

    /// Queues a text message.
    pub(super) fn queue_text(&mut self, text: &[u8]) {
        self.outgoing.reserve(websocket::FRAME_HEAD_MAX + text.len());
        websocket::put_text_head(&mut self.outgoing, text.len());
        self.outgoing.extend_from_slice(text);
    }

    /// Queues a ping.
    pub(super) fn queue_ping(&mut self) {
        websocket::put_ping(&mut self.outgoing);
    }

    /// Queues the answer to a ping.
    pub(super) fn queue_pong(&mut self, payload: &[u8]) {
        websocket::put_pong(&mut self.outgoing, payload);
    }

    /// Bytes that wait to be written.
    pub(super) fn queued(&self) -> usize {
        self.outgoing.len() - self.written
    }

    /// Writes what is queued, all of it together.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while self.written < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.written..]).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
        }
        self.outgoing = Vec::new();
        self.written = 0;
        self.stream.flush().await
    }

    /// Says goodbye and ends the connection once the client has done so too, or has gone. It takes as long as
    /// the client wants; callers bound it.
    pub(super) async fn close(&mut self, code: u16, reason: &str) -> io::Result<()> {
        websocket::put_close(&mut self.outgoing, code, reason);
        self.flush().await?;
        while !matches!(self.next().await, Ok(Message::Close(_)) | Err(_)) {}
        self.stream.shutdown().await
    }

    /// Answers the goodbye of the client, and ends the connection.
    pub(super) async fn closed(&mut self, code: Option<u16>) -> io::Result<()> {
        websocket::put_close(&mut self.outgoing, code.unwrap_or(NORMAL), "");
        self.flush().await?;
        self.stream.shutdown().await
    }
}

#[cfg(test)]
pub(super) mod client;
#[cfg(test)]
mod tests;
