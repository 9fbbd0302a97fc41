//! RFC 6455 from the server's side: its examples, its rules, and pieces of any size.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::{collection::vec, prelude::*};
use protocol::websocket::{self, Decoder, Message, Violation};

const MAX: usize = 70_000;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..0x1_0000 => {
            out.push(0xFE);
            out.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            out.push(0xFF);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// Decodes what comes in pieces of so many bytes.
fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Message>, Violation> {
    let mut decoder = Decoder::new(MAX);
    let mut messages = Vec::new();
    for mut input in bytes.chunks(piece) {
        while !input.is_empty() {
            messages.extend(decoder.decode(&mut input)?);
        }
    }
    Ok(messages)
}

fn violation(bytes: &[u8]) -> Violation {
    let whole = decode(bytes, usize::MAX).unwrap_err();
    assert_eq!(decode(bytes, 1).unwrap_err(), whole, "{bytes:x?}");
    whole
}

#[test]
fn the_examples_of_the_rfc() {
    let masked_hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&masked_hello, 99), Ok(vec![Message::Text("Hello".to_owned())]));
    let masked_ping = [0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&masked_ping, 99), Ok(vec![Message::Ping("Hello".into())]));
    let fragmented = [frame(0x01, b"Hel"), frame(0x80, b"lo")].concat();
    assert_eq!(decode(&fragmented, 99), Ok(vec![Message::Text("Hello".to_owned())]));

    let mut out = Vec::new();
    websocket::put_pong(&mut out, b"Hello");
    assert_eq!(out, [0x8a, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    let head = |len| {
        let mut out = Vec::new();
        websocket::put_binary_head(&mut out, len);
        out
    };
    assert_eq!(head(125), [0x82, 0x7d]);
    assert_eq!(head(256), [0x82, 0x7e, 0x01, 0x00]);
    assert_eq!(head(65536), [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn control_frames_may_stand_between_fragments() {
    let bytes = [
        frame(0x02, b"a"),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x8a, b"pong"),
        frame(0x80, b"b"),
        frame(0x88, &[0x03, 0xe8, b'o', b'k']),
    ]
    .concat();
    let expected = [
        Message::Ping("ping".into()),
        Message::Pong,
        Message::Binary("ab".into()),
        Message::Close(Some(1000)),
    ];
    assert_eq!(decode(&bytes, 99).unwrap(), expected);
    assert_eq!(decode(&bytes, 1).unwrap(), expected);
}

#[test]
fn nothing_follows_a_close() {
    let bytes = [frame(0x88, b""), frame(0x82, b"late")].concat();
    assert_eq!(decode(&bytes, 99), Ok(vec![Message::Close(None)]));
}

#[test]
fn frames_that_break_the_rules() {
    let mut not_minimal = vec![0x82, 0xfe, 0x00, 0x7d];
    not_minimal.extend(MASK);
    let mut not_minimal_either = vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    not_minimal_either.extend(MASK);
    let mut highest_bit = vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0];
    highest_bit.extend(MASK);
    let broken: [&[u8]; 14] = [
        &[0x82, 0x00],                                    // no mask
        &[0x82, 0x7e, 0x01, 0x00],                        // the same, longer
        &frame(0xc2, b""),                                // reserved bits
        &frame(0x92, b""),                                //
        &frame(0x83, b""),                                // opcodes that nobody defined
        &frame(0x8b, b""),                                //
        &frame(0x80, b""),                                // a continuation of nothing
        &[frame(0x02, b"a"), frame(0x82, b"b")].concat(), // a message inside another
        &frame(0x09, b""),                                // a ping in pieces
        &frame(0x89, &[0; 126]),                          // a ping that is too long
        &frame(0x88, &[3]),                               // half a close code
        &not_minimal,
        &not_minimal_either,
        &highest_bit,
    ];
    for bytes in broken {
        assert_eq!(violation(bytes).close_code(), 1002, "{bytes:x?}");
    }
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        assert_eq!(violation(&frame(0x88, &code.to_be_bytes())).close_code(), 1002, "{code}");
    }
}

#[test]
fn text_is_utf_8() {
    assert_eq!(violation(&frame(0x81, &[0xff])), Violation::NotUtf8);
    assert_eq!(violation(&frame(0x88, &[0x03, 0xe8, 0xff])), Violation::NotUtf8);
    let in_two = "ü".as_bytes();
    let split = [frame(0x01, &in_two[..1]), frame(0x80, &in_two[1..])].concat();
    assert_eq!(decode(&split, 1), Ok(vec![Message::Text("ü".to_owned())]), "a character in two frames");
}

#[test]
fn messages_are_bounded_however_they_come() {
    assert_eq!(decode(&frame(0x82, &vec![7; MAX]), 999), Ok(vec![Message::Binary(vec![7; MAX].into())]));
    assert_eq!(violation(&frame(0x82, &vec![7; MAX + 1])), Violation::TooLong);
    let pieces = [frame(0x02, &vec![7; MAX]), frame(0x80, &[7])].concat();
    assert_eq!(violation(&pieces), Violation::TooLong);
    let mut huge = vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    huge.extend(MASK);
    assert_eq!(violation(&huge), Violation::TooLong);
}

#[test]
fn after_a_violation_nothing_is_taken() {
    let mut decoder = Decoder::new(MAX);
    assert!(decoder.decode(&mut &frame(0xc2, b"")[..]).is_err());
    assert_eq!(decoder.decode(&mut &frame(0x82, b"a")[..]), Ok(None));
}

#[test]
fn a_close_says_why() {
    let mut out = Vec::new();
    websocket::put_close(&mut out, 4401, "why");
    assert_eq!(out, [0x88, 0x05, 0x11, 0x31, b'w', b'h', b'y']);
    out.clear();
    websocket::put_close(&mut out, 1000, &"x".repeat(124));
    assert_eq!(out, [0x88, 0x02, 0x03, 0xe8]);
}

proptest! {
    #[test]
    fn messages_come_out_whole_however_they_are_cut(
        messages in vec(vec(vec(any::<u8>(), 0..300), 1..4), 0..5), piece in 1_usize..700,
    ) {
        let mut bytes = Vec::new();
        for fragments in &messages {
            for (n, fragment) in fragments.iter().enumerate() {
                let opcode = if n == 0 { 0x02 } else { 0x00 };
                let fin = if n + 1 == fragments.len() { 0x80 } else { 0 };
                bytes.extend(frame(fin | opcode, fragment));
            }
        }
        let expected: Vec<_> = messages.iter().map(|parts| Message::Binary(parts.concat().into())).collect();
        prop_assert_eq!(decode(&bytes, piece), Ok(expected));
    }

    #[test]
    fn arbitrary_bytes_mean_the_same_in_any_pieces(bytes: Vec<u8>, piece in 1_usize..9) {
        prop_assert_eq!(decode(&bytes, piece), decode(&bytes, usize::MAX));
    }
}
