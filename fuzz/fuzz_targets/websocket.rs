//! What clients send over a websocket: however the bytes are cut, the messages are the same, and bounded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::websocket::{Decoder, Message, Violation};

const MESSAGE_MAX: usize = 1000;

fuzz_target!(|data: &[u8]| {
    let [cut, bytes @ ..] = data else { return };
    let whole = decode(bytes, bytes.len().max(1));
    assert_eq!(decode(bytes, usize::from(*cut).max(1)), whole);
    for message in &whole.0 {
        match message {
            Message::Binary(bytes) => assert!(bytes.len() <= MESSAGE_MAX),
            Message::Text(text) => assert!(text.len() <= MESSAGE_MAX),
            Message::Ping(payload) => assert!(payload.len() <= 125),
            Message::Pong | Message::Close(_) => {}
        }
    }
});

/// Decodes in pieces of that length, up to the first violation.
fn decode(bytes: &[u8], piece: usize) -> (Vec<Message>, Option<Violation>) {
    let mut decoder = Decoder::new(MESSAGE_MAX);
    let mut messages = Vec::new();
    for mut input in bytes.chunks(piece) {
        while !input.is_empty() {
            match decoder.decode(&mut input) {
                Ok(message) => messages.extend(message),
                Err(violation) => return (messages, Some(violation)),
            }
        }
    }
    (messages, None)
}
