//! Where the chain once ended, stated by the server apart from the chain: a log that ends before was cut short.

use protocol::ambient::Timestamp;
use serde::{Deserialize, Serialize};

use crate::chain::{ChainKey, Head, Purpose};

/// A head that the server stated at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The head.
    pub head: Head,
    /// When it was stated.
    pub at: Timestamp,
}

/// What a checkpoint's file holds is none of this server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCheckpoint {
    /// It is not JSON of that form.
    #[error("the checkpoint cannot be read")]
    Malformed,
    /// It was altered, or stated by another server.
    #[error("the checkpoint was not stated by this server")]
    Forged,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    head: String,
    at: u64,
    signature: String,
}

impl Checkpoint {
    /// What to write into its file.
    pub fn to_json(self, key: &ChainKey) -> String {
        let at = self.at.as_millis();
        let signature = key.sign(Purpose::Checkpoint, self.head, at).to_text();
        let json = serde_json::to_string(&File { head: self.head.to_text(), at, signature });
        json.unwrap_or_else(|error| unreachable!("numbers and text are always JSON: {error}"))
    }

    /// Reads what the file holds.
    pub fn from_json(key: &ChainKey, json: &str) -> Result<Self, InvalidCheckpoint> {
        let File { head, at, signature } =
            serde_json::from_str(json).map_err(|_| InvalidCheckpoint::Malformed)?;
        let head: Head = head.parse().map_err(|_| InvalidCheckpoint::Malformed)?;
        let signature = hex::decode(signature).ok().and_then(|bytes| crate::chain::Mac::from_bytes(&bytes));
        let signature = signature.ok_or(InvalidCheckpoint::Malformed)?;
        if !key.accepts(Purpose::Checkpoint, head, at, signature) {
            return Err(InvalidCheckpoint::Forged);
        }
        Ok(Self { head, at: Timestamp::from_millis(at) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_is_taken() {
        let key = ChainKey::new([1; 32]);
        let head = key.link(key.genesis(), b"x");
        let checkpoint = Checkpoint { head, at: Timestamp::from_millis(7) };
        let json = checkpoint.to_json(&key);
        assert_eq!(Checkpoint::from_json(&key, &json), Ok(checkpoint));
        let forged = json.replace("\"at\":7", "\"at\":8");
        assert_eq!(Checkpoint::from_json(&key, &forged), Err(InvalidCheckpoint::Forged));
        assert_eq!(Checkpoint::from_json(&ChainKey::new([2; 32]), &json), Err(InvalidCheckpoint::Forged));
        assert_eq!(Checkpoint::from_json(&key, "{}"), Err(InvalidCheckpoint::Malformed));
    }
}
