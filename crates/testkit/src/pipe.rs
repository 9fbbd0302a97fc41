//! A connection with its buffers: what is queued goes out together, in as few TLS records as possible, the
//! next time it is polled; what comes in is read in place.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// Room for one TLS record's plaintext.
const READ_LEN: usize = 16 * 1024;
/// A write buffer that grew beyond this is given back once it is empty.
const WRITE_KEEP_LEN: usize = 256 * 1024;

/// What carries the bytes.
#[derive(Debug)]
pub enum Carrier {
    /// A TLS connection of one's own.
    Tls(Box<TlsStream<TcpStream>>),
    /// A stream of an HTTP/2 connection.
    Http2(Box<TokioIo<Upgraded>>),
}

/// A carrier and its buffers. One owner, no tasks, no locks.
#[derive(Debug)]
pub struct Pipe {
    carrier: Carrier,
    /// Received bytes lie in `start..end`.
    inbox: Vec<u8>,
    start: usize,
    end: usize,
    /// Queued bytes of which `written` have been handed to the carrier.
    outbox: Vec<u8>,
    written: usize,
    unflushed: bool,
}

impl Pipe {
    /// Takes over the carrier, from which these bytes have been read already.
    pub fn new(carrier: Carrier, received: Vec<u8>) -> Self {
        let end = received.len();
        Self { carrier, inbox: received, start: 0, end, outbox: Vec::new(), written: 0, unflushed: false }
    }

    /// What has been received and not been taken.
    pub fn received(&self) -> &[u8] {
        &self.inbox[self.start..self.end]
    }

    /// Takes so many of the received bytes; they stay readable until the next poll.
    pub fn take(&mut self, len: usize) -> &[u8] {
        let from = self.start;
        self.start = (from + len).min(self.end);
        &self.inbox[from..self.start]
    }

    /// Makes the buffer hold at least `needed` bytes from the first one not taken, with a record's worth to
    /// read into.
    pub fn make_room(&mut self, needed: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.inbox.len() - self.end < READ_LEN / 4 || self.inbox.len() - self.start < needed {
            self.inbox.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.inbox.len() - self.start < needed.max(READ_LEN) {
            self.inbox.resize(self.start + needed.max(READ_LEN), 0);
        }
    }

    /// Where to append what is to be sent.
    pub fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.outbox
    }

    /// Number of queued bytes that have not been handed to the carrier yet.
    pub fn unsent(&self) -> usize {
        self.outbox.len() - self.written
    }

    /// Sends what is queued and reads what there is. Ready when something was read; an error when the
    /// connection has ended. Take all that is whole before polling.
    pub fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        if self.inbox.len() == self.end {
            self.make_room(READ_LEN);
        }
        let mut buffer = ReadBuf::new(&mut self.inbox[self.end..]);
        ready!(match &mut self.carrier {
            Carrier::Tls(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Carrier::Http2(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        })?;
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.end += read;
        Poll::Ready(Ok(()))
    }

    /// Sends what is queued. Ready when all of it has been given to the kernel, or to the HTTP/2 connection.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.outbox.len() {
            let pending = &self.outbox[self.written..];
            self.written += ready!(match &mut self.carrier {
                Carrier::Tls(stream) => Pin::new(stream).poll_write(cx, pending),
                Carrier::Http2(stream) => Pin::new(stream).poll_write(cx, pending),
            })?;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(match &mut self.carrier {
                Carrier::Tls(stream) => Pin::new(stream).poll_flush(cx),
                Carrier::Http2(stream) => Pin::new(stream).poll_flush(cx),
            })?;
            self.unflushed = false;
        }
        self.written = 0;
        self.outbox.clear();
        self.outbox.shrink_to(WRITE_KEEP_LEN);
        Poll::Ready(Ok(()))
    }
}
