#!/bin/bash
# A private server with amad created in it: until Ctrl-C, or, given a command, while that runs
# (PGHOST, PGPORT, PGUSER and PGDATABASE point there). TEMP_CONFIG names a file of extra settings.
set -euo pipefail
# shellcheck source=tools/private-server.sh
. "$(dirname "$0")/private-server.sh"

here=$OLDPWD
scratch_make
build_and_install
server_start
psql -qX -c 'CREATE EXTENSION amad'

if [ $# -gt 0 ]; then
  cd "$here"
  "$@"
  exit
fi

cat <<MSG
PostgreSQL is running, with amad. From another terminal:

  $(command -v psql) -h $PGHOST -p $PGPORT -U $PGUSER $PGDATABASE

or  export PGHOST=$PGHOST PGPORT=$PGPORT PGUSER=$PGUSER PGDATABASE=$PGDATABASE
log $scratch/server.log

Ctrl-C stops it and deletes its data.
MSG
sleep infinity &
wait $!
