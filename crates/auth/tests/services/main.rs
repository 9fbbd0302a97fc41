//! The services of this crate on the embedded store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
mod challenge;
mod change_number;
mod handover;
mod idle;
mod linking;
mod native_factors;
mod numberless;
mod registration;
mod second_factor;
mod sender_certificate;
mod settings;
mod support;
mod verification;
