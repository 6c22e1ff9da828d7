#!/bin/bash
# Compares amad_estimate with real trainings on five shapes of data: time, and memory by the server's own accounting.
#
#   tools/server.sh bench/estimate.sh [workers]
#
# Memory is the greatest growth of the "Grand total" that pg_log_backend_memory_contexts writes during a training
# without workers, sampled every 20 ms; rss is the growth of the process, which includes the BLAS. Time is that of
# another training, with `workers` workers (0). PostgreSQL must run on this machine, with its log in a file.
set -euo pipefail
workers=${1:-0}
unset OPENBLAS_CORETYPE
psql() { command psql -qXAt -v ON_ERROR_STOP=1 "$@"; }
export PGOPTIONS="-c client_min_messages=warning -c maintenance_work_mem=1GB -c amad.max_parallel_workers=$workers -c jit=off"
psql -c 'CREATE EXTENSION IF NOT EXISTS amad' -c 'DROP SCHEMA IF EXISTS shapes CASCADE' -c 'CREATE SCHEMA shapes'
log=$(readlink "/proc/$(psql -c 'SHOW data_directory' | xargs -I{} head -1 {}/postmaster.pid)/fd/1")

# shape name series rows columns step: rows of each series
shape() {
  local columns
  columns=$(seq 1 "$4" | sed 's/.*/, sin(n \/ (10.0 + &)) + random() \/ 5 AS c&/' | tr -d '\n')
  psql -c "CREATE TABLE shapes.$1 AS SELECT d AS device, '2026-01-01'::timestamptz + n * interval '$5' AS ts $columns
    FROM generate_series(1, $2) d, generate_series(1, $3) n ORDER BY n, d" -c "ANALYZE shapes.$1"
}
shape one 1 50000 1 '1 min'
shape eight 1 20000 8 '1 min'
shape wide 1 30000 38 '1 min'
shape fleet 200 4000 3 '5 min'
shape hourly 2000 720 2 '1 hour'

printf '%-8s %8s %8s %6s   %9s %9s %6s   %8s %6s\n' shape 'est. s' 's' ratio 'est. MB' MB ratio 'rss MB' 'took'
for name in one eight wide fleet hourly; do
  columns=$(psql -c "SELECT array_agg(attname) FROM pg_attribute WHERE attrelid = 'shapes.$name'::regclass AND attname ~ '^c[0-9]'")
  series=NULL
  case $name in fleet | hourly) series="'{device}'" ;; esac
  arguments="'shapes.$name', 'ts', '$columns'::text[], $series::text[], NULL, NULL"
  took=$(date +%s.%N)
  seconds=$(psql -c "SELECT round(seconds::numeric, 2) FROM amad_estimate($arguments)")
  took=$(echo "$(date +%s.%N) - $took" | bc)
  memory=$(psql -c 'SET amad.max_parallel_workers = 0' -c "SELECT memory FROM amad_estimate($arguments)")
  real=$(psql -c "CREATE TEMP TABLE t AS SELECT clock_timestamp() AS t" -c "DO \$\$ BEGIN PERFORM amad_train('m', $arguments); END \$\$" \
    -c 'SELECT round(extract(epoch FROM clock_timestamp() - t), 2) FROM t')
  mark=$(stat -c %s "$log")
  exec 3< <(psql -v VERBOSITY=terse 2>&1 <<SQL
SET amad.max_parallel_workers = 0;
SET application_name = 'measured';
SELECT amad_version() IS NULL;
\! sleep 0.4
SELECT amad_train('m', $arguments) IS NULL;
SQL
)
  sleep 0.2
  pid=$(psql -c "SELECT pid FROM pg_stat_activity WHERE application_name = 'measured'")
  before=$(awk '/VmRSS/ {print $2}' "/proc/$pid/status")
  psql -c "DO \$\$ BEGIN
    LOOP
      PERFORM pg_log_backend_memory_contexts($pid);
      PERFORM pg_sleep(0.02);
      PERFORM pg_stat_clear_snapshot();
      EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid);
    END LOOP; END \$\$" 2>/dev/null &
  rss=0
  while hwm=$(awk '/VmHWM/ {print $2}' "/proc/$pid/status" 2>/dev/null) && [ -n "$hwm" ]; do
    rss=$hwm
    sleep 0.05
  done
  wait
  tail -c +"$mark" "$log" | grep -o 'Grand total: [0-9]* bytes' | awk -v name="$name" -v e="$seconds" -v s="$real" -v m="$memory" \
    -v rss=$((rss - before)) -v took="$took" '
    NR == 1 { first = $3 } $3 > most { most = $3 }
    END { mb = 1048576; used = (most - first) / mb
      printf "%-8s %8.2f %8.2f %6.2f   %9.1f %9.1f %6.2f   %8.1f %6.2f\n", name, e, s, e / s, m / mb, used, m / mb / used, rss / 1024, took }'
  psql -c "SELECT amad_drop('m')" >/dev/null
done
psql -c 'DROP SCHEMA shapes CASCADE'
