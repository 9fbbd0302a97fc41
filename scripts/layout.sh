#!/bin/sh
# Writes crates/heliograph/layout.ld anew: builds the server, has valgrind note which functions a start and messages execute, and
# lists them. For x86-64 and Debian, where nothing else is running; needs valgrind and Python 3. After larger changes, or when the
# memory after a start (heliograph-bench --only start) has grown.
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
server=$target/release/heliograph
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/start" "$work/message"

cargo build --release --locked -p heliograph-bench
# The map says in which section each function is.
cargo rustc --release --locked -p heliograph --bin heliograph -- \
    -C "link-arg=-Wl,-Map=$target/layout.map" -C link-arg=-Wl,--no-demangle

callgrind="valgrind --quiet --tool=callgrind --demangle=no --compress-strings=no"
cp crates/testkit/src/unlimited.toml "$work/heliograph.toml"

# COMMAND...: starts the server with it, and stops it when it is ready.
start_and_stop() {
    : >"$work/ready"
    "$@" serve --dev --listen 127.0.0.1:0 --config "$work/heliograph.toml" --data "$work/data" >>"$work/ready" &
    until grep --quiet '^ready' "$work/ready"; do
        kill -0 $!
        sleep 0.2
    done
    sleep 1
    kill $!
    wait $!
}
start_and_stop "$server"
start_and_stop $callgrind --callgrind-out-file="$work/start/%p" "$server"

# The load generator kills its servers, so what they have done is written now and then.
cat >"$work/server" <<EOT
#!/bin/sh
exec $callgrind --dump-every-bb=50000000 --callgrind-out-file=$work/message/%p $server "\$@"
EOT
chmod +x "$work/server"
HELIOGRAPH_BIN="$work/server" "$target/release/heliograph-bench" --quick --only online,stored --json "$work/bench.json"

python3 scripts/layout.py "$target/layout.map" "$work/start" "$work/message" >"$work/layout.ld"
mv "$work/layout.ld" crates/heliograph/layout.ld
