//! The client's end of a websocket, for tests.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A client that says what it is told to.
pub(in crate::socket) struct Client {
    pub(in crate::socket) stream: DuplexStream,
    received: BytesMut,
}

/// What the server has sent.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::socket) enum Received {
    Binary(Bytes),
    Pong(Bytes),
    Close(u16, String),
}

impl Client {
    pub(in crate::socket) fn new(stream: DuplexStream) -> Self {
        Self { stream, received: BytesMut::new() }
    }

    pub(in crate::socket) async fn send_binary(&mut self, payload: &[u8]) {
        self.send(0x82, payload).await;
    }

    /// Sends a frame that begins with that byte.
    pub(in crate::socket) async fn send(&mut self, first: u8, payload: &[u8]) {
        // A mask of zeroes is one.
        let mut frame = vec![first, 0xFF];
        match u8::try_from(payload.len()) {
            Ok(len) if len < 126 => frame[1] = 0x80 | len,
            _ => match u16::try_from(payload.len()) {
                Ok(len) => {
                    frame[1] = 0xFE;
                    frame.extend(len.to_be_bytes());
                }
                Err(_) => frame.extend((payload.len() as u64).to_be_bytes()),
            },
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next frame, or nothing when the connection has ended.
    pub(in crate::socket) async fn receive(&mut self) -> Option<Received> {
        self.need(2).await?;
        let (first, second) = (self.received[0], self.received[1]);
        let (head, len) = match second {
            126 => {
                self.need(4).await?;
                (4, usize::from(u16::from_be_bytes([self.received[2], self.received[3]])))
            }
            127 => {
                self.need(10).await?;
                (10, usize::try_from((&self.received[2..10]).get_u64()).unwrap())
            }
            len => (2, usize::from(len)),
        };
        self.need(head + len).await?;
        self.received.advance(head);
        let mut payload = self.received.split_to(len).freeze();
        Some(match first {
            0x82 => Received::Binary(payload),
            0x8A => Received::Pong(payload),
            0x88 => Received::Close(payload.get_u16(), String::from_utf8(payload.to_vec()).unwrap()),
            other => panic!("a frame that begins with {other:x}"),
        })
    }

    async fn need(&mut self, len: usize) -> Option<()> {
        while self.received.len() < len {
            if self.stream.read_buf(&mut self.received).await.unwrap() == 0 {
                return None;
            }
        }
        Some(())
    }
}
