#!/bin/sh
# Runs the conformance tests against a server: conformance/run.sh [PATH OF THE SERVER [TEST FILE…]]
set -eu

server=$(realpath "${1:-target/release/heliograph}")
[ $# -eq 0 ] || shift
cd "$(dirname "$0")"

if [ ! -x "$server" ]; then
    echo "conformance: no server at $server; build it first (cargo build --release)" >&2
    exit 2
fi

./install.sh

if [ $# -eq 0 ]; then
    set -- tests/*.test.mjs
fi
HELIOGRAPH_SERVER=$server exec node --test-timeout=90000 run-tests.mjs "$@"
