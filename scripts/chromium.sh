#!/bin/sh
# Says where a Chromium is for the tests, installing Debian's if there is none and it may: scripts/chromium.sh
# Prints nothing, and fails, where there is none to be had.
set -eu

found() {
    for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
        [ -z "$name" ] || ! command -v "$name" || exit 0
    done
}

found
if [ "$(id -u)" -eq 0 ] && command -v apt-get >&2; then
    { apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends chromium; } >&2
    found
fi
exit 1
