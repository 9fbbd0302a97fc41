#!/bin/sh
# Runs every fuzz target for SECONDS each, or only those named: fuzz/run.sh SECONDS [TARGET…]
#
# Works on the stable toolchain: RUSTC_BOOTSTRAP lets it use the sanitizers. Starts from the seeds in
# fuzz/seeds; what the fuzzer finds interesting gathers under fuzz/target/corpus, what breaks a target is
# kept in fuzz/artifacts.
set -eu

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET…]}
shift
cd "$(dirname "$0")"
export RUSTC_BOOTSTRAP=1
# Our own flags only: a CARGO_TARGET_DIR from outside would mix sanitized and plain builds.
unset CARGO_TARGET_DIR

command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
[ $# -gt 0 ] || set -- frame websocket envelope multi_recipient keys vault_open certificate passkey texts

for target in "$@"; do
    corpus=target/corpus/$target
    mkdir -p "$corpus"
    echo "== $target, $seconds s"
    cargo fuzz run --fuzz-dir . "$target" "$corpus" "seeds/$target" -- \
        -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0
done
