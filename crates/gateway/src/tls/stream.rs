//! The server's end of a TLS connection that owns no buffers while it is idle.
//!
//! rustls' usual connection keeps 4 KiB of read buffer for as long as it lives, and tokio-rustls' stream is
//! built on it. Here rustls is given the bytes where they are: what is read goes into memory that the whole
//! thread shares, and a connection keeps only what cannot be dealt with yet: the beginning of a record, what
//! its reader had no room for, what the network has not taken.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{
    ServerConfig,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::scratch;

/// Bytes read from the network at once: two of the largest records.
const READ_LEN: usize = 2 * RECORD_MAX;

/// Bytes of plaintext sealed at once: four of the largest records.
const SEAL_LEN: usize = 4 * 16 * 1024;

/// The largest record on the wire (RFC 8446 §5.2).
const RECORD_MAX: usize = 5 + 16 * 1024 + 256;

/// What sealing adds: head, content type and tag of each record, and a key update.
const SEAL_OVERHEAD: usize = 1024;

/// A client's part of the handshake may be so long, like rustls' own limit; a hello is some 2 KiB.
const HANDSHAKE_MAX: usize = 64 * 1024;

thread_local! {
    static RECEIVED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static SEALED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static GATHERED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A TLS connection whose handshake is done.
pub(crate) struct TlsStream<S> {
    stream: S,
    session: Box<UnbufferedServerConnection>,
    /// The beginning of a record, as it was received; of a handshake message in several records, all of it.
    incoming: Vec<u8>,
    /// What has been opened and not been read yet.
    plaintext: Vec<u8>,
    taken: usize,
    /// Sealed and not written yet. While there is any, nothing more is sealed.
    outgoing: Vec<u8>,
    written: usize,
    /// The client has said that nothing follows.
    client_closed: bool,
    /// The client has been told so.
    closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Does the handshake. It takes as long as the client wants; callers bound it.
    pub(crate) async fn accept(stream: S, config: Arc<ServerConfig>) -> io::Result<Self> {
        let session = UnbufferedServerConnection::new(config).map_err(invalid)?;
        let mut tls = Self {
            stream,
            session: Box::new(session),
            incoming: Vec::new(),
            plaintext: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
            written: 0,
            client_closed: false,
            closed: false,
        };
        poll_fn(|context| tls.poll_handshake(context)).await?;
        Ok(tls)
    }

    /// The application protocol that was agreed on.
    pub(crate) fn alpn_protocol(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let drained = self.poll_drain(context)?;
            if !self.session.is_handshaking() {
                ready!(drained);
                return Pin::new(&mut self.stream).poll_flush(context);
            }
            if self.incoming.len() > HANDSHAKE_MAX {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "an endless handshake")));
            }
            // Also while the network takes nothing: a client may want to be read before it reads on. One
            // that sends data right behind its part of the handshake has it kept.
            ready!(self.poll_receive(context, &mut ReadBuf::new(&mut [])))?;
        }
    }

    /// Reads from the network once and opens what has become whole.
    fn poll_receive(&mut self, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = self.incoming.len();
        scratch::lend(&RECEIVED, before + READ_LEN, |received| {
            received[..before].copy_from_slice(&self.incoming);
            let mut fresh = ReadBuf::new(&mut received[before..]);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut fresh))?;
            let end = before + fresh.filled().len();
            if end == before {
                // Whoever cuts the connection must not be able to make it look finished.
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no close_notify")));
            }
            let opened = self.open(&mut received[..end], out);
            let done = opened.inspect_err(|_| {
                // The alert that says why. Where it cannot leave at once, the client will do without.
                let _ = self.poll_drain(context);
            })?;
            self.incoming.clear();
            self.incoming.shrink_to(end - done);
            self.incoming.extend_from_slice(&received[done..end]);
            Poll::Ready(Ok(()))
        })
    }

    /// Opens the whole records in `received`: as much as fits goes to `out`, the rest is kept. Returns how
    /// many bytes are done with.
    fn open(&mut self, received: &mut [u8], out: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut done = 0;
        loop {
            let UnbufferedStatus { discard, state, .. } =
                self.session.process_tls_records(&mut received[done..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        let fits = record.payload.len().min(out.remaining());
                        let (now, later) = record.payload.split_at(fits);
                        out.put_slice(now);
                        self.plaintext.extend_from_slice(later);
                        done += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut self.outgoing)?,
                // It is in `outgoing`, and that is written before anything else.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.client_closed = true,
                Ok(
                    ConnectionState::BlockedHandshake
                    | ConnectionState::WriteTraffic(_)
                    | ConnectionState::Closed,
                ) => return Ok(done + discard),
                Ok(_) => return Err(io::Error::other("early data was never offered")),
                Err(error) => {
                    let rest = &mut received[done + discard..];
                    if let Ok(ConnectionState::EncodeTlsData(mut alert)) =
                        self.session.process_tls_records(rest).state
                    {
                        encode(&mut alert, &mut self.outgoing)?;
                    }
                    return Err(invalid(error));
                }
            }
            done += discard;
        }
    }

    /// Calls `seal` once the session can seal.
    fn with_traffic<R>(
        &mut self,
        mut seal: impl FnMut(&mut WriteTraffic<'_, rustls::server::ServerConnectionData>) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            // No whole record is left in there: nothing is opened by this.
            let UnbufferedStatus { discard, state, .. } =
                self.session.process_tls_records(&mut self.incoming);
            let sealed = match state.map_err(invalid)? {
                ConnectionState::WriteTraffic(mut traffic) => Some(seal(&mut traffic)?),
                ConnectionState::EncodeTlsData(mut data) => {
                    encode(&mut data, &mut self.outgoing)?;
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    None
                }
                ConnectionState::PeerClosed => {
                    self.client_closed = true;
                    None
                }
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            self.incoming.drain(..discard);
            if let Some(sealed) = sealed {
                return Ok(sealed);
            }
        }
    }

    /// Seals the bytes and writes what the network takes; the rest is kept.
    fn seal_and_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        scratch::lend(&SEALED, bytes.len() + SEAL_OVERHEAD, |sealed| {
            let len = self.with_traffic(|traffic| fitting(sealed, |room| traffic.encrypt(bytes, room)))?;
            let mut from = 0;
            // What was there before goes first.
            while self.outgoing.is_empty() && from < len {
                match Pin::new(&mut self.stream).poll_write(context, &sealed[from..len]) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(written)) => from += written,
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => self.outgoing.extend_from_slice(&sealed[from..len]),
                }
            }
            Ok(())
        })
    }

    /// Writes what has been sealed.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.outgoing.len() {
            let rest = &self.outgoing[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        self.outgoing = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = out.filled().len();
        while this.plaintext.is_empty() && out.filled().len() == before && !this.client_closed {
            ready!(this.poll_receive(context, out))?;
        }
        let kept = &this.plaintext[this.taken..];
        let fits = kept.len().min(out.remaining());
        out.put_slice(&kept[..fits]);
        this.taken += fits;
        if this.taken == this.plaintext.len() {
            this.plaintext = Vec::new();
            this.taken = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(context))?;
        if self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let bytes = &bytes[..bytes.len().min(SEAL_LEN)];
        self.seal_and_write(context, bytes)?;
        Poll::Ready(Ok(bytes.len()))
    }

    /// Pieces that are written together share a record.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
        match (filled.next(), filled.next()) {
            (None, _) => return Poll::Ready(Ok(0)),
            (Some(only), None) => return self.poll_write(context, only),
            (Some(_), Some(_)) => {}
        }
        scratch::lend(&GATHERED, SEAL_LEN, |gathered| {
            let mut len = 0;
            for piece in pieces {
                let fits = piece.len().min(SEAL_LEN - len);
                gathered[len..len + fits].copy_from_slice(&piece[..fits]);
                len += fits;
            }
            self.as_mut().poll_write(context, &gathered[..len])
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        if !self.closed {
            self.closed = true;
            let mut notice = Vec::new();
            let len =
                self.with_traffic(|traffic| fitting(&mut notice, |room| traffic.queue_close_notify(room)));
            // A session that is broken closes without a word.
            if let Ok(len) = len {
                self.outgoing.extend_from_slice(&notice[..len]);
            }
        }
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Seals into a buffer that is made larger if need be; returns the length.
fn fitting(
    room: &mut Vec<u8>,
    mut seal: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> io::Result<usize> {
    loop {
        match seal(room) {
            Ok(len) => return Ok(len),
            Err(EncryptError::InsufficientSize(needed)) => room.resize(needed.required_size, 0),
            Err(error @ EncryptError::EncryptExhausted) => return Err(io::Error::other(error)),
        }
    }
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>, out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    loop {
        match data.encode(&mut out[start..]) {
            Ok(len) => {
                out.truncate(start + len);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needed)) => out.resize(start + needed.required_size, 0),
            Err(error @ EncodeError::AlreadyEncoded) => return Err(io::Error::other(error)),
        }
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
