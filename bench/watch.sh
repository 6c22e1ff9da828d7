#!/bin/bash
# What a watch costs: the CPU time of amad_refresh compared with amad_score, and the latency of concurrent writers.
#
#   tools/server.sh bench/watch.sh
#
# Refresh: SERIES devices with a row a minute. fill is the first refresh of a watch, which scores HISTORY rows of each device;
# +10 is a refresh after 10 statements that each insert a row of each device. CPU is the time of the backend on a CPU
# (/proc/self/schedstat; no workers, no JIT), the median of ROUNDS rounds (least – greatest), in each of which these run in turn:
#   amad_score    over the rows that have to be read: all of them, or warm-up + fill_limit + 10 of each device, by LATERAL
#   amad_detect   of the rows that the refresh scores
#   INSERT        of their scores from a table into an empty copy of the target
#   amad_refresh  ratio: to amad_score of the same round, the median
# The model "default" has the default options except for the steps of its training, "small" a small network.
#
# Writers: 8 clients of pgbench insert rows of random devices one by one: into a table without triggers (bare), into the source of
# a watch that nobody refreshes (logged), and into it while a client refreshes it every second, with a new connection each time
# (watched). Latency percentiles and transactions per second, the median of WRITER_ROUNDS rounds of SECONDS_EACH seconds; ratios
# to bare of the same round. Then the time of the refreshes, and the size of the change log after each 10 of them.
#
# Needs psql, pgbench, awk, Linux, and a superuser. Connects by the usual PG* variables to a database in which CREATE EXTENSION
# amad has been run, and leaves nothing behind. Environment:
#   PARTS          default "refresh writers"
#   ROUNDS         default 5
#   MODELS         default "small default"
#   SERIES         default 200
#   HISTORY        rows of a device before the first refresh, default 600
#   NEW            new rows of a device, default "1 10 60"
#   WRITER_ROUNDS  default 3
#   SECONDS_EACH   default 20
#   KINDS          default "bare watched"
#   RATES          transactions per second of all clients; max: as many as possible. Default "2000 max". Latencies at a given rate
#                  include the time by which a transaction begins late
set -euo pipefail

parts=${PARTS:-refresh writers}
rounds=${ROUNDS:-5}
models=${MODELS:-small default}
series=${SERIES:-200}
history=${HISTORY:-600}
new=${NEW:-1 10 60}
writer_rounds=${WRITER_ROUNDS:-3}
seconds=${SECONDS_EACH:-20}
kinds=${KINDS:-bare watched}
rates=${RATES:-2000 max}
schema=amad_bench_watch
runs="(SELECT r.* FROM amad_runs r JOIN amad_watches USING (watch) WHERE model_name = '$schema') r"
scratch=$(mktemp -d)

export PGOPTIONS="-c client_min_messages=warning -c timezone=UTC -c jit=off -c search_path=$schema,public"
PGOPTIONS+=" -c max_parallel_workers_per_gather=0 -c amad.max_parallel_workers=0"
run() { psql -qXAt -v ON_ERROR_STOP=1 "$@"; }
finish() {
  trap - EXIT
  touch "$scratch/stop"
  wait || true
  run -c "SELECT amad_drop('$schema') FROM amad_models WHERE model_name = '$schema' LIMIT 1" \
    -c "DROP SCHEMA IF EXISTS $schema CASCADE" >/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT

options() {
  case $1 in
    small) echo '{"window": 8, "d_model": 16, "heads": 2, "layers": 1, "steps": 50, "horizons": [2, 4]}' ;;
    default) echo '{"steps": 100}' ;;
    *) echo "watch.sh: unknown model $1" >&2; exit 1 ;;
  esac
}

# values_of DEVICE MINUTE: some rows have a reading that is too high
values_of() {
  echo "sin($2 * float8 '0.14') + $1 % 10 + CASE WHEN random() < 0.005 THEN 10 * random() ELSE 0 END,
    cos($2 * float8 '0.11') + random(), random(), $2 % 5 + random()"
}

run >/dev/null <<SQL
CREATE SCHEMA $schema;
CREATE TABLE cpu (model text, rows text, what text, round int, ms float8, PRIMARY KEY (model, rows, what, round));
CREATE TABLE latency (rate text, kind text, round int, tps float8, p50 float8, p99 float8, PRIMARY KEY (rate, kind, round));
CREATE TABLE sizes (rate text, number serial, bytes bigint, vacuums bigint, ms float8, cpu float8);
CREATE FUNCTION cpu() RETURNS float8 LANGUAGE sql VOLATILE AS \$\$
  SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 / 1e6
\$\$;
CREATE FUNCTION minutes(first int, last int) RETURNS TABLE (device int, ts timestamptz, a float8, b float8, c float8, d float8)
LANGUAGE sql VOLATILE AS \$\$
  SELECT device, timestamptz '2025-01-01' + n * interval '1 min', $(values_of device n)
  FROM generate_series(first, last) n, generate_series(1, $series) device
\$\$;
SQL

# create_source TABLE
create_source() {
  echo "DROP TABLE IF EXISTS $1 CASCADE;
    CREATE TABLE $1 (device int, ts timestamptz, a float8, b float8, c float8, d float8);
    INSERT INTO $1 SELECT * FROM minutes(1, $history);
    ALTER TABLE $1 ADD PRIMARY KEY (device, ts);"
}

# create_model MODEL: of the table readings
create_model() {
  run >/dev/null <<SQL
SET maintenance_work_mem = '512MB';
SELECT amad_drop('$schema') FROM amad_models WHERE model_name = '$schema' LIMIT 1;
$(create_source readings)
SELECT amad_train('$schema', '$schema.readings', 'ts', '{a,b,c,d}', '{device}', options => '$(options "$1")');
VACUUM ANALYZE readings;
SQL
}

# ---- refresh

# measure MODEL ROWS WHAT STATEMENT: the SQL that measures it; a round 0 only warms up
measure() {
  echo "SELECT cpu() AS begun \gset
    $4 \g /dev/null
    SELECT cpu() AS ended \gset
    INSERT INTO cpu SELECT '$1', '$2', '$3', :round, :ended - :begun WHERE :round > 0;"
}

# round MODEL DEPTH: the SQL of a round; the variable n is the number of the newest minute
round() {
  local rows="SELECT amad_score('$schema', to_jsonb(device), ts, a, b, c, d)" since k
  echo "SELECT amad_unwatch('$schema') FROM amad_watches WHERE model_name = '$schema' \g /dev/null
    DROP TABLE IF EXISTS scores CASCADE;
    SELECT amad_watch('$schema', target => '$schema.scores') \g /dev/null
    CREATE TABLE copied (LIKE scores INCLUDING ALL);"
  measure "$1" fill amad_score "SELECT count(s) FROM ($rows OVER (PARTITION BY device ORDER BY ts) AS s FROM readings) r"
  measure "$1" fill amad_detect "SELECT count(*) FROM amad_detect('$schema')"
  measure "$1" fill amad_refresh "CALL amad_refresh('$schema')"
  measure "$1" fill INSERT "INSERT INTO copied SELECT * FROM scores ORDER BY device, ts"
  echo "ANALYZE scores;"
  for k in $new; do
    since="timestamptz '2025-01-01' + (:n - $k + 1) * interval '1 min'"
    for ((i = 1; i <= k; i++)); do
      echo "SELECT :n + 1 AS n \gset
        INSERT INTO readings SELECT * FROM minutes(:n, :n);"
    done
    echo "TRUNCATE copied;"
    measure "$1" "+$k" amad_score "SELECT count(s) FROM generate_series(1, $series) k CROSS JOIN LATERAL
      ($rows OVER (ORDER BY ts) AS s FROM (SELECT * FROM readings WHERE device = k ORDER BY ts DESC LIMIT $2 + $k) l) r"
    measure "$1" "+$k" amad_detect "SELECT count(*) FROM amad_detect('$schema', since => $since)"
    measure "$1" "+$k" amad_refresh "CALL amad_refresh('$schema')"
    measure "$1" "+$k" INSERT "INSERT INTO copied SELECT * FROM scores WHERE ts >= $since ORDER BY device, ts"
  done
  echo "DROP TABLE copied;
    SELECT 'not all rows were scored' WHERE (SELECT count(*) FROM readings) <> (SELECT count(*) FROM scores);"
}

if [[ " $parts " == *" refresh "* ]]; then
  for model in $models; do
    create_model "$model"
    depth=$(run -c "SELECT (d->>'warmup')::int + (d->'options'->>'fill_limit')::int FROM amad_describe('$schema') d")
    {
      echo "\\set n $history"
      for ((r = 0; r <= rounds; r++)); do
        echo "\\set round $r"
        round "$model" "$depth"
      done
    } >"$scratch/refresh.sql"
    run -f "$scratch/refresh.sql"
    printf '%s: %d devices, %d rows each, context %d rows, flagged in the last refreshes: %s\n' "$model" "$series" "$history" "$depth" \
      "$(run -c "SELECT string_agg(round(100.0 * rows_flagged / rows_scored, 1) || ' % of ' || rows_scored, ', ' ORDER BY run) FROM $runs")"
  done
  printf '\n%-8s %-5s %26s %26s %24s %26s  %s\n' model rows 'amad_score [ms]' amad_detect INSERT amad_refresh 'ratio (least – greatest)'
  run <<SQL
CREATE FUNCTION spread(v float8[], digits int) RETURNS text LANGUAGE sql AS \$\$
  SELECT format('%s (%s – %s)', round(percentile_cont(0.5) WITHIN GROUP (ORDER BY x)::numeric, digits), round(min(x)::numeric, digits),
    round(max(x)::numeric, digits)) FROM unnest(v) x
\$\$;
SELECT format('%-8s %-5s %26s %26s %24s %26s  %s', model, rows, spread(array_agg(ms) FILTER (WHERE what = 'amad_score'), 1),
  spread(array_agg(ms) FILTER (WHERE what = 'amad_detect'), 1), spread(array_agg(ms) FILTER (WHERE what = 'INSERT'), 1),
  spread(array_agg(ms) FILTER (WHERE what = 'amad_refresh'), 1), spread(array_agg(ms / score) FILTER (WHERE what = 'amad_refresh'), 2))
FROM (SELECT *, max(ms) FILTER (WHERE what = 'amad_score') OVER (PARTITION BY model, rows, round) AS score FROM cpu) c
GROUP BY model, rows ORDER BY array_position('{${models// /,}}', model), array_position('{fill,+${new// /,+}}', rows);
SQL
fi

# ---- writers

# write RATE TABLE: pgbench for some seconds. Clients take turns with the devices, and continue their series
write() {
  cat >"$scratch/insert.sql" <<SQL
\\set n :n + 1
\\set d 1 + (:n * 8 + :client_id) % $series
\\set k :newest + (:n * 8 + :client_id) / $series
INSERT INTO $schema.$2 VALUES (:d, timestamptz '2025-01-01' + :k * interval '1 min', $(values_of :d :k));
SQL
  rm -f "$scratch"/log.*
  local limit=() newest
  newest=$(run -c "SELECT extract(epoch FROM max(ts) - timestamptz '2025-01-01')::int / 60 + 1 FROM $2")
  [ "$1" = max ] || limit=(-R "$1")
  pgbench -n -M prepared -c 8 -j 2 -T "$seconds" "${limit[@]}" -D n=0 -D newest="$newest" -l --log-prefix="$scratch/log" -f "$scratch/insert.sql" \
    >"$scratch/pgbench.out" 2>&1 || { cat "$scratch/pgbench.out" >&2; exit 1; }
}

# refresh_until_stop RATE: each second, or one after the other if they take longer, until the file stop exists
refresh_until_stop() {
  while [ ! -e "$scratch/stop" ]; do
    sleep 1 &
    run -c "CALL amad_refresh('$schema')" -c "INSERT INTO sizes (rate, bytes, vacuums, ms, cpu)
      SELECT '$1', pg_table_size(relid), autovacuum_count,
        (SELECT extract(epoch FROM ended - started) * 1000 FROM $runs ORDER BY run DESC LIMIT 1), cpu()
      FROM pg_stat_all_tables WHERE relid = 'amad_changes'::regclass"
    wait $!
  done
}

# write_in_turn RATE ROUND
write_in_turn() {
  local kind table
  for kind in $kinds; do
    table=readings
    [ "$kind" != bare ] || table=bare
    rm -f "$scratch/stop"
    if [ "$kind" = watched ]; then refresh_until_stop "$1" & fi
    write "$1" "$table"
    touch "$scratch/stop"
    wait
    run -c "CALL amad_refresh('$schema')"
    awk '{ print $3 }' "$scratch"/log.* | sort -n | awk -v tps="$(awk '/^tps/ { print $3 }' "$scratch/pgbench.out")" '
      { v[NR] = $1 } END { printf "%s\t%s\t%s\n", tps, v[int((NR + 1) / 2)], v[int(NR * 0.99 + 0.5)] }' |
      while read -r tps p50 p99; do run -c "INSERT INTO latency VALUES ('$1', '$kind', $2, $tps, $p50, $p99)"; done
  done
}

if [[ " $parts " == *" writers "* ]]; then
  create_model "${models##* }"
  run >/dev/null <<SQL
$(create_source bare)
DROP TABLE IF EXISTS scores CASCADE;
SELECT amad_watch('$schema', target => '$schema.scores');
CALL amad_refresh('$schema');
VACUUM ANALYZE bare, readings, scores;
SQL
  for rate in $rates; do
    for ((r = 1; r <= writer_rounds; r++)); do write_in_turn "$rate" "$r"; done
  done
  printf '\n%-6s %-8s %24s %20s %20s\n' rate writers 'transactions/s (ratio)' 'p50 [µs] (ratio)' 'p99 [µs] (ratio)'
  run <<SQL
CREATE FUNCTION pair(v float8[], ratios float8[]) RETURNS text LANGUAGE sql AS \$\$
  SELECT format('%s (%s)', round(percentile_cont(0.5) WITHIN GROUP (ORDER BY x)), round(percentile_cont(0.5) WITHIN GROUP (ORDER BY r)::numeric, 2))
  FROM unnest(v, ratios) u(x, r)
\$\$;
SELECT format('%-6s %-8s %24s %20s %20s', k.rate, k.kind, pair(array_agg(k.tps), array_agg(k.tps / b.tps)),
  pair(array_agg(k.p50), array_agg(k.p50 / b.p50)), pair(array_agg(k.p99), array_agg(k.p99 / b.p99)))
FROM latency k LEFT JOIN latency b ON (b.rate, b.round, b.kind) = (k.rate, k.round, 'bare')
GROUP BY k.rate, k.kind ORDER BY array_position('{${rates// /,}}', k.rate), array_position('{${kinds// /,}}', k.kind);
SELECT format(E'\nrate %s: %s refreshes, median %s ms, greatest %s ms, CPU with the connection %s ms (median)
  amad_changes: %s autovacuums, kB after each 10 refreshes: %s', rate, count(*),
  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)), round(max(ms)), round(percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu)),
  max(vacuums) - min(vacuums), string_agg((bytes / 1024)::text, ' ' ORDER BY number) FILTER (WHERE (number - first) % 10 = 9))
FROM (SELECT *, min(number) OVER (PARTITION BY rate) AS first FROM sizes) s GROUP BY rate ORDER BY min(number);
SQL
fi
