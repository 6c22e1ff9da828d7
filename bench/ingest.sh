#!/bin/bash
# What the triggers of a watch cost the statements that write to its source.
#
#   bench/ingest.sh [ROUNDS]          ROUNDS: default 7
#
# Three tables with a primary key on the device and the time have the same rows: one without triggers, one with empty triggers
# that have the transition tables of a watch's (the least that such a trigger costs), and the source of a watch.
#
# Processor time: a backend runs one kind of statement on each table in turn, prepared, a transaction each. Its processor
# time for a statement (median and minimum of the rounds), the WAL, and the ratio to the table without triggers (median of the
# ratios of neighbouring runs) are printed.
#
# Needs psql, pgbench, awk, Linux, and a superuser. Connects by the usual PG* variables to a database in which CREATE EXTENSION
# amad has been run, and leaves nothing behind. Environment:
#   STATEMENTS  statements of a run, default 2000
#   KINDS       default "one devices times": a row; a row of each of 200 devices; 200 rows of a device
#   TYPE        of the device column, default text
set -euo pipefail

rounds=${1:-7}
statements=${STATEMENTS:-2000}
kinds=${KINDS:-one devices times}
schema=amad_bench_ingest
tables=bare,empty,watched
scratch=$(mktemp -d)

run() { PGOPTIONS='-c client_min_messages=warning' psql -qXAt -v ON_ERROR_STOP=1 "$@"; }
finish() {
  trap - EXIT
  run -c "SELECT amad_drop('$schema') FROM amad_models WHERE model_name = '$schema' LIMIT 1" \
    -c "DROP SCHEMA IF EXISTS $schema CASCADE" >/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT

run >/dev/null <<SQL
CREATE SCHEMA $schema;
SET search_path = $schema, public;
CREATE TABLE bare (device ${TYPE:-text}, ts timestamptz, a float8, b float8, c float8, d float8);
INSERT INTO bare SELECT d, timestamptz '2025-01-01' + i * interval '1 minute', sin(i * 0.2 + d), cos(i * 0.3), sin(i * 0.11), (i * 7919 % 101) / 101.0
FROM generate_series(1, 500) i, generate_series(1, 200) d;
CREATE TABLE empty AS TABLE bare;
CREATE TABLE watched AS TABLE bare;
CREATE TABLE cpu (kind text, relation text, run int, cpu_us float8, wal float8);
ALTER TABLE bare ADD PRIMARY KEY (device, ts);
ALTER TABLE empty ADD PRIMARY KEY (device, ts);
ALTER TABLE watched ADD PRIMARY KEY (device, ts);
-- an internal function that does nothing and returns no row
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE internal AS 'void_in';
CREATE TRIGGER i AFTER INSERT ON empty REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION nothing();
SELECT amad_train('$schema', '$schema.watched', series_cols => '{device}',
  options => '{"window": 8, "d_model": 16, "heads": 2, "layers": 1, "steps": 20, "horizons": [2, 4]}');
SELECT amad_watch('$schema', target => '$schema.scores');
CALL amad_refresh('$schema');
VACUUM ANALYZE bare, empty, watched;
SQL

# statement KIND TABLE: time :t is one that the table does not have
statement() {
  local t="timestamptz '2025-03-01' + :t * interval '1 second'"
  case $1 in
    one) echo "INSERT INTO $schema.$2 VALUES (:d, $t, 1, 2, 3, 4);" ;;
    devices) echo "INSERT INTO $schema.$2 SELECT d, $t, 1, 2, 3, 4 FROM generate_series(1, 200) d;" ;;
    times) echo "INSERT INTO $schema.$2 SELECT :d, $t + i * interval '1 ms', 1, 2, 3, 4 FROM generate_series(1, 200) i;" ;;
  esac
}

# measure KIND TABLE RUN: processor time and WAL of a backend after its first statements
measure() {
  local n=$statements first=100
  [ "$1" = one ] || n=$((statements / 20)) first=10
  local now="SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::bigint AS cpu, pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal"
  cat >"$scratch/measure.sql" <<SQL
\\set n :n + 1
\\set t :t + 1
\\set d 1 + :n % 200
\\if :n = $first
$now \\gset
\\endif
$(statement "$1" "$2")
\\if :n = $((first + n))
INSERT INTO $schema.cpu SELECT '$1', '$2', $3, (cpu - :cpu) / 1e3 / $n, (wal - :wal) / $n FROM ($now) s;
\\endif
SQL
  time=$((time + n + first + 1000))
  pgbench -n -M prepared -c 1 -t $((first + n)) -D n=0 -D t="$time" -f "$scratch/measure.sql" >"$scratch/pgbench.log" 2>&1 ||
    { cat "$scratch/pgbench.log" >&2; exit 1; }
}

time=0
printf 'Processor time of a statement in microseconds, median (minimum); ratio to the table without triggers; WAL in bytes\n'
for kind in $kinds; do
  for ((i = 1; i <= rounds; i++)); do
    for table in ${tables//,/ }; do measure "$kind" "$table" "$i"; done
  done
done
run -F ' ' <<SQL
SELECT format('%-8s %-8s %9s (%s)  ratio %s  WAL %s', c.kind, c.relation,
  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY c.cpu_us)::numeric, 1), round(min(c.cpu_us)::numeric, 1),
  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY c.cpu_us / b.cpu_us)::numeric, 2),
  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY c.wal)::numeric))
FROM $schema.cpu c JOIN $schema.cpu b ON b.relation = 'bare' AND b.kind = c.kind AND b.run = c.run
GROUP BY c.kind, c.relation ORDER BY array_position('{${kinds// /,}}', c.kind), array_position('{$tables}', c.relation);
SQL
