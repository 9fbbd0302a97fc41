//! What push servers' answers mean (RFC 8030, section 5, and what is common beyond it).

use outgoing::Answer;

use crate::{
    provider::{Delivery, Verdict},
    retry_after::retry_after,
};

/// What the answer means.
pub(super) fn read(answer: &Answer) -> Delivery {
    let status = answer.status().as_u16();
    let verdict = match status {
        200..=299 => Verdict::Accepted,
        404 | 410 => Verdict::Unregistered { since: None },
        429 => Verdict::Slower { retry_after: retry_after(answer) },
        500..=599 => Verdict::Unavailable { retry_after: retry_after(answer) },
        // Redirections among them: the subscription names the server, and nobody else does.
        _ => Verdict::Refused,
    };
    // Whatever else it says is a stranger's text.
    Delivery::new(verdict, status.to_string())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn every_status_means_something() {
        for (status, meaning) in [
            (200, Verdict::Accepted),
            (201, Verdict::Accepted),
            (202, Verdict::Accepted),
            (301, Verdict::Refused),
            (307, Verdict::Refused),
            (400, Verdict::Refused),
            (401, Verdict::Refused),
            (403, Verdict::Refused),
            (404, Verdict::Unregistered { since: None }),
            (410, Verdict::Unregistered { since: None }),
            (413, Verdict::Refused),
            (429, Verdict::Slower { retry_after: None }),
            (500, Verdict::Unavailable { retry_after: None }),
            (507, Verdict::Unavailable { retry_after: None }),
        ] {
            let answer = http::Response::builder().status(status).body(Bytes::new()).unwrap();
            assert_eq!(read(&answer).verdict, meaning, "{status}");
        }
    }
}
