#!/bin/bash
# Detection quality of amad on labelled series: average precision, false alarms, hits, seconds.
#
#   bench/quality.sh DIR [SEEDS]      SEEDS: one word, default "0 1 2"
#
# DIR holds <set>/<entity>/{train,test}.csv.gz with a header ts,f0,...,fN; test ends with label (1 = anomalous).
# Connects by the usual PG* variables to a database in which CREATE EXTENSION amad has been run; leaves
# nothing behind. Environment:
#   AMAD_OPTIONS   jsonb of further training options, merged over {"seed": ...}
#   ONLY           shell pattern of <set>/<entity> to run, default *
set -euo pipefail

dir=${1:?usage: quality.sh DIR [SEEDS]}
seeds=${2:-0 1 2}
only=${ONLY:-*}

# Average precision of the PyTorch prototype, one seed
reference() {
  case $1 in
    ASD/omi-1) echo .25 ;; ASD/omi-2) echo .54 ;; ASD/omi-3) echo .41 ;;
    ASD/omi-4) echo .37 ;; ASD/omi-5) echo .28 ;; ASD/omi-6) echo .32 ;;
    SMD/machine-1-1) echo .68 ;; SMD/machine-1-6) echo .84 ;; SMD/machine-2-1) echo .35 ;;
  esac
}

# names of the feature columns, comma-separated
features() {
  # gzip may die of a closed pipe: that is not a failure
  { gzip -dc "$1" 2>/dev/null || true; } | head -n 1 | tr -d '\r' | tr , '\n' | grep -vxE 'ts|label' | paste -sd,
}

# SQL that loads both files; $1 folder, $2 feature list
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
ANALYZE train, test;
SQL
}

# SQL of one seed; $1 model name, $2 options as an SQL expression, $3 feature list. Scoring is timed with its result written
# down, as precision needs it afterwards. The rollback takes the model away again.
# Precision: rows of equal severity enter together, at the rank of the last of them.
seed_sql() {
  cat <<SQL
BEGIN;
SELECT clock_timestamp() AS t0 \\gset
SELECT amad_train('$1', $2, ts, $3) AS summary FROM train \\gset
SELECT clock_timestamp() AS t1 \\gset
CREATE TEMP TABLE scored ON COMMIT DROP AS
  SELECT label, amad_score('$1', ts, $3) OVER (ORDER BY ts) AS severity FROM test;
SELECT clock_timestamp() AS t2 \\gset
WITH ties AS (
  SELECT severity, count(*) AS n, sum(label) AS hits FROM scored WHERE severity IS NOT NULL GROUP BY severity
), curve AS (
  SELECT hits, sum(hits) OVER w AS hits_so_far, sum(n) OVER w AS rows_so_far
  FROM ties WINDOW w AS (ORDER BY severity DESC)
)
SELECT (SELECT coalesce(sum(hits * hits_so_far / rows_so_far) / nullif(sum(hits), 0), 'NaN')
        FROM curve) AS ap,
       coalesce(avg((severity >= 1)::int) FILTER (WHERE label = 0), 'NaN') AS false_alarms,
       coalesce(avg((severity >= 1)::int) FILTER (WHERE label = 1), 'NaN') AS hits,
       count(*) FILTER (WHERE severity IS NULL) AS warmup,
       extract(epoch FROM :'t1'::timestamptz - :'t0'::timestamptz) AS train_s,
       extract(epoch FROM :'t2'::timestamptz - :'t1'::timestamptz) AS score_s
FROM scored;
ROLLBACK;
SQL
}

# runs all seeds of an entity in one session; prints a line of numbers for each
run_entity() {
  local folder=$1 columns seed options extra=${AMAD_OPTIONS:-}
  extra=${extra:-"{}"}
  columns=$(features "$folder/train.csv.gz")
  {
    load_sql "$folder" "$columns"
    for seed in $seeds; do
      options="jsonb '{\"seed\": $seed}' || jsonb '${extra//\'/\'\'}'"
      seed_sql "bench_quality_$$" "$options" "$columns"
    done
  } | psql -X -q -A -t -F ' ' -f -
}

# lines of: ap false_alarms hits warmup train_s score_s -> one summary line
summarise() {
  awk -v entity="$1" -v reference="$2" '
    NF != 6 { print "quality.sh: unexpected line: " $0 > "/dev/stderr"; exit bad = 1 }
    { for (i = 1; i <= 6; i++) sum[i] += $i
      low = NR == 1 || $1 < low ? $1 : low; high = NR == 1 || $1 > high ? $1 : high }
    END {
      if (bad || NR == 0) exit 1
      ap = sum[1] / NR
      verdict = reference == "" ? "" : sprintf("%.2f %s", reference, ap < reference - 0.05 ? "LOW" : "OK")
      printf "%-20s %6.3f  %5.3f-%5.3f  %8s %7.1f%% %7.1f%% %7d %8.1f %8.2f\n", entity, ap, low, high,
        verdict, 100 * sum[2] / NR, 100 * sum[3] / NR, sum[4] / NR, sum[5] / NR, sum[6] / NR
    }'
}

header() {
  printf '%-20s %6s  %-11s  %8s %8s %8s %7s %8s %8s\n' \
    entity AP 'min-max' reference normal anomal. warmup training scoring
  printf '%-20s %6s  %-11s  %8s %8s %8s %7s %8s %8s\n' \
    '' '' '' '' flagged flagged rows s s
}

# summary lines -> their mean for each set
set_means() {
  awk '{ split($1, part, "/"); set = part[1]; n[set]++; ap[set] += $2
         # false alarms and hits: the only two columns with a percent sign
         k = 0; for (i = 3; i <= NF; i++) if ($i ~ /%$/) share[set, ++k] += $i }
       END { for (set in n) printf "%-20s %6.3f  mean of %d; normal rows flagged %.1f%%, anomalous %.1f%%\n",
               set, ap[set] / n[set], n[set], share[set, 1] / n[set], share[set, 2] / n[set] }' | sort
}

header
lines=
for train in "$dir"/*/*/train.csv.gz; do
  [ -f "$train" ] || { echo "quality.sh: no <set>/<entity>/train.csv.gz in $dir" >&2; exit 1; }
  folder=${train%/train.csv.gz}
  entity=${folder#"$dir"/}
  # shellcheck disable=SC2254 # a pattern on purpose
  case $entity in $only) ;; *) continue ;; esac
  numbers=$(run_entity "$folder")
  line=$(summarise "$entity" "$(reference "$entity")" <<<"$numbers")
  echo "$line"
  lines+=$line$'\n'
done
[ -n "$lines" ] || { echo "quality.sh: nothing matches $only" >&2; exit 1; }
echo
printf '%s' "$lines" | set_means
