#!/bin/bash
# Trains on real data in a private server, prints what was found, writes demo-<entity>.svg.
#
#   tools/demo.sh [omi-2|omi-4]
set -euo pipefail
# shellcheck source=tools/private-server.sh
. "$(dirname "$0")/private-server.sh"
exec </dev/null

entity=${1:-omi-2}
data=test/data/ASD/$entity
[ -d "$data" ] || { echo "no data: $data" >&2; exit 2; }

scratch_make
echo "Building, and starting a private PostgreSQL ..."
build_and_install
server_start

sql() { psql -qX -v ON_ERROR_STOP=1 -v entity="$entity" "$@"; }

sql -f demo/load.sql
for part in train test; do
  gzip -dc "$data/$part.csv.gz" | sql -c "COPY $part FROM STDIN (FORMAT csv, HEADER)"
done
sql -f demo/demo.sql
sql -At -f demo/picture.sql -o "$scratch/picture.svg"
cp "$scratch/picture.svg" "demo-$entity.svg"
echo "The picture is in demo-$entity.svg"
