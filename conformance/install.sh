#!/bin/sh
# Installs the official library, unless exactly the locked version is there already: conformance/install.sh
set -eu
cd "$(dirname "$0")"

stamp=node_modules/.installed-lock
if ! cmp -s package-lock.json "$stamp"; then
    npm ci --no-audit --no-fund --loglevel=error
    cp package-lock.json "$stamp"
fi
