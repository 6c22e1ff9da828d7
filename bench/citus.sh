#!/bin/bash
# Compares a cluster of Citus with a plain server on the same machine: the same rows, model and statements, run in turn.
#
#   CITUS="host=… port=…" PLAIN="host=… port=…" bench/citus.sh [rounds]     (default 5)
#
# CITUS and PLAIN are connection strings to databases with the extension, in which the table amad_bench and the model amad_bench
# are created and dropped. Prints the least seconds of each statement, and the ratio: how many times as long the plain server
# takes in one process, and with the parallel workers that it uses by default. The severities of both must be equal.
set -euo pipefail
rounds=${1:-5}
: "${CITUS:?connection string of the coordinator}" "${PLAIN:?connection string of a plain server}"

run() { psql -XqAt -v ON_ERROR_STOP=1 -d "$1" "${@:2}"; }

load="
SET client_min_messages = warning;
DROP TABLE IF EXISTS amad_bench;
CREATE TABLE amad_bench (device int NOT NULL, ts timestamptz NOT NULL, flow float8, pressure float8, temp float8);
%s
INSERT INTO amad_bench SELECT d, timestamptz '2026-01-01' + n * interval '5 min',
  sin(n * 0.1 + d) + (n * 7919 + d * 31) %% 101 * 0.002 + CASE WHEN n %% 977 = 500 + d THEN 4 ELSE 0 END,
  cos(n * 0.07) + (n::bigint * 104729 + d) %% 97 * 0.002, (n * 31 + d * 7) %% 89 * 0.01 + d
FROM generate_series(1, 16) AS d, generate_series(1, 20000) AS n;
CREATE INDEX ON amad_bench (device, ts);
ANALYZE amad_bench;
SELECT amad_train('amad_bench', 'amad_bench', series_cols => '{device}', until => '2026-01-20', options => '{\"steps\": 60}')->>'rows';"
distribute="SET citus.shard_count = 8; SELECT create_distributed_table('amad_bench', 'device', colocate_with => 'none');"
# shellcheck disable=SC2059 # the format is the statement
printf "$load" "$distribute" | run "$CITUS" -f - >/dev/null
# shellcheck disable=SC2059
printf "$load" "" | run "$PLAIN" -f - >/dev/null

digest="SELECT count(*), md5(string_agg(series::text || ts || coalesce(severity::text, ''), '|' ORDER BY series, ts)) FROM amad_detect('amad_bench', explain => false)"
if [ "$(run "$CITUS" -c "$digest")" != "$(run "$PLAIN" -c "$digest")" ]; then
  echo "severities differ" >&2
  exit 1
fi

model="(SELECT model FROM amad_models WHERE model_name = 'amad_bench' AND deployed)"
names=("amad_detect, anomalies" "amad_detect, severities" "amad_detect, explanations" "amad_events" "amad_calibrate by device" "amad_fit by device")
statements=(
  "SELECT count(*) FROM amad_detect('amad_bench', only_anomalies => true)"
  "SELECT count(*) FROM amad_detect('amad_bench', explain => false)"
  "SELECT count(*) FROM amad_detect('amad_bench')"
  "SELECT count(*) FROM amad_events('amad_bench')"
  "SELECT sum(length(c)) FROM (SELECT device, amad_calibrate($model, ts, flow, pressure, temp) AS c FROM amad_bench GROUP BY device) s"
  "SELECT sum(length(m::text)) FROM (SELECT device, amad_fit('{\"steps\": 20}'::jsonb, ts, flow, pressure, temp) AS m FROM amad_bench GROUP BY device) s"
)
one="SET amad.max_parallel_workers = 0; SET max_parallel_workers_per_gather = 0;"

# milliseconds of the last statement
time_of() { printf '%s\n\\timing on\n%s;\n' "$2" "$3" | run "$1" -f - | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -1; }

printf '%-28s %10s %10s %10s %8s %8s\n' '' 'citus, s' 'one, s' 'plain, s' one plain
for i in "${!statements[@]}"; do
  best=(0 0 0)
  for ((r = 0; r <= rounds; r++)); do
    times=("$(time_of "$CITUS" ';' "${statements[i]}")" "$(time_of "$PLAIN" "$one" "${statements[i]}")" "$(time_of "$PLAIN" ';' "${statements[i]}")")
    # the first round fills caches
    [ "$r" -gt 0 ] || continue
    for k in 0 1 2; do
      best[k]=$(awk -v a="${best[k]}" -v b="${times[k]}" 'BEGIN { print a == 0 || b < a ? b : a }')
    done
  done
  awk -v n="${names[i]}" -v c="${best[0]}" -v o="${best[1]}" -v p="${best[2]}" \
    'BEGIN { printf "%-28s %10.2f %10.2f %10.2f %7.2fx %7.2fx\n", n, c / 1000, o / 1000, p / 1000, o / c, p / c }'
done
for d in "$CITUS" "$PLAIN"; do
  run "$d" -c "SET client_min_messages = warning" -c "SELECT amad_drop('amad_bench')" -c "DROP TABLE amad_bench" >/dev/null
done
