#!/bin/sh
# A real mail server for the tests, which prints what it takes: scripts/mail-server.sh OPTION… (see mail-server.py).
# Installs what it needs (aiosmtpd, from PyPI) under target/, once.
set -eu
cd "$(dirname "$0")/.."

version=1.4.6
packages=$PWD/target/mail-server-$version
if [ ! -e "$packages/.installed" ]; then
    # Tests that start together install once.
    mkdir -p target
    exec 9>target/mail-server.lock
    flock 9
    if [ ! -e "$packages/.installed" ]; then
        python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --no-input --target "$packages" "aiosmtpd==$version"
        touch "$packages/.installed"
    fi
    exec 9>&-
fi
PYTHONPATH=$packages exec python3 scripts/mail-server.py "$@"
