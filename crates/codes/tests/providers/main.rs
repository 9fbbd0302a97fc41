//! Providers against servers that stand in for them: what they are sent, and what their answers mean.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stand_in;
mod twilio;
mod webhook;
