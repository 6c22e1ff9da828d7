#!/bin/bash
# What amad_recalibrate and amad_drift do on labelled series: precision and flagged rows before and after.
#
#   bench/recalibrate.sh DIR
#
# DIR holds <set>/<entity>/{train,test}.csv.gz as for bench/quality.sh. A model is trained on train, recalibrated on a part
# of test without its labels, and evaluated on the rows of test after that part; then amad_drift is run on each fifth of test.
# Connects by the usual PG* variables to a database in which CREATE EXTENSION amad has been run; leaves nothing
# behind. Environment:
#   WINDOWS   parts to recalibrate on, in percent of test, default "0-30 30-60"
#   OPTIONS   jsonb of options of amad_recalibrate, default {}
#   ONLY      shell pattern of <set>/<entity> to run, default *
set -euo pipefail
# shellcheck source=bench/features.sh
. "$(dirname "$0")/features.sh"

dir=${1:?usage: recalibrate.sh DIR}
windows=${WINDOWS:-0-30 30-60}
options=${OPTIONS:-"{}"}
only=${ONLY:-*}
model=bench_recalibrate_$$

# SQL that loads both files and trains; $1 folder, $2 feature list
load_sql() {
  local columns=${2//,/ float8, }
  cat <<SQL
\\set ON_ERROR_STOP on
\\set QUIET on
SET client_min_messages = warning;
CREATE TEMP TABLE train (ts timestamptz, $columns float8);
CREATE TEMP TABLE test (ts timestamptz, $columns float8, label int);
\\copy train FROM PROGRAM 'gzip -dc "$1/train.csv.gz"' (FORMAT csv, HEADER)
\\copy test FROM PROGRAM 'gzip -dc "$1/test.csv.gz"' (FORMAT csv, HEADER)
ALTER TABLE test ADD n bigint;
CREATE TEMP TABLE rest AS SELECT t.ts, row_number() OVER (ORDER BY t.ts) - 1 AS n FROM test t;
UPDATE test t SET n = r.n FROM rest r WHERE r.ts = t.ts;
ANALYZE train, test;
SELECT count(*) AS rows FROM test \\gset
BEGIN;
CREATE FUNCTION pg_temp.at(percent int) RETURNS timestamptz LANGUAGE sql AS
  \$\$ SELECT coalesce((SELECT ts FROM test WHERE n >= (SELECT count(*) FROM test) * percent / 100 ORDER BY ts LIMIT 1), 'infinity') \$\$;
SELECT amad_train('$model', 'train', feature_cols => '{$2}') AS summary \\gset
SQL
}

# SQL: precision, flagged normal and anomalous rows after $1 percent of test, as the psql variables $2_ap, $2_fa, $2_hit
judge_sql() {
  cat <<SQL
CREATE TEMP TABLE scored AS
  SELECT * FROM (SELECT n, label, amad_score('$model', ts, $3) OVER (ORDER BY ts) AS severity FROM test) s
  WHERE n >= :rows * $1 / 100 AND severity IS NOT NULL;
WITH ties AS (SELECT severity, count(*) AS n, sum(label) AS hits FROM scored GROUP BY severity),
  curve AS (SELECT hits, sum(hits) OVER w AS hits_so_far, sum(n) OVER w AS rows_so_far FROM ties WINDOW w AS (ORDER BY severity DESC))
SELECT (SELECT coalesce((sum(hits * hits_so_far / rows_so_far) / nullif(sum(hits), 0))::text, 'NaN') FROM curve) AS $2_ap,
  100 * coalesce(avg((severity >= 1)::int) FILTER (WHERE label = 0), 'NaN') AS $2_fa,
  100 * coalesce(avg((severity >= 1)::int) FILTER (WHERE label = 1), 'NaN') AS $2_hit
FROM scored \\gset
DROP TABLE scored;
SQL
}

# SQL of one part; $1 entity, $2 "from-to", $3 feature list
part_sql() {
  local from=${2%-*} to=${2#*-}
  cat <<SQL
SAVEPOINT part;
$(judge_sql "$to" before "$3")
SELECT amad_recalibrate('$model', since => pg_temp.at($from), until => pg_temp.at($to), source => 'test',
  options => '${options//\'/\'\'}') AS summary \\gset
$(judge_sql "$to" after "$3")
SELECT format('%-16s %6s  %5s %5s  %5s %5s  %5s %5s', '$1', '$2',
  round(:'before_ap'::numeric, 3), round(:'after_ap'::numeric, 3), round(:'before_fa'::numeric, 1), round(:'after_fa'::numeric, 1),
  round(:'before_hit'::numeric, 0), round(:'after_hit'::numeric, 0));
ROLLBACK TO part;
SQL
}

# SQL: results of amad_drift for each fifth of test; $1 entity
drift_sql() {
  cat <<SQL
SELECT format('%-16s %3s-%3s  %5s  %6s  %2s of %2s  %s', '$1', p, p + 20, round(100 * max(flagged)::numeric, 1), round(max(severity)::numeric, 2),
  count(*) FILTER (WHERE feature IS NOT NULL AND drifted), count(feature), coalesce(max(action) FILTER (WHERE feature IS NULL), '-'))
FROM generate_series(0, 80, 20) p, amad_drift('$model', since => pg_temp.at(p), until => pg_temp.at(p + 20), source => 'test')
GROUP BY p ORDER BY p;
ROLLBACK;
SQL
}

recalibrated='' drifted=''
for train in "$dir"/*/*/train.csv.gz; do
  [ -f "$train" ] || { echo "recalibrate.sh: no <set>/<entity>/train.csv.gz in $dir" >&2; exit 1; }
  folder=${train%/train.csv.gz}
  entity=${folder#"$dir"/}
  # shellcheck disable=SC2254 # a pattern on purpose
  case $entity in $only) ;; *) continue ;; esac
  columns=$(features "$folder/train.csv.gz")
  lines=$({
    load_sql "$folder" "$columns"
    for window in $windows; do part_sql "$entity" "$window" "$columns"; done
    printf '%s\n' '\echo drift'
    drift_sql "$entity"
  } | psql -X -q -A -t -f -)
  recalibrated+=${lines%%drift*}
  drifted+=${lines#*drift}
done
[ -n "$recalibrated" ] || { echo "recalibrate.sh: nothing matches $only" >&2; exit 1; }

printf '%-16s %6s  %5s %5s  %5s %5s  %5s %5s\n' entity rows AP AP normal normal anom. anom. '' % before after before after before after
echo "$recalibrated"
printf '%-16s %7s  %7s  %6s  %s\n' entity 'rows %' flagged severity 'features drifted, action'
echo "$drifted" | grep .
