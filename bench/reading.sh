#!/bin/bash
# Rows that amad_detect reads for the newest row of each series, and the CPU time that reading them costs.
#
#   tools/server.sh bench/reading.sh
#
# Fleets of 200 series (8,600 rows each, 5 minutes apart) and of 2,000 (1,000 rows each); one series of each reports hourly. As
# a plain table, as one with a partition for each day and, if TimescaleDB is installed, as a hypertable, each with indexes
# on (device, ts) and (ts).
#
# Rows read are those that the scans of EXPLAIN (ANALYZE) of amad_detect_query return or drop, relative to
# series · (warm-up + fill_limit + 1). CPU is the time of the backend on a CPU (/proc/self/schedstat; no workers, no JIT), the
# least of RUNS runs (3), relative to amad_score over the newest warm-up + fill_limit + 1 rows of each series, found by LATERAL.
# Connects by the usual PG* variables as a superuser to a database in which CREATE EXTENSION amad has been run. Leaves
# nothing behind but TimescaleDB.
set -euo pipefail
runs=${RUNS:-3}
fleets=('200 8600' '2000 1000')

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

cleanup() {
  sql >/dev/null <<'SQL'
SET client_min_messages = error;
DROP SCHEMA IF EXISTS bench_reading CASCADE;
SELECT amad_drop(model_name) FROM (SELECT DISTINCT model_name FROM amad_models WHERE model_name = 'bench_reading') m;
SQL
}
trap cleanup EXIT

timescaledb=$(sql -c "SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb' AND current_setting('shared_preload_libraries') ~ name")
kinds='plain partitioned'
if [ "$timescaledb" = 1 ]; then
  sql -c 'SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS timescaledb'
  kinds="$kinds hypertable"
else
  echo "TimescaleDB is not loaded: no hypertable"
fi

sql <<'SQL'
SET client_min_messages = error;
DROP SCHEMA IF EXISTS bench_reading CASCADE;
CREATE SCHEMA bench_reading;

-- Milliseconds on a CPU that a statement takes: the least of several runs, of several executions each because the clock of
-- the kernel ticks
CREATE FUNCTION bench_reading.cpu(statement text, executions int, runs int) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
  best float8 := 'infinity';
  begun float8;
BEGIN
  FOR run IN 0 .. runs LOOP
    begun := split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8;
    FOR n IN 1 .. executions LOOP
      EXECUTE statement;
    END LOOP;
    CONTINUE WHEN run = 0; -- plans and models are in memory from here on
    best := least(best, split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 - begun);
  END LOOP;
  RETURN best / 1e6 / executions;
END $$;

-- Rows that the scans of a query return or drop
CREATE FUNCTION bench_reading.rows_read(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
  plan jsonb;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, TIMING off, FORMAT json) ' || query INTO plan;
  RETURN (SELECT sum(((n->>'Actual Rows')::float8 + coalesce((n->>'Rows Removed by Filter')::float8, 0)
    + coalesce((n->>'Rows Removed by Index Recheck')::float8, 0)) * (n->>'Actual Loops')::float8)
    FROM jsonb_path_query(plan, 'strict $.**') n WHERE jsonb_typeof(n) = 'object' AND n ? 'Relation Name');
END $$;

CREATE FUNCTION bench_reading.plain(name text, series int, rows int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TABLE bench_reading.%I (device int NOT NULL, ts timestamptz NOT NULL, a float8, b float8, c float8, d float8)', name);
  EXECUTE format('INSERT INTO bench_reading.%I SELECT device, ts, sin(n / 7.0) + device %% 10, cos(n / 9.0) + random(), random(), n %% 5 + random()
    FROM generate_series(1, %s) n, generate_series(1, %s) device, LATERAL (SELECT timestamptz ''2026-01-01 00:00+00'' +
      CASE WHEN device = 1 THEN n * interval ''1 hour'' ELSE n * interval ''5 min'' END AS ts) t
    WHERE ts < timestamptz ''2026-01-01 00:00+00'' + %s * interval ''5 min''', name, rows, series, rows + 1);
END $$;
SQL

settings="SET max_parallel_workers_per_gather = 0; SET amad.max_parallel_workers = 0; SET jit = off; SET timezone = 'UTC'; SET client_min_messages = error;"
depth=237 # warm-up (172) + fill_limit (64) + 1
printf '%-12s %6s %9s  %-22s %9s %6s  %9s %6s %8s\n' table series rows 'newest row of' 'rows read' ratio 'CPU [ms]' ratio flagged
for fleet in "${fleets[@]}"; do
  read -r series rows <<<"$fleet"
  for kind in $kinds; do
    table=${kind}_$series
    case $kind in
      plain)
        sql -c "SELECT bench_reading.plain('$table', $series, $rows); CREATE INDEX ON bench_reading.$table (device, ts);
          CREATE INDEX ON bench_reading.$table (ts)" >/dev/null
        # the newest rows belong to the training, so that few are above the threshold: such a row costs another query
        sql -c "$settings SET maintenance_work_mem = '1GB'; SELECT amad_train('bench_reading', 'bench_reading.$table', 'ts', '{a,b,c,d}', '{device}',
          options => '{\"steps\": 300, \"contamination\": 0.001}')" >/dev/null
        ;;
      partitioned)
        sql >/dev/null <<SQL
CREATE TABLE bench_reading.$table (LIKE bench_reading.plain_$series) PARTITION BY RANGE (ts);
SELECT format('CREATE TABLE bench_reading.%I PARTITION OF bench_reading.$table FOR VALUES FROM (%L) TO (%L)', '${table}_' || n,
  timestamptz '2026-01-01 00:00+00' + n * interval '1 day', timestamptz '2026-01-01 00:00+00' + (n + 1) * interval '1 day')
FROM generate_series(0, $rows / 288) n \gexec
CREATE INDEX ON bench_reading.$table (device, ts);
CREATE INDEX ON bench_reading.$table (ts);
INSERT INTO bench_reading.$table SELECT * FROM bench_reading.plain_$series;
SQL
        ;;
      hypertable)
        sql >/dev/null <<SQL
SET client_min_messages = error;
CREATE TABLE bench_reading.$table (LIKE bench_reading.plain_$series);
SELECT create_hypertable('bench_reading.$table', 'ts', chunk_time_interval => interval '1 day');
CREATE INDEX ON bench_reading.$table (device, ts);
INSERT INTO bench_reading.$table SELECT * FROM bench_reading.plain_$series;
SQL
        ;;
    esac
    sql -c "VACUUM ANALYZE bench_reading.$table"
    newest=$(sql -c "SELECT max(ts) - interval '4 min' FROM bench_reading.$table")
    hourly=$(sql -c "SELECT count(*) FROM bench_reading.$table WHERE device = 1 AND ts >= '$newest'")
    present=$((series - 1 + hourly))

    # name | arguments of amad_detect | series | device (for one)
    while IFS='|' read -r name arguments count device; do
      of=$device times=$((device ? 100 : 1))
      sql <<SQL | awk -v OFS=' ' -F'|' -v t="$kind" -v s="$series" -v n="$(sql -c "SELECT count(*) FROM bench_reading.$table")" -v name="$name" '
        { printf "%-12s %6d %9d  %-22s %9d %6.3f  %9.2f %6.2f %8d\n", t, s, n, name, $1, $2, $3, $4, $5 }'
$settings
PREPARE score (int) AS SELECT count(s) FROM (SELECT amad_score('bench_reading', to_jsonb(device), ts, a, b, c, d) OVER (ORDER BY ts) AS s
  FROM (SELECT * FROM bench_reading.$table WHERE device = \$1 ORDER BY ts DESC LIMIT $depth) r) s;
SELECT amad_detect_query('bench_reading', $arguments, source => 'bench_reading.$table') AS query \gset
SELECT r, r / ($count * $depth), detect, detect / score,
  (SELECT count(*) FROM amad_detect('bench_reading', $arguments, source => 'bench_reading.$table') WHERE severity > 1) FROM bench_reading.rows_read(:'query') r,
  bench_reading.cpu(\$\$SELECT count(*) FROM amad_detect('bench_reading', $arguments, source => 'bench_reading.$table', explain => false)\$\$, $times, $runs) detect,
  bench_reading.cpu(CASE WHEN '$of' <> '' THEN 'EXECUTE score($of)' ELSE \$\$SELECT count(s) FROM (SELECT DISTINCT device AS one FROM bench_reading.$table
    WHERE ts >= '$newest') k CROSS JOIN LATERAL (SELECT amad_score('bench_reading', to_jsonb(device), ts, a, b, c, d) OVER (ORDER BY ts) AS s
      FROM (SELECT * FROM bench_reading.$table WHERE device = one ORDER BY ts DESC LIMIT $depth) r) s\$\$ END, $times, $runs) score;
SQL
    done <<LIST
all, since|since => '$newest'|$present|
all, last_n => 1|last_n => 1|$series|
one, since|since => '$newest', series => '{"device": 77}'|1|77
one, last_n => 1|last_n => 1, series => '{"device": 77}'|1|77
LIST
  done
done
