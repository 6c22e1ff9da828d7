#!/bin/bash
# Fuzzes the extension on a private server and ends with "N passed, N failed" (test/fuzz/README.md).
#
#   MINUTES=n   how long (5)                     SEED=s    repeats the cases of a run
#   PART="…"    known models options sources keys cancel ddl (all)
#   CASE=n      one case of a part, with SEED    JOBS=n    sessions at a time (2)
#   CANCELS=n   of PART=cancel, instead of MINUTES         STATES=1  SQLSTATE of all calls
#
# PG_CONFIG selects the server, for instance one with assertions. Cases that failed are in build/fuzz.
set -euo pipefail
# shellcheck source=tools/private-server.sh
. "$(dirname "$0")/private-server.sh"
exec </dev/null

failures=$PWD/build/fuzz
mkdir -p "$failures"
scratch_make

# The objects in the tree were built for another server
if [ "$(command -v "$PG_CONFIG" || true)" != "$(command -v pg_config || true)" ]; then
  mkdir "$scratch/tree"
  cp -r Makefile amad.control src sql test "$scratch/tree/"
  cd "$scratch/tree"
  find src -name '*.o' -delete
fi
build_and_install

cat >"$scratch/fuzz.conf" <<CONF
log_line_prefix = '%m [%p] '
log_min_error_statement = panic
max_connections = 50
max_parallel_maintenance_workers = 2
dynamic_shared_memory_type = mmap
autovacuum_naptime = 10s
deadlock_timeout = 100ms
jit = off
restart_after_crash = on
CONF
if [ -n "${TEMP_CONFIG-}" ]; then cat "$TEMP_CONFIG" >>"$scratch/fuzz.conf"; fi
TEMP_CONFIG=$scratch/fuzz.conf server_start

FUZZ_LOG=$scratch/server.log FUZZ_FAILURES=$failures perl test/fuzz/run.pl
