#!/bin/sh
# Starts the development server and says what to type next: scripts/run.sh SERVER
set -eu

server=$1
data=${HELIOGRAPH_DATA:-heliograph-data}
listen=${HELIOGRAPH_LISTEN:-127.0.0.1:8443}

cat <<EOT
Heliograph, development server. Its data is in $data; Ctrl-C stops it.

In another terminal:
  $server client-config --data $data     what a client must be told
  tail -f $data/outbox.jsonl             verification codes as they are sent
  curl --cacert $data/secrets/ca-certificate.pem https://localhost:${listen##*:}/v1/keepalive -i

EOT
exec "$server" serve --dev --data "$data" --listen "$listen"
