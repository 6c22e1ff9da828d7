#!/bin/bash
# Labelled series replayed a day at a time, with amad_drift and amad_recalibrate after each day, without labels.
#
#   bench/selfcare.sh DIR [SEED]      SEED: default 0
#
# DIR contains <set>/<entity>/{train,test}.csv.gz as for bench/quality.sh. A model is trained on a table with the rows of
# train. Then, for each day of test (or each tenth of it, if that is shorter): the rows are inserted, scored by amad_detect,
# and their severities are stored; if amad_drift reports drift in them, amad_recalibrate runs on the newest rows, and the next
# day is scored by the new version. The labels are used at the end, to compare the stored severities with those of the
# version trained: share of normal rows flagged, labelled events found, average precision. The summary is computed for
# every second entity of each set, on which constants were chosen, and for the others.
# Connects by the usual PG* variables to a database in which CREATE EXTENSION amad has been run. Environment:
#   ONLY      shell pattern of <set>/<entity> to run, default *
#   OPTIONS   jsonb of options of amad_recalibrate, default {}
#   DAYS      days that amad_recalibrate reads, default 1
#   FLAGGED   condition for a row to be flagged, default is_anomaly; severity > 1 also flags rows with the status drift
#   JOBS      entities at a time, default 2
#   KEEP      if set, trained models are kept, and used by the next run with KEEP; otherwise nothing is left behind
set -euo pipefail
# shellcheck source=bench/features.sh
. "$(dirname "$0")/features.sh"

dir=${1:?usage: selfcare.sh DIR [SEED]}
seed=${2:-0}
only=${ONLY:-*}
options=${OPTIONS:-"{}"}
days=${DAYS:-1}
flagged=${FLAGGED:-is_anomaly}
jobs=${JOBS:-2}
keep=${KEEP-}
prefix=bench_selfcare_${keep:+$seed}${keep:-$$}

# SQL of one entity; $1 folder, $2 its name, $3 feature list. Prints: name, then normal rows flagged, events found and average
# precision, each without and with care, the number of events, of recalibrations and of features with new scales
replay_sql() {
  local columns=${3//,/ float8, } model=$prefix/$2
  cat <<SQL
\\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TEMP TABLE readings (ts timestamptz PRIMARY KEY, $columns float8);
CREATE TEMP TABLE test (ts timestamptz PRIMARY KEY, $columns float8, label int);
CREATE TEMP TABLE with_care (ts timestamptz, severity float8, is_anomaly boolean, status text);
CREATE TEMP TABLE without_care (LIKE with_care);
-- the severity of a row, or less than 1 if it is not flagged
CREATE FUNCTION pg_temp.alarm(ts timestamptz, severity float8, is_anomaly boolean, status text) RETURNS float8 LANGUAGE sql IMMUTABLE AS \$\$
  SELECT CASE WHEN $flagged OR severity IS NULL THEN severity ELSE least(severity, 0.999) END \$\$;
\\copy readings FROM PROGRAM 'gzip -dc "$1/train.csv.gz"' (FORMAT csv, HEADER)
\\copy test FROM PROGRAM 'gzip -dc "$1/test.csv.gz"' (FORMAT csv, HEADER)
ANALYZE readings, test;
DELETE FROM amad_models WHERE model_name = '$model' AND version > 1;
SELECT count(amad_deploy(model_name, 1)) FROM amad_models WHERE model_name = '$model' \\gset
SELECT count(amad_train('$model', 'pg_temp.readings', 'ts', '{$3}', options => '{"seed": $seed}'))
WHERE NOT EXISTS (SELECT FROM amad_models WHERE model_name = '$model') \\gset
DO \$\$
DECLARE
  columns CONSTANT text := 'ts, $3';
  first CONSTANT timestamptz := (SELECT min(ts) FROM test);
  last CONSTANT timestamptz := (SELECT max(ts) FROM test);
  step CONSTANT interval := least(interval '1 day', (last - first) / 10);
  day timestamptz;
  is_drifted boolean;
  summary jsonb;
  recalibrations int := 0;
  rescaled int := 0;
BEGIN
  FOR day IN SELECT generate_series(first, last, step) LOOP
    EXECUTE format('INSERT INTO readings SELECT %s FROM test WHERE ts >= \$1 AND ts < \$1 + \$2', columns) USING day, step;
    INSERT INTO with_care SELECT d.ts, d.severity, d.is_anomaly, d.status FROM amad_detect('$model', since => day, explain => false) d;
    SELECT drifted INTO is_drifted FROM amad_drift('$model', since => day) WHERE feature IS NULL;
    CONTINUE WHEN is_drifted IS NOT TRUE;
    BEGIN
      summary := amad_recalibrate('$model', since => day + step - $days * step, options => '${options//\'/\'\'}');
      recalibrations := recalibrations + 1;
      rescaled := rescaled + coalesce(jsonb_array_length(summary->'rescaled'), 0);
    EXCEPTION WHEN invalid_parameter_value THEN
      NULL;  -- too few rows: tomorrow
    END;
  END LOOP;
  PERFORM set_config('bench.recalibrations', format('%s %s', recalibrations, rescaled), false);
  PERFORM amad_deploy('$model', 1);
  INSERT INTO without_care SELECT d.ts, d.severity, d.is_anomaly, d.status FROM amad_detect('$model', since => first, explain => false) d;
END
\$\$;
DELETE FROM amad_models WHERE model_name = '$model' AND (version > 1 OR '$keep' = '');
WITH scored AS (
  SELECT ts, label, a.severity AS a, b.severity AS b, pg_temp.alarm(a.ts, a.severity, a.is_anomaly, a.status) AS alarm_a,
    pg_temp.alarm(b.ts, b.severity, b.is_anomaly, b.status) AS alarm_b
  FROM test JOIN without_care a USING (ts) JOIN with_care b USING (ts)
), measured AS (
  SELECT amad_evaluate(ts, a, label) AS a, amad_evaluate(ts, b, label) AS b,
    amad_evaluate(ts, alarm_a, label) AS events_a, amad_evaluate(ts, alarm_b, label) AS events_b,
    100 * avg((alarm_a > 1)::int) FILTER (WHERE label = 0) AS normal_a, 100 * avg((alarm_b > 1)::int) FILTER (WHERE label = 0) AS normal_b
  FROM scored WHERE a IS NOT NULL AND b IS NOT NULL
)
SELECT '$2', round(normal_a, 2), round(normal_b, 2), round((events_a->>'event_recall')::numeric, 3), round((events_b->>'event_recall')::numeric, 3),
  round((a->>'auc_pr')::numeric, 3), round((b->>'auc_pr')::numeric, 3), a->>'events', current_setting('bench.recalibrations')
FROM measured;
SQL
}

# Lines of replay_sql, with 1 (half that constants were chosen on) or 2 before them -> a table and a summary of both halves
report() {
  awk '
    function median(a, n,    i, j, v) {
      for (i = 2; i <= n; i++) { v = a[i]; for (j = i - 1; j > 0 && a[j] > v; j--) a[j + 1] = a[j]; a[j + 1] = v }
      return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
    }
    function summarise(half, name,    i, n, a, b, low_a, low_b, high_a, high_b, events, found_a, found_b, ap_a, ap_b, recalibrations) {
      for (i = 1; i <= NR; i++) {
        if (half && line[i, 1] != half) continue
        n++; a[n] = line[i, 3]; b[n] = line[i, 4]
        low_a += a[n] <= 2; low_b += b[n] <= 2; high_a += a[n] > 10; high_b += b[n] > 10
        events += line[i, 9]; found_a += line[i, 5] * line[i, 9]; found_b += line[i, 6] * line[i, 9]
        ap_a += line[i, 7]; ap_b += line[i, 8]; recalibrations += line[i, 10]
      }
      if (!n) return
      printf "\n%s: %d entities, %d recalibrations, without care -> with\n", name, n, recalibrations
      printf "  normal rows flagged, median          %6.2f -> %5.2f %%\n", median(a, n), median(b, n)
      printf "  entities with at most 2 %%            %6.0f -> %5.0f %%\n", 100 * low_a / n, 100 * low_b / n
      printf "  entities with more than 10 %%         %6d -> %5d\n", high_a, high_b
      printf "  greatest                             %6.2f -> %5.2f %%\n", a[n], b[n]
      printf "  events found                         %6.1f -> %5.1f %% of %d\n", 100 * found_a / events, 100 * found_b / events, events
      printf "  mean average precision               %6.3f -> %5.3f\n", ap_a / n, ap_b / n
    }
    BEGIN {
      printf "%-52s %4s %15s %16s %15s %8s %8s\n", "entity", "half", "normal flagged", "events found", "AP", "recali-", "features"
      printf "%-52s %4s %6s %8s %7s %8s %6s %8s %8s %8s\n", "", "", "before", "after", "before", "after", "before", "after", "brations", "rescaled"
    }
    {
      for (i = 1; i <= 11; i++) line[NR, i] = $i
      printf "%-52s %4d %6.2f %8.2f %7.2f %8.2f %6.3f %8.3f %8d %8d\n", $2, $1, $3, $4, $5, $6, $7, $8, $10, $11
    }
    END {
      summarise(1, "every second entity (1), for choices")
      summarise(2, "the others (2)")
      summarise(0, "all")
    }'
}

lines=$(mktemp -d)
trap 'rm -rf "$lines"' EXIT
set='' number=0
for train in "$dir"/*/*/train.csv.gz; do
  [ -f "$train" ] || { echo "selfcare.sh: no <set>/<entity>/train.csv.gz in $dir" >&2; exit 1; }
  folder=${train%/train.csv.gz}
  name=${folder#"$dir"/}
  [ "${name%/*}" = "$set" ] || half=2
  set=${name%/*} half=$((3 - half))
  # shellcheck disable=SC2254 # a pattern on purpose
  case $name in $only) ;; *) continue ;; esac
  number=$((number + 1))
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
  {
    if line=$(replay_sql "$folder" "$name" "$(features "$train")" | psql -X -q -A -t -F ' ' -f - 2>&1); then
      echo "$half $line" >"$lines/$(printf %03d $number)"
    else
      echo "$name is left out: $line" | head -n 2 >&2
    fi
  } &
done
[ $number -gt 0 ] || { echo "selfcare.sh: nothing matches $only" >&2; exit 1; }
wait
[ -n "$(find "$lines" -type f)" ] || exit 1
cat "$lines"/* | report
