//! Socket frames: the official bytes, what must be refused, and that arbitrary bytes do no harm.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use protocol::{
    ambient::Timestamp,
    frame::{self, Frame, MAX_HEADERS, MalformedFrame, RequestFrame, ResponseFrame, ServerRequest},
};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/envelopes.json")).unwrap()
}

fn official(name: &str) -> Bytes {
    hex::decode(vectors()["frames"][name]["frame_hex"].as_str().unwrap()).unwrap().into()
}

fn malformed(hex_text: &str) {
    let bytes: Bytes = hex::decode(hex_text.replace(' ', "")).unwrap().into();
    assert_eq!(Frame::decode(bytes), Err(MalformedFrame), "{hex_text}");
}

fn sent(request: ServerRequest<'_>) -> Bytes {
    let mut out = Vec::new();
    request.encode(&mut out);
    assert_eq!(out.len(), request.encoded_len());
    out.into()
}

#[test]
fn delivery_is_byte_for_byte_the_official_one() {
    let envelope = hex::decode(vectors()["envelopes"][0]["envelope_hex"].as_str().unwrap()).unwrap();
    let (head, shared) = envelope.split_at(30);
    let pieces = [head, shared];
    let sent = sent(ServerRequest::delivery(77, &pieces, Timestamp::from_millis(1_700_000_000_200)));
    assert_eq!(sent, official("deliver"));

    let Frame::Request(request) = Frame::decode(sent).unwrap() else { panic!("not a request") };
    assert_eq!((request.verb.as_str(), request.path.as_str()), ("PUT", "/api/v1/message"));
    assert_eq!(request.body.as_deref(), Some(&envelope[..]));
    assert_eq!(request.id, Some(77));
    assert_eq!(frame::parse_header(&request.headers[0]), Some(("X-Signal-Timestamp", "1700000000200")));
}

#[test]
fn queue_empty_is_byte_for_byte_the_official_one() {
    let sent = sent(ServerRequest::queue_empty(78, Timestamp::from_millis(1_700_000_000_201)));
    assert_eq!(sent, official("queueEmpty"));
}

#[test]
fn the_acknowledgement_of_a_client_is_understood() {
    let ack = ResponseFrame { id: 77, status: 200, message: "OK".to_owned(), headers: vec![], body: None };
    assert_eq!(Frame::decode(official("clientAck")), Ok(Frame::Response(ack.clone())));
    assert_eq!(Frame::Response(ack).encode(), official("clientAck"));
}

#[test]
fn a_body_is_a_slice_of_what_was_received() {
    let received = official("deliver");
    let Ok(Frame::Request(RequestFrame { body: Some(body), .. })) = Frame::decode(received.clone()) else {
        panic!("not a request with a body");
    };
    assert!(received.as_ptr_range().contains(&body.as_ptr()), "the body was copied");
}

#[test]
fn incomplete_and_contradictory_frames_are_refused() {
    malformed(""); // nothing
    malformed("0801"); // a request kind without a request
    malformed("0802"); // a response kind without a response
    malformed("0800 12050a0147 12012f"); // kind unknown
    malformed("12060a0147 12012f"); // no kind
    malformed("0801 1a020801"); // a request kind with a response
    malformed("0802 12060a0147 12012f"); // a response kind with a request
    malformed("0801 12030a0147"); // no path
    malformed("0801 1203 12012f"); // no verb
    malformed("0802 1a0310c801"); // no id
    malformed("0802 1a06 0801 10ffff7f"); // status beyond any status
    malformed("0801 12060a01ff 12012f"); // verb not UTF-8
    malformed("0801 12070a0147 12012f"); // longer than it is
    malformed("0801 1206080147 12012f"); // verb as a number
    malformed("0801 12ffffffffffffffffff01"); // a length beyond memory
}

#[test]
fn minimal_frames_are_understood() {
    let request = Frame::decode(hex::decode("080112060a014712012f").unwrap().into());
    let expected = RequestFrame { verb: "G".to_owned(), path: "/".to_owned(), ..RequestFrame::default() };
    assert_eq!(request, Ok(Frame::Request(expected)));
    let response = Frame::decode(hex::decode("08021a020805").unwrap().into());
    assert_eq!(response, Ok(Frame::Response(ResponseFrame { id: 5, ..ResponseFrame::default() })));
}

#[test]
fn unknown_fields_are_skipped_and_repeated_ones_merged() {
    // A varint field 9, a fixed64 field 10, a group 11; the request split over two fields 2.
    let text = "0801 4805 510102030405060708 5b0805 5c 12030a0147 120312012f";
    let frame = Frame::decode(hex::decode(text.replace(' ', "")).unwrap().into());
    assert!(matches!(frame, Ok(Frame::Request(request)) if request.verb == "G" && request.path == "/"));
}

#[test]
fn the_number_of_headers_is_bounded() {
    let with_headers = |count| {
        let headers = vec!["a:b".to_owned(); count];
        let request =
            RequestFrame { verb: "GET".to_owned(), path: "/".to_owned(), headers, ..Default::default() };
        Frame::Request(request).encode()
    };
    assert!(Frame::decode(with_headers(MAX_HEADERS)).is_ok());
    assert_eq!(Frame::decode(with_headers(MAX_HEADERS + 1)), Err(MalformedFrame));
}

#[test]
fn headers_are_split_at_the_first_colon() {
    assert_eq!(frame::parse_header("name: a:b "), Some(("name", "a:b")));
    assert_eq!(frame::parse_header("name:"), Some(("name", "")));
    assert_eq!(frame::parse_header("name"), None);
}

#[test]
fn debug_shows_neither_path_nor_content() {
    let Ok(frame) = Frame::decode(official("deliver")) else { panic!("not a frame") };
    assert!(!format!("{frame:?}").contains("message"));
}

fn any_body() -> impl Strategy<Value = Option<Bytes>> {
    option::of(vec(any::<u8>(), 0..300).prop_map(Bytes::from))
}

prop_compose! {
    fn any_request()(verb: String, path: String, body in any_body(), id: Option<u64>,
                     headers in vec(any::<String>(), 0..8)) -> Frame {
        Frame::Request(RequestFrame { verb, path, body, headers, id })
    }
}

prop_compose! {
    fn any_response()(id: u64, status: u16, message: String, body in any_body(),
                      headers in vec(any::<String>(), 0..8)) -> Frame {
        Frame::Response(ResponseFrame { id, status, message, headers, body })
    }
}

proptest! {
    #[test]
    fn frames_survive_a_round_trip(frame in prop_oneof![any_request(), any_response()]) {
        prop_assert_eq!(Frame::decode(frame.encode()), Ok(frame));
    }

    #[test]
    fn deliveries_are_what_the_general_encoder_writes(id: u64, envelope: Vec<u8>, millis: u64) {
        let pieces = [&envelope[..]];
        let sent = sent(ServerRequest::delivery(id, &pieces, Timestamp::from_millis(millis)));
        let Ok(request) = Frame::decode(sent.clone()) else { return Err(TestCaseError::fail("not a frame")) };
        prop_assert_eq!(request.encode(), sent);
    }

    #[test]
    fn json_answers_are_what_the_general_encoder_writes(id: u64, body: Vec<u8>, millis: u64) {
        let answer = frame::JsonAnswer { id, body: &body, now: Timestamp::from_millis(millis) };
        let mut out = Vec::new();
        answer.encode(&mut out);
        prop_assert_eq!(out.len(), answer.encoded_len());
        let headers = vec![
            "content-type:application/json".to_owned(),
            format!("content-length:{}", body.len()),
            format!("x-signal-timestamp:{millis}"),
        ];
        let whole = ResponseFrame { id, status: 200, message: "OK".to_owned(), headers, body: Some(body.into()) };
        prop_assert_eq!(&out[..], &Frame::Response(whole).encode()[..]);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
        let _ = Frame::decode(bytes.into());
    }

    #[test]
    fn damaged_frames_do_not_panic(frame in any_request(), at: prop::sample::Index, byte: u8) {
        let mut bytes = frame.encode().to_vec();
        *at.get_mut(&mut bytes) = byte;
        let _ = Frame::decode(bytes.into());
    }
}
