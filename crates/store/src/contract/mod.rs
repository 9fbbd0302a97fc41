//! What every engine must do alike: one suite per trait, run against each engine by this crate's tests.

pub mod accounts;
pub mod admission;
pub mod audit;
pub mod emails;
pub mod handover;
pub mod keys;
pub mod native;
pub mod push;
pub mod queue;
pub mod reports;
pub mod second_factors;
pub mod sessions;
