#!/bin/bash
# Share of rows that are flagged when a fleet is trained within little memory.
#
#   bench/fleet.sh [MEMORY ...]         default: 1GB 10MB;  tools/server.sh bench/fleet.sh
#
# DEVICES devices with three features and a row every 5 minutes, without anomalies: a daily profile of their own that is lower at
# weekends, correlated features, and noise whose strength changes over some weeks. One model is trained on the first ROWS rows of each,
# once with each maintenance_work_mem. It is then applied to these rows and to the next LATER rows of each. Printed: rows that it was
# trained and calibrated on, the share of the rows with a score that are flagged, in percent, of the later rows and of the
# first ones, the least and the greatest share of the later rows of a single device, and the seconds that the training took.
#
# Connects by the usual PG* variables to a database in which CREATE EXTENSION amad has been run, and leaves nothing behind.
# Environment: DEVICES 100, ROWS 6000, LATER 3000, OPTIONS of the training {}, SEED 1
set -euo pipefail

memory=("$@")
[ $# -gt 0 ] || memory=(1GB 10MB)
devices=${DEVICES:-100} rows=${ROWS:-6000} later=${LATER:-3000} options=${OPTIONS:-"{}"} seed=${SEED:-1}
schema=amad_bench_fleet

run() { PGOPTIONS='-c client_min_messages=warning -c timezone=UTC' psql -qXAt -F ' | ' -v ON_ERROR_STOP=1 "$@"; }
finish() {
  trap - EXIT
  run -c "SELECT amad_drop('$schema') FROM amad_models WHERE model_name = '$schema' LIMIT 1" \
    -c "DROP SCHEMA IF EXISTS $schema CASCADE" >/dev/null || true
}
trap finish EXIT
trap 'exit 130' INT

run <<SQL
DROP SCHEMA IF EXISTS $schema CASCADE;
CREATE SCHEMA $schema;
SET search_path = $schema, public;
SELECT count(setseed($seed / 1000.0)) \\gset
CREATE TABLE device AS SELECT d AS device, 20 + 60 * random() AS level, 5 + 10 * random() AS day, 24 * random() AS phase, 0.5 + random() AS noise
FROM generate_series(1, $devices) d;
CREATE FUNCTION normal() RETURNS float8 LANGUAGE sql AS \$\$ SELECT sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) \$\$;
CREATE TABLE readings AS
SELECT device, ts, load, 2 * load + 10 + noise * normal() AS power, 30 + load / 3 + noise * normal() AS heat
FROM (SELECT d.*, ts, level + day * sin((extract(hour FROM ts) + extract(minute FROM ts) / 60 + phase) * pi() / 12)
        * CASE WHEN extract(isodow FROM ts) > 5 THEN 0.5 ELSE 1 END
        + noise * normal() * (1 + 0.5 * sin(extract(epoch FROM ts) / 432000 + phase)) AS load
      FROM device d, generate_series(timestamptz '2026-01-01', timestamptz '2026-01-01' + ($rows + $later - 1) * interval '5 min', '5 min') ts) s;
CREATE INDEX ON readings (device, ts);
ANALYZE readings;
SQL
echo "maintenance_work_mem | trained on | calibrated on | later rows, % | least, greatest device | first rows, % | seconds"
for m in "${memory[@]}"; do
  run <<SQL
SET search_path = $schema, public;
SET maintenance_work_mem = '$m';
SELECT timestamptz '2026-01-01' + $rows * interval '5 min' AS end \\gset
SELECT s AS summary FROM amad_train('$schema', 'readings', series_cols => '{device}', options => '$options', until => :'end', keep => 1) s \\gset
WITH rows AS MATERIALIZED (
  SELECT series, ts >= :'end' AS late, severity FROM amad_detect('$schema', explain => false) WHERE severity IS NOT NULL),
share AS (SELECT series, late, 100.0 * avg((severity > 1)::int) AS share FROM rows GROUP BY 1, 2)
SELECT '$m', :'summary'::jsonb->'rows', coalesce(:'summary'::jsonb->'calibrated_rows', :'summary'::jsonb->'rows'),
  (SELECT round(100.0 * avg((severity > 1)::int), 2) FROM rows WHERE late), round(min(share), 2) || ', ' || round(max(share), 2),
  (SELECT round(100.0 * avg((severity > 1)::int), 2) FROM rows WHERE NOT late), round((:'summary'::jsonb->>'seconds')::numeric)
FROM share WHERE late;
SQL
done
