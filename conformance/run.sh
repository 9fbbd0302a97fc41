#!/bin/sh
# Runs the conformance tests against a server: conformance/run.sh [PATH OF THE SERVER [TEST FILE…]]
#
# Installs the official library first, unless exactly the locked version is there already.
set -eu

server=$(realpath "${1:-target/release/heliograph}")
[ $# -eq 0 ] || shift
cd "$(dirname "$0")"

if [ ! -x "$server" ]; then
    echo "conformance: no server at $server; build it first (cargo build --release)" >&2
    exit 2
fi

stamp=node_modules/.installed-lock
if ! cmp -s package-lock.json "$stamp"; then
    npm ci --no-audit --no-fund --loglevel=error
    cp package-lock.json "$stamp"
fi

if [ $# -eq 0 ]; then
    set -- tests/*.test.mjs
fi
# Forced exit: left to end by itself, Node tears down what the library's own threads still use, and the library aborts.
HELIOGRAPH_SERVER=$server exec node --test --test-force-exit --test-timeout=120000 --test-concurrency=3 --test-reporter=spec "$@"
