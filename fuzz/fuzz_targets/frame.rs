//! Socket frames: what decodes must survive being written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::frame::{Frame, MAX_HEADERS, parse_header};

fuzz_target!(|data: Vec<u8>| {
    let Ok(frame) = Frame::decode(data.into()) else { return };
    let headers = match &frame {
        Frame::Request(request) => &request.headers,
        Frame::Response(response) => &response.headers,
    };
    assert!(headers.len() <= MAX_HEADERS);
    for line in headers {
        let _ = parse_header(line);
    }
    assert_eq!(Frame::decode(frame.encode()), Ok(frame));
});
