//! Receipts: what an account without a number begins with.

use std::fmt;

use protocol::ambient::Timestamp;

/// Judges what is shown in place of a number.
pub trait ReceiptJudge: Send + Sync + 'static {
    /// The serial of a receipt that entitles to an account, if the presentation holds one that is good at that moment.
    /// Whether it has been used before is not asked here.
    fn judge(
        &self,
        presentation: &ReceiptPresentation,
        now: Timestamp,
    ) -> Result<ReceiptSerial, ReceiptRefused>;
}

/// What proves that somebody has a receipt. Whoever reads it could use it first.
#[derive(Clone)]
pub struct ReceiptPresentation(pub Vec<u8>);

/// Names a receipt: 16 bytes. Each is good for one account.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReceiptSerial([u8; Self::LEN]);

/// A presentation does not entitle to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptRefused {
    /// This server issues no receipts, so there is none that it could take.
    #[error("accounts without a number are not offered")]
    NotOffered,
    /// It cannot be read, is not one of this server, has expired, or is for something else.
    #[error("the receipt is not good")]
    NotGood,
}

/// Takes no receipt: for a server that issues none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReceipts;

impl ReceiptJudge for NoReceipts {
    fn judge(&self, _: &ReceiptPresentation, _: Timestamp) -> Result<ReceiptSerial, ReceiptRefused> {
        Err(ReceiptRefused::NotOffered)
    }
}

impl ReceiptSerial {
    /// Bytes of a serial.
    pub const LEN: usize = 16;

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl From<[u8; ReceiptSerial::LEN]> for ReceiptSerial {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for ReceiptPresentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiptPresentation(…)")
    }
}

// It tells apart who bought what.
impl fmt::Debug for ReceiptSerial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiptSerial(…)")
    }
}
