#!/bin/sh
# Every test of the project, from a clean checkout: scripts/test.sh
#
# Needs Rust, Node 20, a C compiler and the package registries; installs the rest itself. Ends with the
# summary of the official client's tests. FUZZ_SECONDS sets how long each fuzz target runs (default 15).
set -eu
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "build the server and the tools that measure it"
cargo build --release --locked -p heliograph -p heliograph-bench
HELIOGRAPH_BIN=$PWD/target/release/heliograph
export HELIOGRAPH_BIN

step "tests in Rust"
cargo test --workspace --locked

step "kill and restart under load"
target/release/heliograph-crash --rounds 20

step "load generator, smoke run"
target/release/heliograph-bench --quick --json target/bench-quick.json

step "fuzz"
fuzz/run.sh "${FUZZ_SECONDS:-15}"

step "demo"
conformance/install.sh
node conformance/demo.mjs --server "$HELIOGRAPH_BIN"

step "the official client"
conformance/run.sh "$HELIOGRAPH_BIN"
