//! Memory that every connection of a thread borrows in turn.
//!
//! Reading and sealing need room for whole records, but only for as long as the call lasts. If each
//! connection kept its own, that room would be most of what an idle one costs.

use std::{cell::Cell, thread::LocalKey};

/// One thread's room for one purpose.
pub(crate) type Scratch = LocalKey<Cell<Vec<u8>>>;

/// Room larger than this is given back after use.
const KEEP_MAX: usize = 256 * 1024;

/// Lends `len` bytes of whatever content. A purpose that is in use already, further up the stack, is lent
/// fresh ones.
pub(crate) fn lend<R>(scratch: &'static Scratch, len: usize, borrower: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut bytes = scratch.take();
    if bytes.len() < len {
        bytes.resize(len, 0);
    }
    let result = borrower(&mut bytes);
    if bytes.capacity() <= KEEP_MAX {
        scratch.set(bytes);
    }
    result
}
