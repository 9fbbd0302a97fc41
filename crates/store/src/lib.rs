//! What remembers: storage engines behind the traits that services declare.
//!
//! A service says in its own words what must be remembered; an engine here does it. Every engine passes
//! the same suites, in `contract` (feature `contract`).

#[cfg(feature = "contract")]
pub mod contract;
pub mod sqlite;
