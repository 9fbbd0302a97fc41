#!/bin/sh
# Takes up a release of h2: scripts/vendor-h2.sh VERSION. Why it is here: vendor/README.md
set -eu
version=${1:?usage: scripts/vendor-h2.sh VERSION}
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
: >"$work/src/lib.rs"
printf '[package]\nname = "fetch"\nedition = "2024"\n[dependencies]\nh2 = "=%s"\n[workspace]\n' "$version" >"$work/Cargo.toml"
cargo vendor --quiet --manifest-path "$work/Cargo.toml" "$work/vendor" >/dev/null

rm -rf vendor/h2
mkdir vendor/h2
cp -r "$work/vendor/h2/src" "$work/vendor/h2/Cargo.toml" "$work/vendor/h2/LICENSE" vendor/h2/
patch --directory vendor/h2 --strip 1 <vendor/h2.patch
