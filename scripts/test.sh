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

step "build the server"
cargo build --release --locked -p heliograph
HELIOGRAPH_BIN=$PWD/target/release/heliograph
export HELIOGRAPH_BIN

# Among them, against the server: every route, wrong and slow input, races, stopping, killing it under load
# and a smoke run of the load generator.
step "tests in Rust"
cargo test --workspace --locked

step "fuzz"
fuzz/run.sh "${FUZZ_SECONDS:-15}"

step "demo"
conformance/install.sh
node conformance/demo.mjs --server "$HELIOGRAPH_BIN"

# Without a browser its tests are skipped, and say so.
step "a browser"
scripts/chromium.sh || echo "none to be had"

step "the official client"
conformance/run.sh "$HELIOGRAPH_BIN"
